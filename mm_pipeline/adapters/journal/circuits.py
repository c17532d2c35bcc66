"""Circuit states of exchanges and channels: each change is a row, and the newest row is the state.

Each run is a new process, so what it must remember of an exchange is here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from mm_pipeline.adapters.journal.database import Database
from mm_pipeline.adapters.journal.schema import circuit_states as table
from mm_pipeline.domain.candles import HEALTHY, CircuitState
from mm_pipeline.domain.instants import from_ms, to_ms


@dataclass(frozen=True, kw_only=True)
class CircuitChange:
    """A circuit that came to another state.

    Attributes
    ----------
    name
        An exchange, ``account:`` and an exchange, or ``channel:`` and a channel's name.
    """

    name: str
    at: datetime
    state: CircuitState
    settings_hash: str
    code_version: str


class JournalCircuits:
    """A :class:`~mm_pipeline.domain.circuit_breaker.CircuitStore` in the journal's database; append-only.

    Raises
    ------
    StorageError
        From every method, when the database fails.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._written_by = {"settings_hash": "", "code_version": ""}

    def sign(self, written_by: Mapping[str, str]) -> None:
        """Settings hash and code version that stand beside everything recorded from now on."""
        self._written_by = dict(written_by)

    def load(self, name: str) -> CircuitState:
        """The newest state of a circuit, ``HEALTHY`` where nothing is known."""
        with self._database.reading() as connection:
            return _newest(connection, name)

    def save(self, name: str, state: CircuitState, *, at_ms: int) -> None:
        """Record that a circuit is in another state; nothing where it is in that state already."""
        with self._database.writing() as connection:
            if _newest(connection, name) == state:
                return
            row = {
                "name": name,
                "at": from_ms(at_ms),
                "failures": state.failures,
                "open_until": None if state.open_until_ms is None else from_ms(state.open_until_ms),
                "problem": state.problem,
                **self._written_by,
            }
            connection.execute(table.insert(), [row])

    def changes(self, *, since: datetime | None = None, until: datetime | None = None) -> list[CircuitChange]:
        """Changes with ``since <= at < until``, oldest first."""
        query = sa.select(table)
        if since is not None:
            query = query.where(table.c.at >= since)
        if until is not None:
            query = query.where(table.c.at < until)
        with self._database.reading() as connection:
            return [
                CircuitChange(
                    name=row.name,
                    at=row.at,
                    state=_state_of(row),
                    settings_hash=row.settings_hash,
                    code_version=row.code_version,
                )
                for row in connection.execute(query.order_by(table.c.at, table.c.id))
            ]


def _newest(connection: sa.Connection, name: str) -> CircuitState:
    query = sa.select(table).where(table.c.name == name).order_by(table.c.id.desc()).limit(1)
    row = connection.execute(query).first()
    return HEALTHY if row is None else _state_of(row)


def _state_of(row: sa.Row[Any]) -> CircuitState:
    return CircuitState(row.failures, None if row.open_until is None else to_ms(row.open_until), row.problem)
