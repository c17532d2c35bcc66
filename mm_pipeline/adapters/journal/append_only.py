"""Triggers that keep tables append-only, in the SQL of both databases; migrations use them and never change them."""

from __future__ import annotations

from collections.abc import Iterable


def append_only_in_sqlite(table: str, key: tuple[str, ...]) -> Iterable[str]:
    """Refuse every change of a table's rows."""
    for change in ("UPDATE", "DELETE"):
        yield (
            f"CREATE TRIGGER {table}_refuses_{change.lower()} BEFORE {change} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        )
    # INSERT OR REPLACE deletes without firing delete triggers; met by a row that stands, it must change nothing.
    same_key = " AND ".join(f"{column} = NEW.{column}" for column in key)
    same_row = f"SELECT 1 FROM {table} WHERE id = NEW.id OR ({same_key})"  # noqa: S608 - names from this module
    yield (
        f"CREATE TRIGGER {table}_refuses_replace BEFORE INSERT ON {table} "
        f"WHEN EXISTS ({same_row}) BEGIN SELECT RAISE(IGNORE); END"
    )


REFUSE_CHANGE_IN_POSTGRES = """
    CREATE FUNCTION mm_refuse_change() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION USING MESSAGE = TG_TABLE_NAME || ' is append-only'; END $$
"""


def append_only_in_postgres(tables: Iterable[str]) -> Iterable[str]:
    """Refuse every change of the tables' rows."""
    for table in tables:
        yield (
            f"CREATE TRIGGER {table}_refuses_change BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION mm_refuse_change()"
        )


def leaves_when_set_aside_in_sqlite(table: str) -> Iterable[str]:
    """A row may be deleted where ``set_aside`` holds it."""
    kept = f"SELECT 1 FROM set_aside WHERE of_table = '{table}' AND row_id = OLD.id"  # noqa: S608 - our own names
    yield f"DROP TRIGGER {table}_refuses_delete"
    yield (
        f"CREATE TRIGGER {table}_refuses_delete BEFORE DELETE ON {table} "
        f"WHEN NOT EXISTS ({kept}) BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
    )


REFUSE_DELETION_IN_POSTGRES = """
    CREATE FUNCTION mm_refuse_deletion() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN
        IF EXISTS (SELECT 1 FROM set_aside WHERE of_table = TG_TABLE_NAME AND row_id = OLD.id) THEN RETURN OLD; END IF;
        RAISE EXCEPTION USING MESSAGE = TG_TABLE_NAME || ' is append-only';
    END $$
"""


def leaves_when_set_aside_in_postgres(table: str) -> Iterable[str]:
    """A row may be deleted where ``set_aside`` holds it."""
    yield f"DROP TRIGGER {table}_refuses_change ON {table}"
    yield (
        f"CREATE TRIGGER {table}_refuses_change BEFORE UPDATE OR TRUNCATE ON {table} "
        "FOR EACH STATEMENT EXECUTE FUNCTION mm_refuse_change()"
    )
    yield (
        f"CREATE TRIGGER {table}_refuses_deletion BEFORE DELETE ON {table} "
        "FOR EACH ROW EXECUTE FUNCTION mm_refuse_deletion()"
    )
