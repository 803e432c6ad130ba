"""How the schema of an authority's database came to be, step by step (Alembic). A released step is never edited."""
