"""Candle files with impossible times, or in other units or formats: refused by name before bars are made."""

import zipfile
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner, Result

from mm_pipeline.adapters.candles.binance_dump import symbol_of
from mm_pipeline.adapters.candles.candle_files import CandleFile, CandleFiles
from mm_pipeline.cli import main
from mm_pipeline.domain.errors import CandleFileError

START_MS = int(datetime(2025, 1, 1, tzinfo=UTC).timestamp()) * 1000
STEP_MS = 900_000
NAME = "binance_ETH-USDT_15m.parquet"


def write(folder: Path, times_ms: list[int], *, name: str = NAME, close: float = 3005.0) -> Path:
    path = folder / name
    prices = {"open": 3000.0, "high": 3010.0, "low": 2990.0, "close": close, "volume": 12.0}
    pl.DataFrame(
        {"open_time": pl.Series(times_ms, dtype=pl.Int64)}
        | {key: [value] * len(times_ms) for key, value in prices.items()}
    ).with_columns(pl.col("open_time").cast(pl.Datetime("ms", "UTC"))).write_parquet(path)
    return path


def bars(count: int, *, factor: float = 1) -> list[int]:
    return [int((START_MS + number * STEP_MS) * factor) for number in range(count)]


def simulate(folder: Path, *files: Path) -> Result:
    grid = folder / "grid.yaml"
    grid.write_text(
        "id: eth\nexchange: binance\nsymbol: ETH/USDT\nenabled: true\nlower: 2900\nupper: 3100\nlevels: 5\n"
        "spacing: arithmetic\nstop_loss: 2800\ncapital: 1000\nfee: 0.001\nstarted_at: 2025-01-01T00:00:00Z\n"
    )
    arguments = ["simulate", "--candles", *map(str, files), "--grid", str(grid)]
    return CliRunner().invoke(main, arguments, terminal_width=200)


@pytest.mark.parametrize(
    ("factor", "unit"), [(1000, "microseconds"), (1_000_000, "nanoseconds"), (0.001, "seconds")], ids=["us", "ns", "s"]
)
def test_times_in_another_unit_are_refused_by_its_name(tmp_path: Path, factor: float, unit: str) -> None:
    result = simulate(tmp_path, write(tmp_path, bars(8, factor=factor)))
    assert result.exit_code == 2
    assert f"times are in {unit}" in result.stderr
    assert "all rows" in result.stderr


def test_a_file_that_changes_its_unit_is_refused_with_the_first_row(tmp_path: Path) -> None:
    times = bars(8) + [time * 1000 for time in bars(16)[8:]]
    with pytest.raises(CandleFileError, match="times are in microseconds, read as milliseconds, in row 9 and 7 more"):
        CandleFile.named(write(tmp_path, times)).read()


@pytest.mark.parametrize(
    ("time_ms", "words"),
    [
        (0, "row 3 .0 ms since 1970. is before 2010"),
        (int(datetime(2009, 12, 31, 23, 45, tzinfo=UTC).timestamp()) * 1000, "is before 2010"),
        (int(datetime(2100, 1, 1, tzinfo=UTC).timestamp()) * 1000, "is after 2099"),
        (-(2**62), "is before 2010"),
    ],
)
def test_a_row_of_another_century_is_refused(tmp_path: Path, time_ms: int, words: str) -> None:
    with pytest.raises(CandleFileError, match=words):
        CandleFile.named(write(tmp_path, [*bars(2), time_ms])).read()


def test_times_on_the_limits_are_read(tmp_path: Path) -> None:
    first = int(datetime(2010, 1, 1, tzinfo=UTC).timestamp()) * 1000
    last = int(datetime(2099, 12, 31, 23, 45, tzinfo=UTC).timestamp()) * 1000
    assert len(CandleFile.named(write(tmp_path, [first, last])).read()) == 2


@pytest.mark.parametrize("year", [2050, 2099])
def test_a_bar_that_stands_alone_in_the_future_ends_replays_at_once(tmp_path: Path, year: int) -> None:
    alone = int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) * 1000
    result = simulate(tmp_path, write(tmp_path, [*bars(8), alone]))
    assert result.exit_code == 2
    assert f"no bar between 2025-01-01T01:45Z and {year}-01-01T00:00Z" in result.stderr


