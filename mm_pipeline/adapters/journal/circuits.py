"""Circuit states of exchanges, kept between runs: each run is a new process."""

from __future__ import annotations

from dataclasses import asdict

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from mm_pipeline.adapters.journal.database import Database
from mm_pipeline.adapters.journal.schema import circuits as table
from mm_pipeline.domain.candles import HEALTHY, CircuitState


class JournalCircuits:
    """A :class:`~mm_pipeline.domain.candles.circuit.CircuitStore` in the journal's database.

    Raises
    ------
    StorageError
        From every method, when the database fails.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def load(self, exchange: str) -> CircuitState:
        """State of an exchange, ``HEALTHY`` where nothing is known."""
        with self._database.reading() as connection:
            state = connection.scalar(sa.select(table.c.state).where(table.c.name == exchange))
        return HEALTHY if state is None else CircuitState(**state)

    def save(self, exchange: str, state: CircuitState) -> None:
        """Replace the state of an exchange."""
        row = {"name": exchange, "state": asdict(state)}
        dialect = sqlite if self._database.dialect == "sqlite" else postgresql
        insertion = dialect.insert(table).values(row)
        with self._database.writing() as connection:
            connection.execute(
                insertion.on_conflict_do_update(index_elements=["name"], set_={"state": insertion.excluded.state})
            )
