"""Files of fills: KuCoin's exports as they are laid out, a plain form, and everything that is wrong with rows."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from mm_pipeline.adapters.account import IMPORTED, FrameFills, ImportedFills, zone_named
from mm_pipeline.adapters.account import import_fills as read_fills
from mm_pipeline.cli.lazy_group import BAD_USAGE, REFUSED, LazyGroup
from mm_pipeline.domain.account import Side, fills_of_grid, steps_told
from mm_pipeline.domain.errors import ConfigError, FillsFileError
from mm_pipeline.domain.instants import to_ms
from mm_pipeline.domain.market import Market
from mm_pipeline_tests.account_samples import STARTED, account_policy, fill
from mm_pipeline_tests.grid_samples import hundreds_grid

KUCOIN_FILLS = (
    "UID,Account Type,Order ID,Symbol,Side,Order Type,Avg. Filled Price,Filled Amount,Filled Volume,"
    "Filled Volume (USDT),Filled Time(UTC+02:00),Fee,Tax,Maker/Taker,Fee Currency,Account Mode"
)
KUCOIN_ORDERS = (
    "UID,Account Type,Order ID,Order Time(UTC),Symbol,Side,Order Type,Order Price,Order Amount,Avg. Filled Price,"
    "Filled Amount,Filled Volume,Filled Volume (USDT),Filled Time(UTC),Fee,Fee Currency,Status"
)
PLAIN = "time,side,price,quantity,fee,fee_currency"
BUY = "1,mainAccount,6a01,ETH-USDT,BUY,LIMIT,100,0.5,50,50,2025-01-03 02:00:10,0.05,,MAKER,USDT,CLASSIC"


NOW = datetime(2025, 6, 1, tzinfo=UTC)


def import_fills(path: Path, **options: Any) -> ImportedFills:
    return read_fills(path, **({"until": NOW} | options))


def write(folder: Path, *lines: str, encoding: str = "utf-8") -> Path:
    path = folder / "fills.csv"
    path.write_text("\n".join(lines) + "\n", encoding=encoding)
    return path


def ms(text: str) -> int:
    return to_ms(datetime.fromisoformat(text))


def test_kucoins_export_of_fills_is_read_with_the_headers_offset(tmp_path: Path) -> None:
    sell = "1,mainAccount,6a02,ETH-USDT,SELL,LIMIT,110,0.5,55,55,2025-01-03 03:00:00,0.001,,TAKER,KCS,CLASSIC"
    found = import_fills(write(tmp_path, KUCOIN_FILLS, sell, BUY, encoding="utf-8-sig"))
    assert found.format_name == "kucoin fills"
    bought, sold = found.fills
    assert (bought.side, bought.price, bought.quantity_base, bought.order_id) == (Side.BUY, 100.0, 0.5, "6a01")
    assert bought.time_ms == ms("2025-01-03T00:00:10+00:00")
    assert (sold.symbol, sold.fee, sold.fee_currency) == ("ETH/USDT", 0.001, "KCS")


def test_equal_parts_of_one_order_all_count_and_reading_again_gives_the_same_ids(tmp_path: Path) -> None:
    path = write(tmp_path, KUCOIN_FILLS, BUY, BUY, BUY)
    first, second = import_fills(path), import_fills(path)
    assert len(first.fills) == len({fill.trade_id for fill in first.fills}) == 3
    assert first == second


def test_kucoins_export_of_orders_leaves_unfilled_ones_out(tmp_path: Path) -> None:
    rows = [
        "1,main,6b01,2025-01-02 23:00:00,ETH-USDT,BUY,LIMIT,100,0.5,100,0.5,50,50,2025-01-03 00:00:00,0.05,USDT,deal",
        "1,main,6b02,2025-01-02 23:00:00,ETH-USDT,BUY,LIMIT,90,0.5,0,0.0000,0,0,,0,USDT,cancelled",
        "1,main,6b03,2025-01-02 23:00:00,ETH-USDT,SELL,LIMIT,120,0.5,,,,,,,USDT,active",
    ]
    found = import_fills(write(tmp_path, KUCOIN_ORDERS, *rows))
    assert (found.format_name, len(found.fills), found.unfilled_rows) == ("kucoin orders", 1, 2)


def test_plain_form_is_read_with_and_without_ids_and_semicolons(tmp_path: Path) -> None:
    rows = ["2025-01-03T01:00:00+01:00;buy;100;0.5;0.05;USDT;7", "1735862400000;SELL;110;0.5;;;8"]
    found = import_fills(write(tmp_path, PLAIN.replace(",", ";") + ";id", *rows, ""), symbol="ETH/USDT")
    assert found.format_name == "plain"
    assert [fill.trade_id for fill in found.fills] == ["7", "8"]
    assert {fill.time_ms for fill in found.fills} == {ms("2025-01-03T00:00:00+00:00")}
    assert (found.fills[1].fee, found.fills[1].fee_currency) == (0.0, "USDT")
    without = import_fills(write(tmp_path, PLAIN, "2025-01-03T00:00:00Z,buy,100,0.5,0.05,USDT"), symbol="ETH/USDT")
    assert without.fills[0].trade_id.startswith("csv-")


@pytest.mark.parametrize(
    ("row", "column", "said"),
    [
        ("2025-01-03T00:00:00,buy,100,1,0,USDT", "time", "no UTC offset"),
        ("yesterday,buy,100,1,0,USDT", "time", "is not a time"),
        ("12,buy,100,1,0,USDT", "time", "epoch milliseconds"),
        ("1735862400,buy,100,1,0,USDT", "time", "epoch milliseconds"),
        ("1735862400000000,buy,100,1,0,USDT", "time", "epoch milliseconds"),
        ("1735862400000000000,buy,100,1,0,USDT", "time", "epoch milliseconds"),
        ("4070908800000,buy,100,1,0,USDT", "time", "later than now"),
        ("2099-01-01T00:00:00Z,buy,100,1,0,USDT", "time", "later than now"),
        ("0001-01-01T00:00:00+14:00,buy,100,1,0,USDT", "time", "outside 2010"),
        ("9999-12-31T23:59:59-14:00,buy,100,1,0,USDT", "time", "later than now"),
        ("1890-01-01T00:00:00Z,buy,100,1,0,USDT", "time", "outside 2010"),
        ("2025-01-03T00:00:00Z,hold,100,1,0,USDT", "side", "is no side"),
        ("2025-01-03T00:00:00Z,buy,1e999,1,0,USDT", "price", "above 0"),
        ("2025-01-03T00:00:00Z,buy,nan,1,0,USDT", "price", "above 0"),
        ('2025-01-03T00:00:00Z,buy,"1,000",1,0,USDT', "price", "is not a number"),
        ("2025-01-03T00:00:00Z,buy,0,1,0,USDT", "price", "above 0"),
        ("2025-01-03T00:00:00Z,buy,100,-1,0,USDT", "quantity", "above 0"),
        ("2025-01-03T00:00:00Z,buy,100,,0,USDT", "quantity", "is empty"),
        ("2025-01-03T00:00:00Z,buy,100,1,-0.11,USDT", "fee", "is -0.11 % of what was traded"),
        ("2025-01-03T00:00:00Z,buy,3000,1,99999,USDT", "fee", "out of -0.1 % to 5 %"),
        ("2025-01-03T00:00:00Z,buy,100,1,0.06,ETH", "fee", "is 6 % of what was traded"),
        ("2025-01-03T00:00:00Z,buy,100,1,inf,USDT", "fee", "is no fee"),
        ("2025-01-03T00:00:00Z,buy,1_000,1,0,USDT", "price", "is not a number"),
        ("2025-01-03T00:00:00Z,buy,3,050.00,1,0,USDT", "row", "it has 7 cells, the header 6"),
        ("2025-01-03T00:00:00Z,buy,100,1,0.1,", "fee_currency", "is not a currency"),
        ("2025-01-03T00:00:00Z,buy", "quantity", "is empty"),
    ],
)
def test_row_at_fault_is_named_with_file_row_column_and_mend(tmp_path: Path, row: str, column: str, said: str) -> None:
    path = write(tmp_path, PLAIN, "2025-01-03T00:00:00Z,buy,100,1,0,USDT", row)
    with pytest.raises(FillsFileError) as refused:
        import_fills(path, symbol="ETH/USDT")
    (told,) = refused.value.rows
    assert told.startswith(f"{path}, row 3, {column}: ")
    assert said in told
    found = import_fills(path, symbol="ETH/USDT", skip_bad=True)
    assert (len(found.fills), [problem.row for problem in found.problems]) == (1, [3])


def test_every_row_at_fault_is_told_at_once(tmp_path: Path) -> None:
    rows = [f"2025-01-03T00:00:00Z,buy,{price},1,0,USDT" for price in ("1", "x", "2", "y", *["z"] * 30)]
    with pytest.raises(FillsFileError, match=r"32 rows of .*nothing was:[\s\S]*row 3[\s\S]*row 5[\s\S]*and 12 more"):
        import_fills(write(tmp_path, PLAIN, *rows), symbol="ETH/USDT")


def test_id_given_to_two_rows_is_a_fault(tmp_path: Path) -> None:
    rows = [f"2025-01-03T00:00:0{second}Z,buy,100,1,0,USDT,7" for second in (0, 1)]
    with pytest.raises(FillsFileError, match="7 is also the id of row 2"):
        import_fills(write(tmp_path, f"{PLAIN},id", *rows), symbol="ETH/USDT")


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["a,b", "1,2"], "none of the known sets of columns; it has a, b"),
        ([""], "none of the known sets of columns"),
        ([PLAIN, '2025-01-03T00:00:00Z,"buy'], "is not a CSV file from row 2 on"),
        (
            [PLAIN + ",note", '2025-01-03T00:00:00Z,buy,100,1,0,USDT,"x', '2025-01-03T00:00:00Z,buy,100,1,0,USDT,y"'],
            "row 2: a cell goes on in the next line",
        ),
        ([PLAIN + ",price", "2025-01-03T00:00:00Z,buy,100,1,0,USDT,90"], "has the column 'price' more than once"),
        ([PLAIN + ",Price", "2025-01-03T00:00:00Z,buy,100,1,0,USDT,90"], "more than once"),
        ([PLAIN + ",\x1b[2J", "2025-01-03T00:00:00Z,buy,100,1,0,USDT,90"], "has a column '\\x1b[2J'"),
        ([KUCOIN_FILLS.replace("(UTC+02:00)", ""), BUY], "neither the time nor its column tells the zone"),
        ([KUCOIN_FILLS, BUY.replace("ETH-USDT", "../x")], "is not a symbol"),
        ([PLAIN, "2025-01-03T00:00:00Z,buy,100,1,0,USDT"], "no symbol is told"),
    ],
)
def test_file_that_cannot_be_understood_is_refused(tmp_path: Path, lines: list[str], said: str) -> None:
    with pytest.raises(FillsFileError) as refused:
        import_fills(write(tmp_path, *lines))
    assert said in str(refused.value)


def test_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "fills.csv"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FillsFileError, match="not UTF-8"):
        import_fills(path)
    with pytest.raises(FillsFileError, match="cannot be read"):
        import_fills(tmp_path)


def test_imported_fills_are_attributed_as_the_exchanges_are(tmp_path: Path) -> None:
    grid = hundreds_grid(started_at=datetime.fromisoformat("2025-01-03T00:00:00+00:00"), exchange="kucoin")
    found = import_fills(write(tmp_path, KUCOIN_FILLS, BUY))
    assert fills_of_grid(grid, found.fills, policy=account_policy()).fills == found.fills


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Settings with one grid, and a home of their own."""
    grid = hundreds_grid(
        id="mine", started_at=datetime.fromisoformat("2025-01-03T00:00:00+00:00"), exchange="kucoin"
    ).model_dump(mode="json")
    (tmp_path / "grids").mkdir()
    lines = [f"{key}: {json.dumps(value) if key != 'started_at' else value}" for key, value in grid.items()]
    (tmp_path / "grids" / "mine.yaml").write_text("\n".join([*lines, ""]).replace('"', ""))
    (tmp_path / "settings.yaml").write_text("exchange: kucoin\n")
    monkeypatch.setenv("MM_HOME", str(tmp_path / "home"))
    return tmp_path


