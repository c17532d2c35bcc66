"""Whose journal it is: one of simulated markets must decide nothing about real ones, nor the other way round."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from mm_pipeline.adapters.journal.database import Database
from mm_pipeline.adapters.journal.insertion import insert_new
from mm_pipeline.adapters.journal.schema import owner
from mm_pipeline.domain.errors import StorageError

_KINDS: Final = {True: "paper", False: "real"}


def claim(database: Database, *, is_paper: bool) -> None:
    """Note of what markets a journal tells, where nobody has yet."""
    if _owner(database) is None:
        with database.writing() as connection:
            insert_new(connection, owner, ("id",), [{"id": 1, "markets": _KINDS[is_paper]}])


def check(database: Database, *, is_paper: bool) -> None:
    """Refuse a journal of the other kind of markets; one that nobody has claimed is of either.

    Raises
    ------
    StorageError
        Naming both kinds, and what to do.
    """
    found, wanted = _owner(database), _KINDS[is_paper]
    if found not in (None, wanted):
        raise StorageError(
            f"the journal is of {found} markets, and these settings watch {wanted} ones.",
            "Give each installation a journal of its own: another $MM_JOURNAL_URL, or none, and another $MM_HOME.",
        )


def _owner(database: Database) -> str | None:
    with database.reading() as connection:
        found: str | None = connection.scalar(sa.select(owner.c.markets))
    return found
