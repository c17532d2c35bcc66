"""What a grid may lose if its exit is delayed: block bootstrap of the market's own bars, and the grid run along it.

What a grid holds is known by ``position``; the exit states do not belong here.
"""

from mm_pipeline.domain.risk.bootstrap import DrawWindow, StandardisedBars, path_seeds
from mm_pipeline.domain.risk.estimate import (
    GIVEBACK_PROBABILITIES,
    HORIZON_BARS,
    HORIZONS,
    GridPositions,
    RiskFigures,
    position_risk,
)
from mm_pipeline.domain.risk.level import RISK_LEVELS, capital_utilization, risk_level
from mm_pipeline.domain.risk.policy import RiskPolicy
from mm_pipeline.domain.risk.rows import RISK_SCHEMA, SOURCES, risk_of_grids, risk_rows

__all__ = [
    "GIVEBACK_PROBABILITIES",
    "HORIZONS",
    "HORIZON_BARS",
    "RISK_LEVELS",
    "RISK_SCHEMA",
    "SOURCES",
    "DrawWindow",
    "GridPositions",
    "RiskFigures",
    "RiskPolicy",
    "StandardisedBars",
    "capital_utilization",
    "path_seeds",
    "position_risk",
    "risk_level",
    "risk_of_grids",
    "risk_rows",
]
