"""What stands behind a served market: recorded candle files or a simulation, as small frozen configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

import polars as pl

from mm_pipeline.domain.errors import CandleFileError, ConfigError
from mm_pipeline.domain.market import Market, Timeframe
from mm_pipeline.paper.markets.regimes import Segment, SwitchingParameters
from mm_pipeline.paper.markets.simulation import simulate_market

_COLUMNS = ("open_time", "open", "high", "low", "close", "volume")
_SHIFT_GRAIN = timedelta(milliseconds=Timeframe.H4.ms)


class CandleOrigin(Protocol):
    """Where a served market's bars come from."""

    def load(self, *, price_increment: float) -> pl.DataFrame:
        """Bars sorted by ``open_time``: the raw candle columns, and ``true_regime``, ``is_jump`` where known."""
        ...


@dataclass(frozen=True, kw_only=True)
class RecordedCandles:
    """A recorded candle file (Parquet, raw candle columns), moved in time by ``shift``.

    The shift is a whole number of 4h, so that coarse bars keep their parts.

    Raises
    ------
    ConfigError
        When ``shift`` is not a multiple of 4h.
    """

    path: Path
    shift: timedelta = timedelta(0)

    def __post_init__(self) -> None:
        if self.shift % _SHIFT_GRAIN:
            raise ConfigError(f"shift {self.shift} of {self.path.name} is not a multiple of 4h.", "Use whole 4h steps.")

    @classmethod
    def playing_at(cls, path: Path, *, recorded_at: datetime, at: datetime) -> RecordedCandles:
        """Shift the file so that its ``recorded_at`` plays at ``at``, or up to 4h before it."""
        return cls(path=path, shift=(at - recorded_at) // _SHIFT_GRAIN * _SHIFT_GRAIN)

    def load(self, *, price_increment: float) -> pl.DataFrame:
        """Read the file; see :class:`CandleOrigin`. Recorded prices stay as they are.

        Raises
        ------
        CandleFileError
            When the file is missing, cannot be read or lacks a column.
        """
        try:
            frame = pl.read_parquet(self.path, columns=list(_COLUMNS))
        except (OSError, pl.exceptions.PolarsError) as error:
            raise CandleFileError(
                f"{self.path} cannot be played: {error}.", f"Give a Parquet file with {', '.join(_COLUMNS)}."
            ) from error
        moved = (pl.col("open_time") + self.shift).cast(pl.Datetime("ms", "UTC"))
        return frame.with_columns(moved).sort("open_time")


@dataclass(frozen=True, kw_only=True)
class SimulatedMarket:
    """The arguments of :func:`~mm_pipeline.paper.markets.simulation.simulate_market`."""

    seed: int
    start: datetime
    bars: int
    scenario: Sequence[Segment] | None = None
    switching: SwitchingParameters | None = None
    start_price: float = 3000.0
    mean_volume: float = 1000.0
    quiet_share: float = 0.0

    def load(self, *, price_increment: float) -> pl.DataFrame:
        """Simulate the market; see :class:`CandleOrigin`."""
        return simulate_market(
            seed=self.seed,
            start=self.start,
            bars=self.bars,
            scenario=self.scenario,
            switching=self.switching,
            start_price=self.start_price,
            price_increment=price_increment,
            mean_volume=self.mean_volume,
            quiet_share=self.quiet_share,
        )


@dataclass(frozen=True, kw_only=True)
class PaperMarket:
    """One market of the paper exchange.

    Attributes
    ----------
    market
        Its exchange chooses the dialect: ``kucoin`` or ``binance``.
    source
        Recorded or simulated candles.
    price_increment, base_increment
        Tick and lot in quote and base currency, as the symbol list shows them (defaults: KuCoin's ETH-USDT).
    fee_rate
        Maker and taker fee shown in tickers, as a fraction.
    """

    market: Market
    source: CandleOrigin
    price_increment: float = 0.01
    base_increment: float = 1e-7
    fee_rate: float = 0.001
