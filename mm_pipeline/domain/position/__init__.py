"""What a grid holds and has earned: the grid simulated over bars, FIFO matching of fills, and the worst case.

Reading an account and the exit states do not belong here.
"""

from mm_pipeline.domain.position.fifo import FifoLedger, match_fifo
from mm_pipeline.domain.position.simulation import EQUITY_SCHEMA, FILLS_SCHEMA, GridSimulation, simulate_grid
from mm_pipeline.domain.position.summary import SimulationSummary
from mm_pipeline.domain.position.trading import GridLadder, PricePath, Trades, trade
from mm_pipeline.domain.position.worst_case import worst_case_quote

__all__ = [
    "EQUITY_SCHEMA",
    "FILLS_SCHEMA",
    "FifoLedger",
    "GridLadder",
    "GridSimulation",
    "PricePath",
    "SimulationSummary",
    "Trades",
    "match_fifo",
    "simulate_grid",
    "trade",
    "worst_case_quote",
]
