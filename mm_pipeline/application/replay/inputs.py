"""What ``mm replay`` reads: candle files of one market joined, and a grid that fits them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from mm_pipeline.adapters.candles.candle_files import CandleFile, CandleFiles
from mm_pipeline.adapters.candles.stored import quarantined_times
from mm_pipeline.adapters.config.grid_files import check_grid_file
from mm_pipeline.domain.arrays import Times
from mm_pipeline.domain.candles import CleanCandles, QuarantineReason, clean_candles, epoch_ms, fill_gaps
from mm_pipeline.domain.errors import CandleFileError, ConfigError
from mm_pipeline.domain.grid import Grid
from mm_pipeline.domain.instants import from_ms
from mm_pipeline.domain.market import Market, Timeframe

_STEP_MS = Timeframe.M15.ms


@dataclass(frozen=True)
class RecordedMarket:
    """Candles of one market from files, every row accounted for.

    Attributes
    ----------
    files
        In the order given.
    clean
        Candles, quarantine and dropped duplicates of all files together.
    bars
        15m Bars frame, gaps filled.
    """

    market: Market
    files: tuple[Path, ...]
    clean: CleanCandles
    bars: pl.DataFrame

    @property
    def quarantined_ms(self) -> Times:
        """Open times (epoch ms) of refused rows."""
        return quarantined_times(self.clean.quarantine)

    @property
    def span_ms(self) -> tuple[int, int]:
        """Open of the first bar and close of the last, epoch ms."""
        return int(epoch_ms(self.bars["open_time"])[0]), int(epoch_ms(self.bars["close_time"])[-1])


def read_market(paths: Sequence[Path], market: Market | None) -> RecordedMarket:
    """Join candle files of one market.

    Parameters
    ----------
    paths
        Parquet files of 15m candles; times that files tell differently are refused in all versions.
    market
        Whose candles they are; None: their names tell.

    Raises
    ------
    CandleFileError
        When a file cannot be read as 15m candles.
    ConfigError
        When the files are of several markets.
    """
    files = CandleFiles(dict.fromkeys(paths) if market is None else [CandleFile(path, market) for path in paths])
    if len(files.markets) > 1:
        raise ConfigError(
            f"the candle files are of {len(files.markets)} markets: {', '.join(map(str, files.markets))}.",
            "Replay one market at a time.",
        )
    # A recorded file's bars have all closed by the end of its newest one.
    raw = files.fetch(files.markets[0], start_ms=0, end_ms=2**62)
    names = ", ".join(path.name for path in paths)
    if raw.is_empty():
        raise CandleFileError(f"{names} hold no candles.", "Give files with candles.")
    clean = clean_candles(raw, timeframe=Timeframe.M15, now_ms=int(epoch_ms(raw["open_time"]).max()) + _STEP_MS)
    misaligned = clean.quarantine.filter(pl.col("reason") == QuarantineReason.MISALIGNED_TIME)
    if len(misaligned) > len(clean.candles):
        raise CandleFileError(f"{names} are not 15m candles: most open times are none.", "Give the market's 15m file.")
    if clean.candles.is_empty():
        raise CandleFileError(f"not one row of {names} is a valid candle.", "Write the file again.")
    bars = fill_gaps(clean.candles, quarantined_ms=quarantined_times(clean.quarantine))
    return RecordedMarket(files.markets[0], tuple(paths), clean, bars)


def conflict_note(recorded: RecordedMarket) -> str | None:
    """Sentence about bars of which the files hold different candles; None where they agree."""
    rows = recorded.clean.quarantine.filter(pl.col("reason") == QuarantineReason.CONFLICT)
    times = rows["open_time"].unique().sort().to_list()
    if not times:
        return None
    named = ", ".join(f"{at:%Y-%m-%dT%H:%M:%SZ}" for at in times[:3]) + (" ..." if len(times) > 3 else "")
    count = f"{len(times)} bars differ" if len(times) > 1 else "1 bar differs"
    return f"note: {count} within the files; every version was refused: {named}"


def read_grid(path: Path, recorded: RecordedMarket) -> Grid:
    """Read a grid file and put it on the market of the candles.

    Raises
    ------
    ConfigError
        When the file cannot be used, or the candles do not cover its start.
    """
    declared = check_grid_file(path)
    market = recorded.market
    grid = declared.model_copy(update={"exchange": market.exchange, "symbol": market.symbol})
    first_ms, end_ms = recorded.span_ms
    span = f"{from_ms(first_ms):%Y-%m-%dT%H:%MZ} to {from_ms(end_ms):%Y-%m-%dT%H:%MZ}"
    problem = f"{grid.started_at:%Y-%m-%dT%H:%MZ} is {{}} the candles ({span})."
    place = {"file": str(path), "key": "started_at"}
    if grid.started_at_ms > end_ms:
        raise ConfigError(problem.format("after"), "Set it inside them, or give newer candle files too.", **place)
    if grid.enabled and grid.started_at_ms <= first_ms - _STEP_MS:
        # What is latched since the start could not be known: every state would be UNKNOWN.
        raise ConfigError(problem.format("before"), "Set it inside them, or give older candle files too.", **place)
    return grid
