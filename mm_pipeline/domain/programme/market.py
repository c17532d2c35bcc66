"""A market as programmes walk it: prices, coarse closes as they become known, and where a study may begin."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

from mm_pipeline.domain.arrays import Bools, Floats, Integers, Times
from mm_pipeline.domain.exit_state.policy import LATEST, ExitStatePolicy
from mm_pipeline.domain.exit_state.triggers import market_triggers
from mm_pipeline.domain.market import Timeframe
from mm_pipeline.domain.market_view import AsOf, MarketView
from mm_pipeline.domain.risk.history import HORIZON_BARS, HORIZONS, WINDOW_BARS, PastWindows, RiskHistory
from mm_pipeline.domain.risk.policy import RiskPolicy

if TYPE_CHECKING:
    from mm_pipeline.domain.programme.programme_loop import Closes, Market

BUDGET_HORIZON: Final = "4h"
STOP_HORIZON: Final = "24h"


@dataclass(frozen=True, eq=False)
class ProgrammeMarket:
    """One market and what each of its 15m closes knows.

    Attributes
    ----------
    view, history
        Bars, metrics, verdicts; windows of the past.
    risk
        Thresholds of modelled risk.
    is_good
        Shape ``(n,)``: the data can be trusted at a close (SPEC 2).
    has_in_sample
        Bars before the first shipped table are studied too.
    """

    view: MarketView
    history: RiskHistory
    risk: RiskPolicy
    is_good: Bools
    has_in_sample: bool = False
    _reaches: dict[float, Floats] = field(default_factory=dict, repr=False)

    @cached_property
    def closed_ms(self) -> Times:
        """Close of each 15m bar (epoch ms): its evaluation."""
        return self.view.bars.closed_ms(Timeframe.M15)

    @cached_property
    def known(self) -> PastWindows:
        """What each close knows of the past."""
        return self.history.known_at(self.closed_ms, self.risk)

    @cached_property
    def hourly(self) -> AsOf:
        """1h bar known at each close."""
        return self.view.hourly.at(self.closed_ms)

    @cached_property
    def four_hourly(self) -> AsOf:
        """4h bar known at each close."""
        return self.view.four_hourly.at(self.closed_ms)

    @cached_property
    def is_studied(self) -> Bools:
        """Shape ``(n,)``: the data is good, verdicts and risk are known, and no shipped table was fitted on the bar."""
        is_known = self.hourly.has("verdict") & self.four_hourly.has("verdict") & (self.known.volatility > 0)
        is_fitted_on = self.hourly.pick(self.hourly.timeline.floats("is_in_sample")) == 1
        found: Bools = is_known & self.known.is_enough(self.risk) & (self.has_in_sample | ~is_fitted_on)
        return self.is_good & found

    @cached_property
    def first(self) -> int:
        """The first row of a study; the number of rows where there is none."""
        return int(np.argmax(self.is_studied)) if self.is_studied.any() else len(self.closed_ms)

    @cached_property
    def atr_share(self) -> Floats:
        """ATR(1h) over the price at each close."""
        return self.hourly.floats("atr_14") / self.view.bars.floats("close")

    def is_quiet(self, *policies: ExitStatePolicy) -> Bools:
        """Shape ``(n,)``: no exit trigger that the market alone can fire is on under any of these policies."""
        is_on = np.zeros(len(self.closed_ms), dtype=np.bool_)
        for policy in policies:
            triggers = market_triggers(self.view, self.closed_ms, policy)
            for name in ("regime_trend", *LATEST):
                is_on |= triggers[name].fired if name in triggers else False
        return self.is_studied & ~is_on

    def stop_reach(self, share: float) -> Floats:
        """How far below a close (log price) a stop may be for P(stop within 24 h) to be at least this, shape ``(n,)``.

        P(stop) is the share of known windows whose depth is the stop's distance in units of the forecast, or more
        (SPEC 6). So the threshold is one order statistic of these depths, whatever the grid.
        """
        from mm_pipeline.domain.programme.reach_loop import sliding_reach

        if share not in self._reaches:
            known = self.known
            depths = np.ascontiguousarray(self.history.depths[:, HORIZONS.index(STOP_HORIZON)])
            reach = sliding_reach(depths, known.first, known.end, share)
            self._reaches[share] = np.where(known.is_enough(self.risk), reach * known.volatility, np.nan)
        return self._reaches[share]

    @cached_property
    def likely_fall(self) -> Floats:
        """How far (log price) the price falls within 4 h at the 5 % quantile of known windows, shape ``(n,)``.

        Windows are stretched to the forecast now and freed of their common trend, as where capital at risk is modelled.
        """
        from mm_pipeline.domain.programme.reach_loop import sliding_quantile

        history, known = self.history, self.known
        bars = HORIZON_BARS[HORIZONS.index(BUDGET_HORIZON)]
        close, starts = history.prices[:, 3], history.starts
        moves = (close[starts + bars] - close[starts]) / history.units
        drifts = (close[starts + WINDOW_BARS] - close[starts]) / history.units / WINDOW_BARS
        summed = np.append(0.0, np.cumsum(drifts))
        drift = (summed[known.end] - summed[known.first]) / np.maximum(known.end - known.first, 1)
        lowest = sliding_quantile(moves, known.first, known.end, self.risk.capital_at_risk_quantile)
        fall = (drift * bars - lowest) * known.volatility
        return np.where(known.is_enough(self.risk), fall, np.nan)

    @cached_property
    def arrays(self) -> Market:
        """What the compiled loop walks."""
        from mm_pipeline.domain.programme.grid_loop import Prices
        from mm_pipeline.domain.programme.programme_loop import Market

        bars = self.view.bars
        opens, highs, lows, closes = (bars.floats(name) for name in ("open", "high", "low", "close"))
        return Market(
            Prices(opens, highs, lows, closes, self.closed_ms),
            _closes(self.hourly, Timeframe.H1),
            _closes(self.four_hourly, Timeframe.H4),
            self.hourly.floats("range_high"),
            self.hourly.floats("range_low"),
        )


def _closes(known: AsOf, timeframe: Timeframe) -> Closes:
    from mm_pipeline.domain.programme.programme_loop import Closes

    timeline = known.timeline
    opened_ms: Integers = timeline.opened_ms
    return Closes(
        known.index,
        opened_ms,
        timeline.floats("close"),
        timeline.floats("atr_14"),
        ~timeline.frame["is_synthetic"].to_numpy(),
        np.diff(opened_ms, prepend=opened_ms[:1] - timeframe.ms) == timeframe.ms,
    )
