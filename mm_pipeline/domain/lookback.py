"""How far back an evaluation looks: derived from what the metrics declare and what the policy asks."""

from __future__ import annotations

from mm_pipeline.domain.exit_state.policy import ExitStatePolicy
from mm_pipeline.domain.market import Timeframe
from mm_pipeline.domain.metrics import LOOKBACK_BARS, RANK_DAYS
from mm_pipeline.domain.regime.policy import LONGEST_SHOWN_WINDOW_BARS
from mm_pipeline.domain.regime.verdict import RAW_LOOKBACK_4H_BARS


def longest_lookback_ms(policy: ExitStatePolicy) -> int:
    """Milliseconds of history that an evaluation is a function of, but for what is latched since a grid's start.

    The longest at 4h is ``transition_persists`` on the shown verdict (255 bars by default), at 1h the baseline of
    kappa or the bandwidth rank; ``since`` looks further by its window, and an evaluation comes up to one 4h bar after
    a close.
    """
    bars_4h = RAW_LOOKBACK_4H_BARS + LONGEST_SHOWN_WINDOW_BARS - 1 + policy.transition_persists.bars_4h - 1
    running = max(policy.half_life_doubled.bars, policy.reversion_slowing.bars, policy.efficiency_rising.bars)
    rank_1h = RANK_DAYS * Timeframe.H1.bars_per_day + LOOKBACK_BARS["bollinger_bandwidth"]
    bars_1h = max(LOOKBACK_BARS["ou_kappa_baseline"], rank_1h) + running
    since_ms = int(policy.since_window.total_seconds() * 1000)
    return max(bars_4h * Timeframe.H4.ms, bars_1h * Timeframe.H1.ms) + since_ms + Timeframe.H4.ms