def run(installation: Path, *arguments: str) -> tuple[int, str]:
    group = LazyGroup("mm", commands_at={"import-fills": "mm_pipeline.cli.operator.import_fills:import_fills"})
    settings = str(installation / "settings.yaml")
    result = CliRunner().invoke(group, ["import-fills", *arguments, "--settings", settings])
    return result.exit_code, result.output


def test_command_keeps_new_fills_and_knows_them_the_next_time(installation: Path) -> None:
    path = write(installation, KUCOIN_FILLS, BUY, BUY.replace("ETH-USDT", "BTC-USDT"))
    code, output = run(installation, str(path), "--grid", "mine", "--json")
    assert code == 0, output
    told = json.loads(output)
    assert (told["fills"], told["new"], told["of_the_grid"], told["other_symbols"]) == (1, 1, 1, {"BTC/USDT": 1})
    code, output = run(installation, str(path), "--grid", "mine")
    assert "1 fills of kucoin:ETH/USDT (kucoin fills), 0 of them new; 1 are grid mine's" in output
    store = FrameFills(str(installation / "home" / "frames"))
    assert len(store.fills(IMPORTED, Market("kucoin", "ETH/USDT"))) == 1


def test_command_imports_nothing_of_a_file_with_a_bad_row_unless_told(installation: Path) -> None:
    path = write(installation, KUCOIN_FILLS, BUY, BUY.replace("BUY", "HOLD"))
    store = FrameFills(str(installation / "home" / "frames"))
    market = Market("kucoin", "ETH/USDT")
    code, output = run(installation, str(path), "--grid", "mine")
    assert code == BAD_USAGE
    assert "row 3, Side" in output
    assert store.fills(IMPORTED, market) == []
    code, output = run(installation, str(path), "--grid", "mine", "--skip-bad")
    assert (code, "skipped" in output, len(store.fills(IMPORTED, market))) == (0, True, 1)


