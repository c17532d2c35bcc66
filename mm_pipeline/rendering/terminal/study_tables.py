"""Tables of study grids for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich import box
from rich.table import Table

_SHORT: Final = {"LATEST_ACCEPTABLE_EXIT": "LATEST", "MANDATORY_EXIT": "MANDATORY"}
_HEADINGS: Final = {
    "episodes": "episodes",
    "paged": "paged",
    "median_h": "median h",
    "stop_24h_pct": "stop %",
    "back_24h_pct": "back %",
    "saved_24h_quote": "saved 24h",
    "saved_end_quote": "saved end",
}


def scorecard_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """A scorecard (``SCORECARD_COLUMNS``) within 80 columns."""
    saved = "saved: mean of leaving at the beginning less holding, quote; %: within 24 h"
    table = Table(caption=saved, caption_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=0)
    for heading in ("policy", "state"):
        table.add_column(heading, no_wrap=heading == "state", overflow="fold")
    for heading in _HEADINGS.values():
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        state = _SHORT.get(row["state"], row["state"])
        table.add_row(row["policy"], state, *(_cell(row[name]) for name in _HEADINGS))
    return table


def _cell(value: float | int | None) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"
