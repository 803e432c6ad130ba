"""What Alembic runs: the steps on the connection it is handed, in the transaction that is open on it."""

from alembic import context

# Without the metadata of today, whose way of naming constraints the first step did not have.
context.configure(connection=context.config.attributes["connection"])
with context.begin_transaction():
    context.run_migrations()
