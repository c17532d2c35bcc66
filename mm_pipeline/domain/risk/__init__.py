"""What a grid may lose if its exit is delayed: the grid run along windows of the market's past.

What a grid holds is known by ``position``; the exit states do not belong here.
"""

from mm_pipeline.domain.risk.estimate import (
    GIVEBACK_PROBABILITIES,
    STOP_HORIZONS,
    GridPositions,
    RiskFigures,
    position_risk,
    stop_probability,
)
from mm_pipeline.domain.risk.history import HORIZON_BARS, HORIZONS, PastWindows, RiskHistory
from mm_pipeline.domain.risk.level import RISK_LEVELS, capital_utilization, risk_level
from mm_pipeline.domain.risk.outlook import StopOutlook
from mm_pipeline.domain.risk.policy import RiskPolicy
from mm_pipeline.domain.risk.rows import RISK_SCHEMA, SOURCES, risk_of_grids, risk_rows

__all__ = [
    "GIVEBACK_PROBABILITIES",
    "HORIZONS",
    "HORIZON_BARS",
    "RISK_LEVELS",
    "RISK_SCHEMA",
    "SOURCES",
    "STOP_HORIZONS",
    "GridPositions",
    "PastWindows",
    "RiskFigures",
    "RiskHistory",
    "RiskPolicy",
    "StopOutlook",
    "capital_utilization",
    "position_risk",
    "risk_level",
    "risk_of_grids",
    "risk_rows",
    "stop_probability",
]