def test_fees_in_a_third_currency_want_a_rate_and_are_kept_in_quote(installation: Path) -> None:
    path = write(installation, f"{PLAIN},symbol", "2025-01-03T10:00:00Z,buy,100,1,0.01,KCS,ETH/USDT")
    code, output = run(installation, str(path), "--grid", "mine")
    assert code == BAD_USAGE
    assert "--rate KCS=PRICE" in output
    code, output = run(installation, str(path), "--grid", "mine", "--rate", "KCS=nothing")
    assert (code, "is no rate" in output) == (BAD_USAGE, True)
    code, output = run(installation, str(path), "--grid", "mine", "--rate", "kcs=9.5")
    assert code == 0, output
    (kept,) = FrameFills(str(installation / "home" / "frames")).fills(IMPORTED, Market("kucoin", "ETH/USDT"))
    assert (kept.fee, kept.fee_currency) == (pytest.approx(0.095), "USDT")


def test_imported_fills_of_a_coin_with_a_coarse_price_step_are_the_grids(installation: Path) -> None:
    declared = hundreds_grid(
        id="mine", exchange="kucoin", symbol="PEPE/USDT", lower=1e-5, upper=1.3e-5, stop_loss=9e-6, levels=8
    )
    price = round(float(declared.level_prices()[2]), 8)
    assert price != declared.level_prices()[2]
    made = fill(1, "buy", price, 1e6, symbol="PEPE/USDT")
    grid = declared.model_copy(update={"started_at": STARTED})
    policy = account_policy(ladder_tolerance_bps=0.5)
    assert fills_of_grid(grid, [made], policy=policy, increments=steps_told([made], policy)).fills == (made,)


