"""Candles from Parquet files and Binance's public dumps, one market and timeframe per file."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from mm_pipeline.adapters.candles.binance_dump import DUMP_NAME, read_dump, symbol_of
from mm_pipeline.adapters.candles.file_times import check_gaps, check_times
from mm_pipeline.adapters.candles.memory_candles import within
from mm_pipeline.domain.candles import RAW_SCHEMA, epoch_ms
from mm_pipeline.domain.errors import CandleFileError, ConfigError, MarketNotFound
from mm_pipeline.domain.market import Market, Timeframe

_NAME = re.compile(r"(?P<exchange>[a-z0-9]+)_(?P<symbol>[A-Z0-9]+-[A-Z0-9]+)_(?P<timeframe>\d+[mhdw])(_.*)?\.parquet")
_NAME_HINT = "Name it like kucoin_ETH-USDT_15m_2025-01-01_2025-09-30.parquet, or give --market kucoin:ETH/USDT."
_FORMATS = (".parquet", ".csv", ".zip")
_FORMAT_HINT = (
    "Parquet with the columns open_time, open, high, low, close, volume is read, "
    "and Binance's public CSV and ZIP files. "
    "Convert others with polars: pl.read_ipc(...), pl.read_json(...), then .write_parquet(...)."
)


@dataclass(frozen=True)
class CandleFile:
    """A file of 15m candles of one market.

    Attributes
    ----------
    path
        Parquet with the columns ``open_time`` (a UTC datetime), ``open, high, low, close, volume`` (numbers); or
        a CSV or ZIP file as Binance publishes them.
    market
        Whose candles they are.
    """

    path: Path
    market: Market

    @classmethod
    def named(cls, path: Path) -> CandleFile:
        """Read market and timeframe from the name ``<exchange>_<BASE-QUOTE>_<timeframe>[_<from>_<to>].parquet``.

        Binance's own names, like ``ETHUSDT-15m-2025-01.zip``, are known too.

        Raises
        ------
        CandleFileError
            When the name says no market, or a timeframe other than 15m, or the format is another.
        """
        _check_format(path)
        name, timeframe = _named(path)
        if timeframe != Timeframe.M15:
            raise CandleFileError(
                f"{path} holds {timeframe} candles, not 15m.",
                "Give the market's 15m file; 1h and 4h bars are made from it.",
            )
        try:
            return cls(path, Market.parse(name))
        except ConfigError as error:
            raise CandleFileError(f"the name of {path} says no market: {error.problem}", _NAME_HINT) from error

    def read(self) -> pl.DataFrame:
        """Raw candle frame of the whole file, as it is.

        Raises
        ------
        CandleFileError
            When the file is missing, of another format, or its columns or times cannot be those of candles.
        """
        _check_format(self.path)
        raw = self._read_parquet() if self.path.suffix == ".parquet" else read_dump(self.path)
        if raw["open_time"].null_count():
            raise CandleFileError(f"{self.path} has rows without open_time.", "Drop them: no bar can be made of them.")
        check_times(epoch_ms(raw["open_time"]), self.path)
        return raw

    def _read_parquet(self) -> pl.DataFrame:
        try:
            frame = pl.read_parquet(self.path)
        except FileNotFoundError as error:
            raise CandleFileError(f"{self.path} does not exist.", "Check the path.") from error
        except (OSError, pl.exceptions.PolarsError) as error:
            raise CandleFileError(f"{self.path} cannot be read as Parquet: {error}", "Write it again.") from error
        self._check_columns(frame)
        return frame.select(pl.col(name).cast(kind) for name, kind in RAW_SCHEMA.items())

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


def _check_format(path: Path) -> None:
    if path.suffix not in _FORMATS:
        raise CandleFileError(f"{path} is {path.suffix or 'a file without suffix'}, which is not read.", _FORMAT_HINT)


def _named(path: Path) -> tuple[str, str]:
    """Market and timeframe of a file name."""
    if found := _NAME.fullmatch(path.name):
        return f"{found['exchange']}_{found['symbol']}", found["timeframe"]
    dump = DUMP_NAME.fullmatch(path.name)
    symbol = symbol_of(dump["pair"]) if dump else None
    if dump is None or symbol is None:
        raise CandleFileError(f"the name of {path} says no market and timeframe.", _NAME_HINT)
    return f"binance:{symbol}", dump["timeframe"]


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
        When a name says no market or another timeframe than 15m.
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

    @property
    def leaves_nothing_out(self) -> bool:
        """True: files give all that they have."""
        return True

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
            rows = pl.concat(file.read() for file in files)
            check_gaps(epoch_ms(rows["open_time"]), ", ".join(str(file.path) for file in files))
            self._read[market] = rows
        return within(self._read[market], start_ms=start_ms, end_ms=end_ms)

    def clock_offset_ms(self) -> int | None:
        """None: files have no clock."""
        return None
