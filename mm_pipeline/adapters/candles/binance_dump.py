"""Binance's public candle files: CSV or ZIP, without names of columns, times in milliseconds or (since 2025) finer."""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path

import polars as pl

from mm_pipeline.domain.candles import RAW_SCHEMA
from mm_pipeline.domain.errors import CandleFileError

DUMP_NAME = re.compile(r"(?P<pair>[A-Z0-9]+)-(?P<timeframe>\d+[mhdwo]+)-\d{4}-\d{2}(-\d{2})?\.(csv|zip)")
"""``ETHUSDT-15m-2025-01.csv``: how Binance names its files."""

_QUOTES = ("FDUSD", "USDT", "USDC", "BUSD", "TUSD", "DAI", "EUR", "TRY", "BRL", "GBP", "AUD", "BTC", "ETH", "BNB")
_COLUMNS = 12
_MOST_BYTES = 512 * 2**20
"""Of one unpacked file; a month of 1s candles has 300 MB."""
_FIRST_MICROSECOND = 10**14
"""As milliseconds this is the year 5138, as microseconds 1973: no candle lies between."""


def symbol_of(pair: str) -> str | None:
    """``ETHUSDT`` as ``ETH/USDT``; None where the quote coin is not known."""
    quote = next((quote for quote in _QUOTES if pair.endswith(quote) and len(pair) > len(quote)), None)
    return None if quote is None else f"{pair.removesuffix(quote)}/{quote}"


def read_dump(path: Path) -> pl.DataFrame:
    """Raw candle frame of a CSV file, or of the one CSV file in a ZIP archive.

    Raises
    ------
    CandleFileError
        When the file is missing, torn, too large, or not in Binance's form.
    """
    try:
        content = _unpacked(path) if path.suffix == ".zip" else path.read_bytes()
        frame = pl.read_csv(io.BytesIO(content), has_header=_has_header(content), infer_schema=False)
    except FileNotFoundError as error:
        raise CandleFileError(f"{path} does not exist.", "Check the path.") from error
    except (OSError, zipfile.BadZipFile, pl.exceptions.PolarsError) as error:
        raise CandleFileError(f"{path} cannot be read as candles: {error}", "Download it again.") from error
    if frame.width != _COLUMNS:
        raise CandleFileError(
            f"{path} has {frame.width} columns, not the {_COLUMNS} of Binance's candle files.",
            f"Give that file as it was downloaded, or Parquet with the columns {', '.join(RAW_SCHEMA)}.",
        )
    return _candles(frame, path)


def _candles(frame: pl.DataFrame, path: Path) -> pl.DataFrame:
    names = list(RAW_SCHEMA)
    texts = frame.select(frame.columns[: len(names)])
    texts.columns = names
    kinds = {name: pl.Int64() if name == "open_time" else kind for name, kind in RAW_SCHEMA.items()}
    numbers = texts.select(pl.col(name).str.strip_chars().cast(kind, strict=False) for name, kind in kinds.items())
    broken = numbers.with_row_index("row", offset=1).filter(pl.any_horizontal(pl.col(names).is_null()))
    if len(broken):
        raise CandleFileError(
            f"{path}: row {broken['row'][0]} and {len(broken) - 1} more hold something other than numbers.",
            "Download it again: the file may be cut.",
        )
    time = pl.col("open_time")
    in_ms = pl.when(time >= _FIRST_MICROSECOND).then(time // 1000).otherwise(time)
    return numbers.with_columns(in_ms.cast(RAW_SCHEMA["open_time"]))


def _unpacked(path: Path) -> bytes:
    with zipfile.ZipFile(path) as archive:
        members = [member for member in archive.infolist() if member.filename.endswith(".csv")]
        if len(members) != 1:
            raise CandleFileError(f"{path} holds {len(members)} CSV files, not one.", "Unpack it and give the files.")
        with archive.open(members[0]) as packed:
            content = packed.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise CandleFileError(f"{path} unpacks to more than {_MOST_BYTES // 2**20} MB.", "Give smaller files.")
    return content


def _has_header(content: bytes) -> bool:
    return not content[:1].isdigit()