def test_command_names_the_grids_there_are(installation: Path) -> None:
    path = write(installation, KUCOIN_FILLS, BUY)
    code, output = run(installation, str(path), "--grid", "yours")
    assert code == BAD_USAGE
    assert "no grid file declares yours; there are: mine" in output


@pytest.mark.parametrize("strange", ["a\x00b", "\x1b[31mred", "x" * 201])
@pytest.mark.parametrize("column", ["id", "order_id"])
def test_id_that_cannot_be_stored_or_shown_is_a_fault(tmp_path: Path, column: str, strange: str) -> None:
    path = write(tmp_path, f"{PLAIN},{column}", f"2025-01-03T00:00:00Z,buy,100,1,0,USDT,{strange}")
    with pytest.raises(FillsFileError, match="is no id") as refused:
        import_fills(path, symbol="ETH/USDT")
    assert "\x1b" not in str(refused.value)
    assert "\x00" not in str(refused.value)


BOT = (
    "UID,Account Type,Order ID,Symbol,Side,Order Type,Filled Price,Filled Amount,Filled Volume,Filled Volume (USDT),"
    "Time Filled(UTC),Fee,Fee Currency,Tax",
    "****1,Trading Bot,6590,ETH-USDT,buy,limit,3050,0.0819,249.795,249.795,2025-01-02 10:00:00,0.249795,USDT,",
)
OF_2019 = (
    "Time,Pair,Side,FilledPrice,FilledPriceCoin,Amount,AmountCoin,Volume,VolumeCoin,Fee,FeeCoin",
    "2025/01/02 18:00:00,ETH/USDT,Buy,3050,USDT,0.0819,ETH,249.795,USDT,0.249795,USDT",
)
BINANCE = (
    '"Date(UTC)","Pair","Side","Price","Executed","Amount","Fee"',
    '"2025-01-02 10:00:00","ETHUSDT","BUY","3,050.00","0.0819000000ETH","249.79500000USDT","0.24979500USDT"',
)
BINANCE_OLD = (
    "Date(UTC),Market,Type,Price,Amount,Total,Fee,Fee Coin",
    "2025-01-02 10:00:00,ETHUSDT,BUY,3050,0.0819,249.795,0.249795,USDT",
)
KUCOIN_2018 = (
    "tradeCreatedAt,orderId,symbol,side,price,size,funds,fee,liquidity,feeCurrency,orderType",
    "2025-01-02 18:00:00,6590,ETH-USDT,buy,3050,0.0819,249.795,0.249795,maker,USDT,limit",
)


