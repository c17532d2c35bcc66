"""Candles from Parquet files, one market and timeframe per file."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from mm_pipeline.adapters.candle_sources.memory import within
from mm_pipeline.domain.candles import RAW_SCHEMA
from mm_pipeline.domain.errors import CandleFileError, ConfigError, MarketNotFound
from mm_pipeline.domain.market import Market, Timeframe

_NAME = re.compile(r"(?P<exchange>[a-z0-9]+)_(?P<symbol>[A-Z0-9]+-[A-Z0-9]+)_(?P<timeframe>\d+[mhdw])(_.*)?\.parquet")
_NAME_MEND = "Name it like kucoin_ETH-USDT_15m_2025-01-01_2025-09-30.parquet, or tell market and timeframe by flags."


@dataclass(frozen=True)
class CandleFile:
    """A Parquet file of 15m candles of one market.

    Attributes
    ----------
    path
        The file; columns ``open_time`` (a UTC datetime), ``open, high, low, close, volume`` (numbers).
    market
        Whose candles they are.
    """

    path: Path
    market: Market

    @classmethod
    def named(cls, path: Path) -> CandleFile:
        """Read market and timeframe from the name ``<exchange>_<BASE-QUOTE>_<timeframe>[_<from>_<to>].parquet``.

        Raises
        ------
        CandleFileError
            When the name tells no market, or a timeframe other than 15m.
        """
        found = _NAME.fullmatch(path.name)
        if found is None:
            raise CandleFileError(f"the name of {path} tells no market and timeframe.", _NAME_MEND)
        if found["timeframe"] != Timeframe.M15:
            raise CandleFileError(
                f"{path} holds {found['timeframe']} candles, not 15m.",
                "Give the market's 15m file; 1h and 4h bars are made from it.",
            )
        try:
            return cls(path, Market.parse(f"{found['exchange']}_{found['symbol']}"))
        except ConfigError as error:
            raise CandleFileError(f"the name of {path} tells no market: {error.problem}", _NAME_MEND) from error

    def read(self) -> pl.DataFrame:
        """Raw candle frame of the whole file, as it is.

        Raises
        ------
        CandleFileError
            When the file is missing, not Parquet, or its columns cannot be read as candles.
        """
        try:
            frame = pl.read_parquet(self.path)
        except FileNotFoundError as error:
            raise CandleFileError(f"{self.path} does not exist.", "Check the path.") from error
        except (OSError, pl.exceptions.PolarsError) as error:
            raise CandleFileError(f"{self.path} cannot be read as Parquet: {error}", "Write it again.") from error
        self._check_columns(frame)
        raw = frame.select(pl.col(name).cast(kind) for name, kind in RAW_SCHEMA.items())
        if raw["open_time"].null_count():
            raise CandleFileError(f"{self.path} has rows without open_time.", "Drop them: no bar can be made of them.")
        return raw

    def _check_columns(self, frame: pl.DataFrame) -> None:
        missing = [name for name in RAW_SCHEMA if name not in frame.columns]
        if missing:
            raise CandleFileError(
                f"{self.path} lacks the columns {', '.join(missing)}; it has {', '.join(frame.columns)}.",
                f"Write {', '.join(RAW_SCHEMA)}.",
            )
        time = frame.schema["open_time"]
        if not isinstance(time, pl.Datetime) or time.time_zone != "UTC":
            raise CandleFileError(
                f"open_time of {self.path} is {time}, not a datetime in UTC.", 'Cast it to Datetime("ms", "UTC").'
            )
        wrong = [name for name in list(RAW_SCHEMA)[1:] if not frame.schema[name].is_numeric()]
        if wrong:
            raise CandleFileError(f"{', '.join(wrong)} of {self.path} are not numbers.", "Cast them to Float64.")


class CandleFiles:
    """A :class:`~mm_pipeline.domain.candles.source.CandleSource` over files; several may hold parts of one market.

    Each file is read once and kept. Overlapping files that disagree give both versions of a bar, which quarantines it.

    Parameters
    ----------
    files
        Paths whose names tell the market, or :class:`CandleFile` where they do not.

    Raises
    ------
    CandleFileError
        When a name tells no market or another timeframe than 15m.
    """

    def __init__(self, files: Iterable[Path | CandleFile]) -> None:
        self._files = tuple(file if isinstance(file, CandleFile) else CandleFile.named(file) for file in files)
        self._read: dict[Market, pl.DataFrame] = {}
        self._requests_made = 0

    @property
    def markets(self) -> tuple[Market, ...]:
        """Markets there are files of, sorted."""
        return tuple(sorted({file.market for file in self._files}))

    @property
    def requests_made(self) -> int:
        """Number of files read."""
        return self._requests_made

    def fetch(self, market: Market, *, start_ms: int, end_ms: int) -> pl.DataFrame:
        """Rows of the range from all files of the market, in the order of the files.

        Raises
        ------
        CandleFileError
            When a file cannot be read.
        MarketNotFound
            When no file holds this market.
        """
        if market not in self._read:
            files = [file for file in self._files if file.market == market]
            if not files:
                there = ", ".join(map(str, self.markets)) or "none"
                raise MarketNotFound(f"no candle file of {market}; there are files of {there}.", "Add its 15m file.")
            self._requests_made += len(files)
            self._read[market] = pl.concat(file.read() for file in files)
        return within(self._read[market], start_ms=start_ms, end_ms=end_ms)

    def clock_offset_ms(self) -> int | None:
        """None: files have no clock."""
        return None
