"""The contract of each stored dataset. What a contract says does not belong here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mm_pipeline.contracts import operator, states
from mm_pipeline.contracts.contract import Contract

STORED: Final[Mapping[str, Contract]] = {
    "candles": states.CANDLES,
    **{f"regime_metrics_{timeframe}": contract for timeframe, contract in states.REGIME_METRICS.items()},
    **{f"regime_{timeframe}": contract for timeframe, contract in states.REGIME.items()},
    "grid_analysis": states.GRID_ANALYSIS,
    "positions": operator.POSITIONS,
    "risk": operator.RISK,
    "exit_states": states.EXIT,
    "entry_states": states.ENTRY,
    "notifications": operator.NOTIFICATIONS,
    "replayed_notifications": operator.NOTIFICATIONS,
    "deliveries": operator.DELIVERIES,
    "kpis": operator.KPIS,
}
"""By dataset: the asset, or asset and timeframe."""