@pytest.mark.parametrize(
    ("lines", "zone", "form"),
    [
        (BOT, None, "kucoin fills"),
        (OF_2019, "Asia/Shanghai", "kucoin fills"),
        (OF_2019, "UTC+08:00", "kucoin fills"),
        (BINANCE, None, "binance fills"),
        (BINANCE_OLD, None, "fills"),
        (KUCOIN_2018, "+8", "kucoin fills"),
    ],
)
@pytest.mark.parametrize("is_turned", [False, True])
def test_export_is_known_by_what_its_columns_mean_in_any_order(
    tmp_path: Path, lines: tuple[str, str], zone: str | None, form: str, *, is_turned: bool
) -> None:
    rows = [next(iter(csv.reader([line]))) for line in lines]
    with (tmp_path / "fills.csv").open("w", newline="") as file:
        csv.writer(file).writerows([row[::-1] for row in rows] if is_turned else rows)
    told_zone = None if zone is None else zone_named(zone)
    found = import_fills(tmp_path / "fills.csv", symbol="ETH/USDT", exchange="kucoin", zone=told_zone)
    (made,) = found.fills
    assert found.format_name == form
    assert (made.symbol, made.side, made.price, made.quantity_base) == ("ETH/USDT", Side.BUY, 3050.0, 0.0819)
    assert (made.time_ms, made.fee, made.fee_currency) == (ms("2025-01-02T10:00:00+00:00"), 0.249795, "USDT")


