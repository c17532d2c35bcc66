"""Whose journal it is: one of simulated markets must decide nothing about real ones, nor the other way round."""

from __future__ import annotations

import sqlalchemy as sa

from mm_pipeline.adapters.journal.database import Database
from mm_pipeline.adapters.journal.schema import owner
from mm_pipeline.domain.errors import StorageError

_PAPER, _REAL = "paper", "real"


def claim(database: Database, *, is_paper: bool) -> None:
    """Note of what markets a journal tells, where nobody has yet. See ``Journal.claim``."""
    mine = _PAPER if is_paper else _REAL
    with database.reading() as connection:
        found = connection.scalar(sa.select(owner.c.markets))
    if found is None:
        with database.writing() as connection:
            connection.execute(
                sa.insert(owner).from_select(
                    ["markets"], sa.select(sa.literal(mine)).where(~sa.exists(sa.select(owner)))
                )
            )
            found = connection.scalar(sa.select(owner.c.markets))
    check(found, is_paper=is_paper)


def owner_of(database: Database) -> str | None:
    """``paper`` or ``real``; None where no evaluation has claimed it."""
    with database.reading() as connection:
        found: str | None = connection.scalar(sa.select(owner.c.markets))
    return found


def check(found: str | None, *, is_paper: bool) -> None:
    """Refuse a journal of the other kind of markets."""
    mine = _PAPER if is_paper else _REAL
    if found not in (None, mine):
        raise StorageError(
            f"the journal is of {found} markets, and these settings watch {mine} ones.",
            "Give each installation a journal of its own: another $MM_JOURNAL_URL, or none, and another $MM_HOME.",
        )
