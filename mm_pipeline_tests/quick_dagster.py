"""Dagster's storages in memory, without what they repeat: they are a quarter of what a run in process costs.

A tick asks them three hundred times. For each they open a connection, set two pragmas, and often read back what columns
their own tables have. Storages in files, and those of other processes, stay as they are.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

from dagster._core.storage.event_log.in_memory import InMemoryEventLogStorage
from dagster._core.storage.runs.in_memory import InMemoryRunStorage
from sqlalchemy import Connection, Engine
from sqlalchemy.dialects.sqlite.base import SQLiteDialect
from sqlalchemy.util import LRUCache

_COMPILED: LRUCache[Any, Any] = LRUCache(5_000)
_kept = threading.local()
"""A connection of each storage, by thread: SQLite lends none to another."""


def quicken() -> None:
    """Let every instance in memory keep its connections, and know its own schema."""
    InMemoryEventLogStorage._connect = _locked  # type: ignore[method-assign]
    InMemoryRunStorage.connect = _connection  # type: ignore[method-assign]
    for storage in (InMemoryEventLogStorage, InMemoryRunStorage):
        storage.has_table = _is_there  # type: ignore[method-assign]
    InMemoryEventLogStorage._has_asset_key_col_on_connection = _is_there  # type: ignore[method-assign]
    InMemoryRunStorage.has_run_stats_index_cols = _is_there  # type: ignore[method-assign]


def compile_once() -> None:
    """Let every SQLite engine of the process share the statements that one of them has compiled.

    A test opens databases of its own, and an engine compiles each statement anew: a fifth of what a tick costs.
    """
    SQLiteDialect.__hash__ = lambda dialect: hash(type(dialect))  # type: ignore[method-assign]
    SQLiteDialect.__eq__ = lambda dialect, other: type(dialect) is type(other)  # type: ignore[method-assign]
    made = Engine.__init__

    def shared(engine: Engine, *parts: Any, **more: Any) -> None:
        made(engine, *parts, **more)
        if isinstance(engine.dialect, SQLiteDialect):
            engine._compiled_cache = _COMPILED

    Engine.__init__ = shared  # type: ignore[method-assign]


def _is_there(*_asked: Any) -> bool:
    """All tables and columns are: the storage has just been made by this version of Dagster."""
    return True


@contextmanager
def _locked(storage: InMemoryEventLogStorage) -> Iterator[Connection]:
    with storage._db_lock, _connection(storage) as connection:
        yield connection


@contextmanager
def _connection(storage: Any) -> Iterator[Connection]:
    connections = _kept.__dict__.setdefault("by_storage", WeakKeyDictionary())
    if storage not in connections:
        connections[storage] = storage._engine.connect()
    with connections[storage].begin():
        yield connections[storage]