def test_time_without_a_zone_is_never_guessed(tmp_path: Path) -> None:
    path = write(tmp_path, *OF_2019)
    with pytest.raises(FillsFileError, match="--time-zone"):
        import_fills(path)
    with pytest.raises(FillsFileError, match="Leave --time-zone out"):
        import_fills(write(tmp_path, *BOT), zone=zone_named("UTC"))
    for wrong in ("Mars/Olympus", "../../etc/passwd", "UTC+25", ""):
        with pytest.raises(ConfigError, match="is no time zone"):
            zone_named(wrong)


@pytest.mark.parametrize("at", ["2024-10-27 02:30:00", "2025-03-30 02:30:00"])
def test_local_time_that_clocks_showed_twice_or_never_is_a_fault(tmp_path: Path, at: str) -> None:
    path = write(tmp_path, PLAIN, f"{at},buy,100,1,0,USDT")
    with pytest.raises(FillsFileError, match="clocks changed"):
        import_fills(path, symbol="ETH/USDT", zone=zone_named("Europe/Berlin"))


@pytest.mark.parametrize(
    ("exchange", "native", "symbol"),
    [("kucoin", "BCHSV-USDT", "BSV/USDT"), ("kucoin", "WAX-USDT", "WAXP/USDT"), ("gate", "88MPH-USDT", "MPH/USDT")],
)
def test_exchanges_own_names_of_coins_are_those_of_its_client(
    tmp_path: Path, exchange: str, native: str, symbol: str
) -> None:
    path = write(tmp_path, BOT[0], BOT[1].replace("ETH-USDT", native))
    (made,) = import_fills(path, exchange=exchange).fills
    assert made.symbol == symbol


def test_file_of_other_symbols_alone_ends_with_1_and_names_them(installation: Path) -> None:
    path = write(installation, KUCOIN_FILLS, BUY.replace("ETH-USDT", "BTC-USDT"), BUY.replace("ETH-USDT", "SOL-USDT"))
    code, output = run(installation, str(path), "--grid", "mine")
    assert code == REFUSED
    assert "left out: BTC/USDT 1, SOL/USDT 1" in output
    assert "nothing in the file is of ETH/USDT" in output


def test_rebate_is_taken_down_to_the_bound_and_a_third_currencys_fee_is_judged_at_its_rate(installation: Path) -> None:
    rows = ["2025-01-03T10:00:00Z,buy,100,1,-0.1,USDT", "2025-01-03T11:00:00Z,sell,110,1,-0.001,KCS"]
    path = write(installation, PLAIN, *rows)
    assert run(installation, str(path), "--grid", "mine", "--rate", "KCS=10")[0] == 0
    kept = FrameFills(str(installation / "home" / "frames")).fills(IMPORTED, Market("kucoin", "ETH/USDT"))
    assert [fill.fee for fill in kept] == [-0.1, pytest.approx(-0.01)]
    path = write(installation, PLAIN, "2025-01-03T10:00:00Z,buy,100,1,99999,KCS")
    code, output = run(installation, str(path), "--grid", "mine", "--rate", "KCS=10")
    assert (code, "of what was traded" in output) == (BAD_USAGE, True)


def test_unfilled_rows_of_orders_are_counted_whatever_stands_in_them(tmp_path: Path) -> None:
    rows = [
        f"1,main,6b0{number},2025-01-02 23:00:00,ETH-USDT,BUY,LIMIT,90,0.5,{nothing},{nothing},,,,,,cancelled"
        for number, nothing in enumerate(("", "0", "0.000", "--", "-", "N/A"))
    ]
    found = import_fills(write(tmp_path, KUCOIN_ORDERS, *rows))
    assert (len(found.fills), found.unfilled_rows) == (0, 6)


def test_unknown_form_is_answered_with_the_plain_one_first(tmp_path: Path) -> None:
    with pytest.raises(FillsFileError, match="Give it the plain form, time, side, price, quantity, fee, fee_currency"):
        import_fills(write(tmp_path, "a,b", "1,2"))
