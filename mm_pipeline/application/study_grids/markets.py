"""The markets of a study over a stretch of months: from candle files, else from their exchanges, read once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import polars as pl

from mm_pipeline.adapters.candles.candle_store import CandleStore, MarketBars
from mm_pipeline.adapters.candles.update import update_markets
from mm_pipeline.adapters.exchange.memory_circuits import MemoryCircuits
from mm_pipeline.application.month_stamp import market_hash
from mm_pipeline.application.replay.inputs import read_market
from mm_pipeline.application.study_grids.study import Study
from mm_pipeline.domain.candles import FetchRange
from mm_pipeline.domain.errors import CandleFileError
from mm_pipeline.domain.instants import to_ms
from mm_pipeline.domain.market import Market, Timeframe
from mm_pipeline.domain.pipeline import metrics_of, regime_of, view_of
from mm_pipeline.domain.risk import RiskHistory, StopOutlook
from mm_pipeline.domain.study import StudyMarket
from mm_pipeline.settings import Settings

_STEP_MS = Timeframe.H4.ms


@dataclass(frozen=True, eq=False)
class OpenMarket:
    """A market's view, and its past, from which forecasts are drawn; the same under every policy."""

    study_market: StudyMarket
    history: RiskHistory
    bars: MarketBars

    def hash_between(self, start: datetime, end: datetime) -> str:
        """Short hash of the bars that open in ``[start, end)``: equal candles, equal hash."""
        frame = self.bars.bars.filter(pl.col("open_time").is_between(start, end, closed="left"))
        return market_hash(replace(self.bars, bars=frame))


class StudyMarkets:
    """Markets of a study whose grids run within ``[start, end)``.

    Parameters
    ----------
    study
        Whose markets.
    start, end
        First date of a grid, and end of the last span.
    """

    def __init__(self, study: Study, start: datetime, end: datetime) -> None:
        self._study = study
        # Every policy of a study has the same data, metrics, regime and risk: policy files hold nothing of them.
        self._settings = study.settings(next(iter(study.file.policies)))
        self._range = _whole_bars(start - study.lookback(self._settings), end, study.installation.clock.now())
        self._open: dict[Market, OpenMarket] = {}

    def get(self, market: Market) -> OpenMarket:
        """A market, read when it is first asked for.

        Raises
        ------
        ExchangeError
            When its candles cannot be had in full.
        """
        if market not in self._open:
            self._open[market] = _opened(market, self._bars(market), self._settings)
        return self._open[market]

    def _bars(self, market: Market) -> MarketBars:
        files = [file.path for file in self._study.file.candles if file.market == market]
        if not files:
            return self._asked(market)
        recorded = read_market(files, market)
        start, end = self._range.start_ms, self._range.end_ms
        opened = pl.col("open_time").to_physical()
        bars = recorded.bars.filter(opened.is_between(start, end, closed="left"))
        return MarketBars(bars, recorded.quarantined_ms)

    def _asked(self, market: Market) -> MarketBars:
        """Bars from the exchange; what was asked once lies in the study's own store."""
        installation, asked = self._study.installation, self._range
        shelf = CandleStore(self._study.candles)
        stored = shelf.load(market, start_ms=asked.start_ms, end_ms=asked.end_ms)
        sources = installation.sources.open(
            [market.exchange], settings=self._settings, clock=installation.clock, circuits=MemoryCircuits()
        )
        now_ms, policy = installation.clock.now_ms(), self._settings.exchange_access
        update = update_markets(sources, [stored], wanted={market: asked}, now_ms=now_ms, policy=policy)[market]
        shelf.save(update.after, start_ms=asked.start_ms, end_ms=asked.end_ms)
        if update.problem is not None:
            raise update.problem
        return shelf.bars(market, start_ms=asked.start_ms, end_ms=asked.end_ms)


def last_candle(study: Study) -> datetime | None:
    """Close of the newest candle of a study that reads all its markets from files; None where an exchange is asked."""
    files = study.file.candles
    if {file.market for file in files} < set(study.declaration.all_markets):
        return None
    opened = [file.read()["open_time"].max() for file in files]
    newest = max((at for at in opened if isinstance(at, datetime)), default=None)
    return None if newest is None else newest + timedelta(milliseconds=Timeframe.M15.ms)


def _whole_bars(start: datetime, end: datetime, now: datetime) -> FetchRange:
    end_ms = min(to_ms(end), to_ms(now) // Timeframe.M15.ms * Timeframe.M15.ms)
    return FetchRange(to_ms(start) // _STEP_MS * _STEP_MS, end_ms)


def _opened(market: Market, bars: MarketBars, settings: Settings) -> OpenMarket:
    if bars.bars.is_empty():
        raise CandleFileError(f"there are no candles of {market} in these months.", "Choose months that have some.")
    metrics = metrics_of(bars.bars, settings.market)
    outlook = StopOutlook(bars.bars, settings.risk)
    view = view_of(bars.bars, metrics, regime_of(metrics, settings.market), bars.quarantined_ms)
    view = replace(view, covers=bars.covers, gaps_ms=bars.gaps_ms, stops=outlook)
    warm_from = bars.bars["open_time"][0] + timedelta(days=settings.data.warm_up_days + 1)
    return OpenMarket(StudyMarket(market, view, warm_from), outlook.history, bars)
