"""Tables of the journal as the present version reads and writes them; ``migrations`` makes them.

Times are UTC epoch milliseconds in the database and aware datetimes in Python.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from mm_pipeline.domain.instants import from_ms, to_ms
from mm_pipeline.domain.plain_text import plain_text


class UtcMillis(sa.TypeDecorator[datetime]):
    """An instant as epoch milliseconds; naive datetimes are refused."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> int | None:
        return None if value is None else to_ms(value)

    def process_result_value(self, value: int | None, dialect: sa.Dialect) -> datetime | None:
        return None if value is None else from_ms(value)


class PlainText(sa.TypeDecorator[str]):
    """Text without control characters but tab and line break.

    A NUL is refused by Postgres, and an escape sequence in a name would steer the terminal that shows it.
    """

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:
        return None if value is None else plain_text(value)

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> str | None:
        return None if value is None else plain_text(value)


class JsonText(sa.TypeDecorator[Any]):
    """JSON as text, the same in both databases. A trigger's ``since`` is a datetime in Python, ISO text in JSON."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> str:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), default=_datetime_as_text)

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> Any:
        return None if value is None else json.loads(value, object_hook=_with_since)


def _datetime_as_text(value: object) -> str:
    if isinstance(value, datetime):
        return from_ms(to_ms(value)).isoformat(timespec="milliseconds")
    raise TypeError(f"{value!r} cannot be journalled as JSON")


def _with_since(content: dict[str, Any]) -> dict[str, Any]:
    if isinstance(content.get("since"), str):
        content["since"] = datetime.fromisoformat(content["since"])
    return content


metadata = sa.MetaData()

grid_versions = sa.Table(
    "grid_versions",
    metadata,
    sa.Column("id", sa.BigInteger, primary_key=True),
    sa.Column("grid", PlainText, nullable=False),
    sa.Column("version_hash", PlainText, nullable=False),
    sa.Column("valid_from", UtcMillis, nullable=False),
    sa.Column("seen_at", UtcMillis, nullable=False),
    sa.Column("is_removed", sa.Boolean, nullable=False),
    sa.Column("definition", PlainText),
    sa.Column("retired_by", PlainText),
)

evaluations = sa.Table(
    "evaluations",
    metadata,
    sa.Column("id", sa.BigInteger, primary_key=True),
    sa.Column("grid", PlainText, nullable=False),
    sa.Column("evaluated_at", UtcMillis, nullable=False),
    sa.Column("kind", PlainText, nullable=False),
    sa.Column("input_hash", PlainText, nullable=False),
    sa.Column("state", PlainText, nullable=False),
    sa.Column("price", sa.Double),
    sa.Column("fired", JsonText, nullable=False),
    sa.Column("triggers", JsonText, nullable=False),
    sa.Column("reasons", JsonText, nullable=False),
    sa.Column("grid_version", PlainText, nullable=False),
    sa.Column("settings_hash", PlainText, nullable=False),
    sa.Column("code_version", PlainText, nullable=False),
    sa.Column("is_live", sa.Boolean, nullable=False),
    sa.Column("recorded_at", UtcMillis, nullable=False),
    sa.Column("risk", JsonText),
    sa.Column("as_of", UtcMillis),
)

market_notices = sa.Table(
    "market_notices",
    metadata,
    sa.Column("id", sa.BigInteger, primary_key=True),
    sa.Column("market", PlainText, nullable=False),
    sa.Column("tick_at", UtcMillis, nullable=False),
    sa.Column("code", PlainText, nullable=False),
    sa.Column("message", PlainText, nullable=False),
)

circuit_states = sa.Table(
    "circuit_states",
    metadata,
    sa.Column("id", sa.BigInteger, primary_key=True),
    sa.Column("name", PlainText, nullable=False),
    sa.Column("at", UtcMillis, nullable=False),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("open_until", UtcMillis),
    sa.Column("problem", PlainText, nullable=False),
    sa.Column("settings_hash", PlainText, nullable=False),
    sa.Column("code_version", PlainText, nullable=False),
)

pages = sa.Table(
    "pages",
    metadata,
    sa.Column("id", sa.BigInteger, primary_key=True),
    sa.Column("page", PlainText, nullable=False),
    sa.Column("notice", PlainText, nullable=False),
    sa.Column("grids", JsonText, nullable=False),
    sa.Column("evaluated_at", UtcMillis, nullable=False),
    sa.Column("decided_at", UtcMillis, nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("title", PlainText, nullable=False),
    sa.Column("text", PlainText, nullable=False),
    sa.Column("image", sa.LargeBinary),
    sa.Column("retry_s", sa.Integer),
    sa.Column("expire_s", sa.Integer),
    sa.Column("respond_by", UtcMillis),
    sa.Column("settings_hash", PlainText, nullable=False),
    sa.Column("code_version", PlainText, nullable=False),
)

decisions = sa.Table(
    "decisions",
    metadata,
    sa.Column("id", sa.BigInteger, primary_key=True),
    sa.Column("grid", PlainText, nullable=False),
    sa.Column("evaluated_at", UtcMillis, nullable=False),
    sa.Column("kind", PlainText, nullable=False),
    sa.Column("notice", PlainText, nullable=False),
    sa.Column("state", PlainText, nullable=False),
    sa.Column("cause", PlainText, nullable=False),
    sa.Column("episode_at", UtcMillis, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("triggers", JsonText, nullable=False),
    sa.Column("page", PlainText, nullable=False),
    sa.Column("held_back", PlainText),
    sa.Column("grid_version", PlainText, nullable=False),
    sa.Column("settings_hash", PlainText, nullable=False),
    sa.Column("code_version", PlainText, nullable=False),
    sa.Column("decided_at", UtcMillis, nullable=False),
)

delivery_events = sa.Table(
    "delivery_events",
    metadata,
    sa.Column("id", sa.BigInteger, primary_key=True),
    sa.Column("page", PlainText, nullable=False),
    sa.Column("channel", PlainText, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("event", PlainText, nullable=False),
    sa.Column("at", UtcMillis, nullable=False),
    sa.Column("detail", PlainText, nullable=False),
    sa.Column("receipt", PlainText),
    sa.Column("settings_hash", PlainText, nullable=False),
    sa.Column("code_version", PlainText, nullable=False),
)

responses = sa.Table(
    "responses",
    metadata,
    sa.Column("id", sa.BigInteger, primary_key=True),
    sa.Column("once", PlainText, nullable=False),
    sa.Column("grid", PlainText, nullable=False),
    sa.Column("at", UtcMillis, nullable=False),
    sa.Column("kind", PlainText, nullable=False),
    sa.Column("page", PlainText, nullable=False),
    sa.Column("source", PlainText, nullable=False),
    sa.Column("by_whom", PlainText, nullable=False),
    sa.Column("settings_hash", PlainText, nullable=False),
    sa.Column("code_version", PlainText, nullable=False),
    sa.Column("recorded_at", UtcMillis, nullable=False),
)

flat_checks = sa.Table(
    "flat_checks",
    metadata,
    sa.Column("id", sa.BigInteger, primary_key=True),
    sa.Column("grid", sa.Text, nullable=False),
    sa.Column("said_at", UtcMillis, nullable=False),
    sa.Column("evaluated_at", UtcMillis, nullable=False),
    sa.Column("read_at", UtcMillis, nullable=False),
    sa.Column("finding", sa.Text, nullable=False),
    sa.Column("base_total", sa.Double),
    sa.Column("held_base", sa.Double),
    sa.Column("open_orders", sa.Integer),
    sa.Column("recorded_at", UtcMillis, nullable=False),
    sa.Column("settings_hash", sa.Text, nullable=False),
    sa.Column("code_version", sa.Text, nullable=False),
)

owner = sa.Table(
    "owner",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("markets", sa.Text, nullable=False),
)
"""At most one row."""

set_aside = sa.Table(
    "set_aside",
    metadata,
    sa.Column("id", sa.BigInteger, primary_key=True),
    sa.Column("of_table", sa.Text, nullable=False),
    sa.Column("row_id", sa.BigInteger, nullable=False),
    sa.Column("content", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("at", UtcMillis, nullable=False),
)

outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("page", PlainText, primary_key=True),
    sa.Column("channel", PlainText, primary_key=True),
    sa.Column("rank", sa.Integer, nullable=False),
    sa.Column("is_due", sa.Boolean, nullable=False),
    sa.Column("due_at", UtcMillis, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("owner", PlainText),
    sa.Column("leased_until", UtcMillis),
)
