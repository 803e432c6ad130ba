"""Triggers by which the database itself refuses to change or remove rows of the record.

They stop mistakes, and whoever has no more than the right to write; whoever owns the database can drop them, and is
found by the hashes and the signed heads. SQLite's ``INSERT OR REPLACE`` removes a row without asking the trigger that
guards removal, so there a row is taken only at the end.
"""

from typing import Final

from sqlalchemy import DDL, Table, event

_REFUSAL: Final = "rows of the audit record are only ever added"
_SQLITE: Final = (
    "CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table} BEGIN SELECT RAISE(ABORT, '{refusal}'); END",
    "CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table} BEGIN SELECT RAISE(ABORT, '{refusal}'); END",
    "CREATE TRIGGER {table}_at_the_end BEFORE INSERT ON {table}"
    " WHEN NEW.seq <= (SELECT coalesce(max(seq), 0) FROM {table}) BEGIN SELECT RAISE(ABORT, '{refusal}'); END",
)
_POSTGRES: Final = (
    "CREATE OR REPLACE FUNCTION dojang_only_grows() RETURNS trigger LANGUAGE plpgsql AS"
    " $$ BEGIN RAISE EXCEPTION '{refusal}' USING ERRCODE = 'integrity_constraint_violation'; END $$",
    "CREATE TRIGGER {table}_no_change BEFORE UPDATE OR DELETE ON {table}"
    " FOR EACH ROW EXECUTE FUNCTION dojang_only_grows()",
    "CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table}"
    " FOR EACH STATEMENT EXECUTE FUNCTION dojang_only_grows()",
)
_STATEMENTS: Final = {"sqlite": _SQLITE, "postgresql": _POSTGRES}


def only_grows(table: Table) -> None:
    """Have ``table``, whose rows ``seq`` numbers, made with these triggers."""
    for dialect in _STATEMENTS:
        for statement in triggers(table.name, dialect):
            made = DDL(statement)  # type: ignore[no-untyped-call]
            event.listen(table, "after_create", made.execute_if(dialect=dialect))


def triggers(table: str, dialect: str) -> list[str]:
    """The statements that make them."""
    return [statement.format(table=table, refusal=_REFUSAL) for statement in _STATEMENTS[dialect]]
