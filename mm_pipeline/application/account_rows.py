"""A grid's position as its account, or imported fills, show it, as a row of ``positions``."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import polars as pl

from mm_pipeline.domain.account import AccountPolicy, account_summary, dust_base
from mm_pipeline.domain.risk.columns import POSITION_SCHEMA
from mm_pipeline.domain.risk.rows import POSITION

if TYPE_CHECKING:
    from mm_pipeline.application.account_view import AccountView


def account_row(seen: AccountView, evaluated_at: datetime, policy: AccountPolicy) -> pl.DataFrame:
    """A grid's position as ``POSITION_SCHEMA``, at the evaluation at which it was looked for."""
    position = seen.position
    values = {name: getattr(position, name, None) for name in POSITION_SCHEMA}
    values |= {
        "grid": seen.grid.id,
        "evaluated_at": evaluated_at,
        "grid_version": seen.grid.version_hash,
        "source": seen.source.value,
        "price": position.bid,
        "dust_base": dust_base(seen.grid, policy),
        "known_until": seen.at,
        "modelled_inventory_base": seen.modelled_inventory_base,
        "is_stopped_out": seen.is_stopped_out,
    }
    if position.doubts:
        values |= dict.fromkeys((*POSITION, "capital_utilization"))
        values |= {"position_unknown": "; ".join(position.doubts)}
    if seen.reading is not None:
        quote = seen.grid.symbol.split("/")[1]
        summary = account_summary(seen.reading.balances, seen.reading.prices, currency=quote)
        values |= {
            "account_total_quote": summary.total,
            "account_available_quote": summary.available,
            "account_locked_quote": summary.locked,
        }
    else:
        values |= {"open_orders": None}
    values |= {"net_flows_from": seen.flows_from}
    if seen.flows_from is None:
        values |= {"net_flows_quote": None}
    return pl.DataFrame([values], schema=POSITION_SCHEMA)