def test_a_gap_between_two_files_is_bounded_too(tmp_path: Path) -> None:
    early = write(tmp_path, [bars(1)[0] - 367 * 86_400_000], name="binance_ETH-USDT_15m_early.parquet")
    files = CandleFiles([early, write(tmp_path, bars(2))])
    with pytest.raises(CandleFileError, match="367 days"):
        files.fetch(files.markets[0], start_ms=0, end_ms=2**62)
    near = write(tmp_path, [bars(1)[0] - 366 * 86_400_000], name="binance_ETH-USDT_15m_early.parquet")
    files = CandleFiles([near, write(tmp_path, bars(2))])
    assert len(files.fetch(files.markets[0], start_ms=0, end_ms=2**62)) == 3


def test_simulate_names_bars_of_which_files_differ(tmp_path: Path) -> None:
    one = write(tmp_path, bars(6), name="binance_ETH-USDT_15m_a.parquet")
    two = write(tmp_path, bars(8)[5:], name="binance_ETH-USDT_15m_b.parquet", close=3001.0)
    result = simulate(tmp_path, one, two)
    assert result.exit_code == 0
    assert "1 bar differs within the files; every version was refused: 2025-01-01T01:15:00Z" in result.stderr


def dump_row(time: int, factor: int) -> str:
    return f"{time * factor},3000,3010,2990,3005,12,{(time + STEP_MS) * factor - 1},1,1,1,1,0\n"


@pytest.mark.parametrize("is_zipped", [False, True])
@pytest.mark.parametrize("has_header", [False, True])
def test_a_binance_dump_is_read_in_milliseconds_and_in_microseconds(
    tmp_path: Path, is_zipped: bool, has_header: bool
) -> None:
    header = "open_time,open,high,low,close,volume,close_time,quote,count,taker_base,taker_quote,ignore\n"
    rows = [dump_row(time, 1000 if time >= START_MS else 1) for time in [START_MS - STEP_MS, *bars(2)]]
    text = (header if has_header else "") + "".join(rows)
    path = tmp_path / "ETHUSDT-15m-2025-01.csv"
    path.write_text(text)
    if is_zipped:
        with zipfile.ZipFile(path.with_suffix(".zip"), "w") as archive:
            archive.write(path, path.name)
        path = path.with_suffix(".zip")
    file = CandleFile.named(path)
    assert str(file.market) == "binance:ETH/USDT"
    frame = file.read()
    assert frame["open_time"].to_physical().to_list() == [START_MS - STEP_MS, *bars(2)]
    assert frame.drop("open_time").row(2) == (3000.0, 3010.0, 2990.0, 3005.0, 12.0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (dump_row(START_MS, 1) + dump_row(START_MS + STEP_MS, 1)[:20] + "\n", "columns|numbers|cannot be read"),
        (dump_row(START_MS, 1).replace("3010", "x"), "row 1 and 0 more hold something other than numbers"),
        ("1735689600000,3000\n", "has 2 columns"),
        ("", "cannot be read"),
        (dump_row(START_MS, 1_000_000), "times are in microseconds|is after 2099"),
    ],
)
def test_a_torn_or_foreign_dump_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "ETHUSDT-15m-2025-01.csv"
    path.write_text(text)
    with pytest.raises(CandleFileError, match=words):
        CandleFile.named(path).read()


def test_an_archive_that_is_none_or_holds_several_files_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ETHUSDT-15m-2025-01.zip"
    path.write_bytes(b"PK\x03\x04 torn")
    with pytest.raises(CandleFileError, match="cannot be read as candles"):
        CandleFile.named(path).read()
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("a.csv", "b.csv"):
            archive.writestr(name, dump_row(START_MS, 1))
    with pytest.raises(CandleFileError, match="holds 2 CSV files"):
        CandleFile.named(path).read()


def test_other_formats_get_a_hint_how_to_convert(tmp_path: Path) -> None:
    path = tmp_path / "kucoin_ETH-USDT_15m.feather"
    path.write_bytes(b"ARROW1")
    result = simulate(tmp_path, path)
    assert result.exit_code == 2
    assert "Parquet with the columns open_time" in result.stderr
    assert "write_parquet" in result.stderr


@pytest.mark.parametrize(
    ("pair", "symbol"),
    [("ETHUSDT", "ETH/USDT"), ("BTCFDUSD", "BTC/FDUSD"), ("ETHBTC", "ETH/BTC"), ("1000SATSUSDT", "1000SATS/USDT")],
)
def test_the_pair_of_a_dump_is_split_at_its_quote(pair: str, symbol: str) -> None:
    assert symbol_of(pair) == symbol


def test_a_pair_without_a_known_quote_asks_for_the_market() -> None:
    assert symbol_of("USDT") is None
    with pytest.raises(CandleFileError, match="--market"):
        CandleFile.named(Path("ETHXYZ-15m-2025-01.csv"))
