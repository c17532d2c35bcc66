"""Positions and risk as two frames of one computation, and as the one column that exit states carry."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import polars as pl

from mm_pipeline.domain.columns import TIME
from mm_pipeline.domain.risk.rows import POSITION, RISK_SCHEMA

_KEYS: Final = ("grid", "evaluated_at", "grid_version")
_HELD: Final = (*POSITION, "is_stopped_out", "capital_utilization")
_MODELLED_INVENTORY: Final = "modelled_inventory_base"
ACCOUNT_COLUMNS: Final[dict[str, pl.DataType]] = {
    "known_until": TIME,
    "net_flows_from": TIME,
    "net_flows_quote": pl.Float64(),
    "open_orders": pl.Int64(),
    "foreign_fills": pl.Int64(),
    "foreign_base": pl.Float64(),
    "locked_base": pl.Float64(),
    "oversold_base": pl.Float64(),
    "uncovered_base": pl.Float64(),
    "sold_by_balance_base": pl.Float64(),
    "dust_base": pl.Float64(),
    "position_unknown": pl.String(),
    "pnl_unknown": pl.String(),
    "account_total_quote": pl.Float64(),
    "account_available_quote": pl.Float64(),
    "account_locked_quote": pl.Float64(),
    "imported_inventory_base": pl.Float64(),
    "imported_until": TIME,
}
"""What only an account or imported fills tell. Of a modelled position all is null but what an old import says."""

POSITION_SCHEMA: Final[dict[str, pl.DataType]] = {
    **{name: RISK_SCHEMA[name] for name in (*_KEYS, "source", "price", *_HELD)},
    _MODELLED_INVENTORY: pl.Float64(),
    **ACCOUNT_COLUMNS,
}
"""One row an evaluation of an enabled grid: what it holds and has earned, and where that is known from.

``modelled_inventory_base`` is what the figures of risk are of, whatever the source; ``is_stopped_out`` says that the
model, and not the account, has touched its stop and sold everything; ``known_until`` says up to when
fills are known, ``net_flows_quote`` what was put in or taken out since ``net_flows_from``: the grid's start, or later
where the exchange tells no more (KuCoin's hf ledger reaches back three days). ``imported_inventory_base`` is what an
import of fills until ``imported_until`` says where it is older than ``account.import_max_age``: beside the model, whose
the row is. ``uncovered_base`` is how much more all grids of the base hold by their fills than the account has,
``oversold_base`` what they sold without a buy, ``locked_base`` what the grid's resting sells stand for,
``foreign_base`` what fills that are nobody's bought less what they sold, and ``sold_by_balance_base`` how much of the
latter counts as the grid's, as the balance shows. Where these contradict each other ``position_unknown`` says so with
the figures, and what the grid holds and has earned is null. ``pnl_unknown`` says why money is null where what the grid
holds is known.
"""

FIGURES_SCHEMA: Final[dict[str, pl.DataType]] = {
    name: kind for name, kind in RISK_SCHEMA.items() if name not in (*_HELD, "price", "source")
}
"""One row an evaluation of an enabled grid: what waiting may cost, always of the modelled position."""

_FIGURES: Final = tuple(name for name in FIGURES_SCHEMA if name not in _KEYS)
_TOLD: Final = (
    "source",
    "known_until",
    "inventory_base",
    _MODELLED_INVENTORY,
    "is_stopped_out",
    "equity_quote",
    "total_pnl_quote",
    "grid_profit_quote",
    "unrealised_quote",
    "capital_utilization",
    "imported_inventory_base",
    "imported_until",
    "position_unknown",
    "pnl_unknown",
)

RISK_STRUCT: Final = pl.Struct(
    {name: POSITION_SCHEMA[name] for name in _TOLD} | {name: FIGURES_SCHEMA[name] for name in _FIGURES}
)
"""Type of the exit states' column ``risk``."""


def positions_of(rows: pl.DataFrame) -> pl.DataFrame:
    """``POSITION_SCHEMA`` of ``RISK_SCHEMA``."""
    account = [pl.lit(None, dtype=kind).alias(name) for name, kind in ACCOUNT_COLUMNS.items()]
    modelled = pl.col("inventory_base").alias(_MODELLED_INVENTORY)
    return rows.with_columns(*account, modelled).select(list(POSITION_SCHEMA))


def with_old_import(
    positions: pl.DataFrame, evaluated_at: datetime, inventory_base: float, until: datetime
) -> pl.DataFrame:
    """Positions with an import beside the model at one evaluation; it decides nothing."""
    here = pl.col("evaluated_at") == evaluated_at
    return positions.with_columns(
        pl.when(here).then(inventory_base).otherwise("imported_inventory_base").alias("imported_inventory_base"),
        pl.when(here).then(pl.lit(until, TIME)).otherwise("imported_until").alias("imported_until"),
    )


def figures_of(rows: pl.DataFrame) -> pl.DataFrame:
    """``FIGURES_SCHEMA`` of ``RISK_SCHEMA``."""
    return rows.select(list(FIGURES_SCHEMA))


def with_risk(states: pl.DataFrame, positions: pl.DataFrame, figures: pl.DataFrame) -> pl.DataFrame:
    """Exit states of one grid with the column ``risk`` (``RISK_STRUCT``) last; null where nothing is known.

    Rows of another version of the grid do not count.
    """
    told = positions.select(*_KEYS, *_TOLD).join(figures.select(*_KEYS, *_FIGURES), on=list(_KEYS), how="left")
    column = told.select(*_KEYS, risk=pl.struct(*_TOLD, *_FIGURES).cast(RISK_STRUCT))
    return states.join(column, on=list(_KEYS), how="left", maintain_order="left")


def figures_told(risk: Mapping[str, Any] | None) -> bool:
    """Whether a row's ``risk`` has figures to tell."""
    return risk is not None and risk.get("risk_unknown") is None and risk.get("worst_case_quote") is not None
