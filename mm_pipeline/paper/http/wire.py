"""What passes between the HTTP server, the faults and the dialects. Nothing here knows an exchange's own format."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np


class Bar(NamedTuple):
    """One bar as served; a fault may put NaN or None in place of a number."""

    open_time_ms: int
    open: float | None
    high: float | None
    low: float | None
    close: float | None
    volume: float | None
    turnover: float | None


BarEdit = Callable[[list[Bar]], list[Bar]]
"""Changes the bars of one answer, oldest first, before the dialect writes them."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request to one exchange. ``path`` and ``target`` (path and query as sent, what a signature covers) are without
    the exchange's prefix."""

    exchange: str
    method: str
    path: str
    now_ms: int
    target: str = ""
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    bar_edits: tuple[BarEdit, ...] = ()
    removed_symbols: frozenset[str] = frozenset()

    def edited(self, bars: list[Bar]) -> list[Bar]:
        """``bars`` (oldest first) after the edits that faults have put on this request."""
        for edit in self.bar_edits:
            bars = edit(bars)
        return bars


@dataclass(frozen=True, kw_only=True)
class Drip:
    """Send the body in chunks with a pause after each one."""

    chunk_bytes: int
    pause_s: float


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An answer on its way out. ``raw`` wins over ``payload``; ``hang_up`` means that nothing is sent at all."""

    status: int = 200
    payload: Any = None
    raw: bytes | None = None
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    drip: Drip | None = None
    hang_up: bool = False
    is_reset: bool = False

    def body(self) -> bytes:
        """The bytes of the body."""
        return json.dumps(self.payload, separators=(",", ":")).encode() if self.raw is None else self.raw


def decimal_text(value: float | None) -> str | None:
    """A number as exchanges print it: shortest digits that read back to the same float, no exponent.

    NaN becomes ``"NaN"`` and None stays None: only faults put them there.
    """
    if value is None or math.isnan(value):
        return None if value is None else "NaN"
    return np.format_float_positional(value, trim="-")
