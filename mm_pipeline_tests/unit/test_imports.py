"""Imports together: an order told in two forms counts once, what does not fit is refused, and any can be taken out."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from mm_pipeline.adapters.account import IMPORTED, FrameFills
from mm_pipeline.adapters.writing import FileLock
from mm_pipeline.cli.lazy_group import BAD_USAGE, REFUSED, LazyGroup
from mm_pipeline.domain.account import AccountFill, fills_frame
from mm_pipeline.domain.market import Market
from mm_pipeline_tests.account_samples import fill
from mm_pipeline_tests.grid_samples import hundreds_grid

MARKET = Market("kucoin", "ETH/USDT")
FILLS = (
    "UID,Account Type,Order ID,Symbol,Side,Order Type,Avg. Filled Price,Filled Amount,Filled Volume,"
    "Filled Volume (USDT),Filled Time(UTC),Fee,Tax,Maker/Taker,Fee Currency"
)
ORDERS = (
    "UID,Account Type,Order ID,Order Time(UTC),Symbol,Side,Order Type,Order Price,Order Amount,Avg. Filled Price,"
    "Filled Amount,Filled Volume,Filled Volume (USDT),Filled Time(UTC),Fee,Fee Currency,Tax,Status"
)
OF_2019 = "Time,Pair,Side,FilledPrice,FilledPriceCoin,Amount,AmountCoin,Volume,VolumeCoin,Fee,FeeCoin"
PLAIN = "time,side,price,quantity,fee,fee_currency"


def executed(quantity: float, time: str, *, price: float = 3000, order: str = "a1", fee: float = 0.1) -> str:
    volume = quantity * price
    return f"1,main,{order},ETH-USDT,BUY,LIMIT,{price},{quantity},{volume},{volume},2025-01-03 {time},{fee},,MAKER,USDT"


def ordered(
    filled: float,
    time: str,
    *,
    price: float = 3000,
    order: str = "a1",
    side: str = "BUY",
    fee: float = 0.1,
    status: str = "deal",
    amount: float = 0.067,
) -> str:
    volume = filled * price
    return (
        f"1,main,{order},2025-01-03 09:00:00,ETH-USDT,{side},LIMIT,3000,{amount},{price},{filled},{volume},{volume},"
        f"2025-01-03 {time},{fee},USDT,,{status}"
    )


def of_2019(quantity: float, time: str) -> str:
    return f"2025/01/03 {time},ETH/USDT,Buy,3000,USDT,{quantity},ETH,{3000 * quantity},USDT,0.1,USDT"


class Installation:
    """Settings with one grid and a home of their own, and the command."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = FrameFills(str(folder / "home" / "frames"))
        started = datetime.fromisoformat("2025-01-03T00:00:00+00:00")
        grid = hundreds_grid(id="mine", started_at=started, exchange="kucoin").model_dump(mode="json")
        (folder / "grids").mkdir()
        lines = [f"{key}: {json.dumps(value) if key != 'started_at' else value}" for key, value in grid.items()]
        (folder / "grids" / "mine.yaml").write_text("\n".join([*lines, ""]).replace('"', ""))
        (folder / "settings.yaml").write_text("exchange: kucoin\n")

    def run(self, *arguments: str) -> tuple[int, str]:
        group = LazyGroup("mm", commands_at={"import-fills": "mm_pipeline.cli.operator.import_fills:import_fills"})
        told = ["import-fills", *arguments, "--settings", str(self.folder / "settings.yaml")]
        result = CliRunner().invoke(group, told)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, result.output

    def file(self, name: str, *lines: str) -> str:
        path = self.folder / name
        path.write_text("\n".join(lines) + "\n")
        return str(path)

    def take(self, name: str, *lines: str) -> str:
        zone = ["--time-zone", "UTC"] if lines[0] == OF_2019 else []
        code, output = self.run(self.file(name, *lines), "--grid", "mine", *zone)
        assert code == 0, output
        return output

    def refused(self, name: str, *lines: str) -> str:
        before = self.contents()
        code, output = self.run(self.file(name, *lines), "--grid", "mine")
        assert code in (REFUSED, BAD_USAGE), output
        assert self.contents() == before, "nothing is written"
        return output

    def contents(self) -> dict[str, bytes]:
        home = self.folder / "home"
        return {str(path): path.read_bytes() for path in home.rglob("*.parquet")}

    def kept(self) -> list[AccountFill]:
        return self.store.fills(IMPORTED, MARKET)

    def quantities(self) -> list[float]:
        return [one.quantity_base for one in self.kept()]

    def listed(self) -> list[dict[str, Any]]:
        code, output = self.run("--list", "--json")
        assert code == 0, output
        found: list[dict[str, Any]] = json.loads(output)
        return found


@pytest.fixture
def mm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    monkeypatch.setenv("MM_HOME", str(tmp_path / "home"))
    return Installation(tmp_path)


PARTS = [executed(0.04, "10:00:00"), executed(0.027, "11:00:00")]
WHOLE = ordered(0.067, "11:00:00")


@pytest.mark.parametrize("is_finer_first", [True, False])
def test_order_in_both_exports_counts_once_as_its_executions(mm: Installation, *, is_finer_first: bool) -> None:
    files = [("fills.csv", FILLS, *PARTS), ("orders.csv", ORDERS, WHOLE)]
    for name, *lines in files if is_finer_first else files[::-1]:
        mm.take(name, *lines)
    assert mm.quantities() == [0.04, 0.027]


def test_order_exported_part_filled_and_again_when_done_is_the_larger(mm: Installation) -> None:
    mm.take("one.csv", ORDERS, ordered(0.04, "10:00:00", status="active"))
    assert "told in a finer or larger form now" in mm.take("two.csv", ORDERS, WHOLE)
    mm.take("three.csv", ORDERS, ordered(0.04, "10:00:00", status="active"))
    assert mm.quantities() == [0.067]


def test_order_is_told_whole_where_only_a_part_of_its_executions_is_known(mm: Installation) -> None:
    mm.take("fills.csv", FILLS, PARTS[0])
    mm.take("orders.csv", ORDERS, WHOLE)
    assert mm.quantities() == [0.067]


def test_executions_after_a_part_filled_order_count_beside_it(mm: Installation) -> None:
    mm.take("orders.csv", ORDERS, ordered(0.04, "10:00:00", status="active"))
    mm.take("fills.csv", FILLS, PARTS[1])
    assert mm.quantities() == [0.04, 0.027]
    mm.take("more.csv", FILLS, *PARTS)
    assert mm.quantities() == [0.04, 0.027]
    assert len({one.order_id for one in mm.kept()}) == 1


@pytest.mark.parametrize(("form", "row"), [(ORDERS, ordered), (FILLS, executed)])
def test_fee_with_and_without_discount_is_one_fill_and_the_lower_one_is_kept(
    mm: Installation, form: str, row: Any
) -> None:
    mm.take("one.csv", form, row(0.067, "11:00:00", fee=0.1))
    output = mm.take("two.csv", form, row(0.067, "11:00:00", fee=0.08))
    assert "1 fills are told with two fees; the lower one, after the discount, is kept" in output
    assert [(one.quantity_base, one.fee) for one in mm.kept()] == [(0.067, 0.08)]


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ((ORDERS, WHOLE), (FILLS, *PARTS, executed(0.01, "12:00:00")), "sum to 0.077, which is more than its 0.067"),
        (
            (FILLS, *PARTS),
            (ORDERS, ordered(0.04, "10:30:00", amount=0.05)),
            "sum to 0.067, which is more than its 0.05",
        ),
        ((FILLS, *PARTS), (ORDERS, ordered(0.05, "12:00:00", amount=1)), "sum to 0.067, which is more than its 0.05"),
        ((ORDERS, WHOLE), (ORDERS, ordered(0.067, "11:00:00", price=3010)), "is told at 3010 and at 3000"),
        ((ORDERS, WHOLE), (ORDERS, ordered(0.04, "10:00:00", status="cancelled")), "is told with 0.067 of 0.04"),
        ((ORDERS, WHOLE), (ORDERS, ordered(0.04, "10:00:00", price=1500)), "would have been traded at"),
        ((ORDERS, WHOLE), (ORDERS, ordered(0.067, "11:00:00", side="SELL")), "is a buy and a sell"),
        ((FILLS, *PARTS), (ORDERS, ordered(0.067, "11:00:00", price=3010)), "is told at 3010, its executions at 3000"),
    ],
)
def test_what_does_not_fit_is_refused_with_both_rows_before_anything_is_written(
    mm: Installation, first: tuple[str, ...], second: tuple[str, ...], said: str
) -> None:
    mm.take("first.csv", *first)
    output = mm.refused("second.csv", *second)
    assert said in output
    assert "order a1" in output
    assert "import 1 (first.csv, row " in output
    assert f"{mm.folder}/second.csv, row " in output
    assert "--forget N" in output


def test_id_told_otherwise_in_another_month_is_refused(mm: Installation) -> None:
    mm.take("one.csv", f"{PLAIN},id", "2025-01-03T10:00:00Z,buy,3000,0.1,0,USDT,1")
    output = mm.refused("two.csv", f"{PLAIN},id", "2025-02-03T10:00:00Z,buy,3000,0.1,0,USDT,1")
    assert "trade 1 is told with another time, price, quantity or order" in output


@pytest.mark.parametrize("form", [FILLS, OF_2019, PLAIN])
def test_equal_executions_of_one_second_are_two_also_across_the_end_of_a_file(mm: Installation, form: str) -> None:
    rows = {
        FILLS: executed(0.03, "10:00:00"),
        OF_2019: of_2019(0.03, "10:00:00"),
        PLAIN: "2025-01-03T10:00:00Z,buy,3000,0.03,0.1,USDT",
    }
    mm.take("cut.csv", form, rows[form])
    mm.take("overlapping.csv", form, rows[form], rows[form])
    mm.take("cut_again.csv", form, rows[form])
    assert mm.quantities() == [0.03, 0.03]


def test_file_without_order_ids_tells_the_same_executions(mm: Installation) -> None:
    mm.take("old.csv", OF_2019, of_2019(0.04, "10:00:00"), of_2019(0.027, "11:00:00"), of_2019(0.5, "11:00:01"))
    mm.take("fills.csv", FILLS, *PARTS)
    mm.take("orders.csv", ORDERS, WHOLE)
    assert mm.quantities() == [0.04, 0.027, 0.5]
    mm.run("--forget", "fills.csv")
    assert mm.quantities() == [0.04, 0.027, 0.5]


def test_equal_rows_of_a_file_are_two_where_one_alone_has_an_id(mm: Installation) -> None:
    rows = [f"2025-01-03T10:00:00Z,buy,3000,0.1,0,USDT,{name}" for name in ("7", "")]
    mm.take("plain.csv", f"{PLAIN},id", *rows)
    assert mm.quantities() == [0.1, 0.1]


def test_sum_that_is_off_by_the_last_digit_of_a_float_is_the_orders(mm: Installation) -> None:
    mm.take("orders.csv", ORDERS, ordered(0.06700000000000003, "11:00:00"))
    mm.take("fills.csv", FILLS, *PARTS)
    assert mm.quantities() == [0.04, 0.027]


def test_trade_with_oneself_is_two_fills(mm: Installation) -> None:
    rows = [f"2025-01-03T10:00:00Z,{side},3000,0.1,0,USDT,77" for side in ("buy", "sell")]
    mm.take("plain.csv", f"{PLAIN},id", *rows)
    mm.take("again.csv", f"{PLAIN},id", *rows, "2025-01-03T10:00:01Z,buy,3000,0.1,0,USDT,78")
    assert [(one.trade_id, one.side.value) for one in mm.kept()] == [("77", "buy"), ("77", "sell"), ("78", "buy")]


def test_list_shows_what_each_import_brought_in_80_columns(mm: Installation) -> None:
    mm.take("export_of_the_filled_orders_of_january_2025_with_splitting.csv", FILLS, *PARTS)
    assert "in a finer or larger form, which is kept" in mm.take("orders.csv", ORDERS, WHOLE)
    told = mm.listed()
    assert [(one["import"], one["rows"], one["fills_kept"], one["market"]) for one in told] == [
        (1, 2, 2, "kucoin:ETH/USDT"),
        (2, 1, 0, "kucoin:ETH/USDT"),
    ]
    assert (told[0]["first"], told[0]["last"]) == ("2025-01-03T10:00:00Z", "2025-01-03T11:00:00Z")
    assert told[0]["format"] == "kucoin fills"
    code, output = mm.run("--list", "--grid", "mine")
    assert code == 0
    assert max(map(len, output.splitlines())) <= 80
    assert "orders.csv" in output
    assert "2025-01-03" in output
    assert mm.run("--list", "--grid", "yours")[0] == BAD_USAGE


def test_name_of_a_file_is_shown_without_what_a_terminal_acts_upon(mm: Installation) -> None:
    mm.take("red\x1b[31m.csv", FILLS, *PARTS)
    assert "\x1b" not in mm.listed()[0]["file"]
    assert "\x1b[31m" not in mm.run("--list")[1]


def test_same_rows_again_are_no_import_of_their_own(mm: Installation) -> None:
    mm.take("fills.csv", FILLS, *PARTS)
    before = mm.contents()
    assert "are import 1 already" in mm.take("copy.csv", FILLS, *PARTS[::-1])
    assert mm.contents() == before


def test_forgotten_import_takes_what_no_other_told(mm: Installation) -> None:
    mm.take("one.csv", FILLS, *PARTS)
    mm.take("two.csv", FILLS, PARTS[1], executed(0.5, "12:00:00", order="a2"))
    code, output = mm.run("--forget", "2")
    assert (code, mm.quantities()) == (0, [0.04, 0.027])
    assert "Import 2 (two.csv, kucoin:ETH/USDT, 2 rows) was taken out: 1 fills of 2025-01-03 to 2025-01-03" in output
    assert [one["import"] for one in mm.listed()] == [1]
    mm.take("orders.csv", ORDERS, WHOLE)
    code, output = mm.run("--forget", "one.csv", "--json")
    told = json.loads(output)
    assert (code, told["taken_out"], told["put_back"], mm.quantities()) == (0, 2, 1, [0.067])
    assert mm.run("--forget", "orders.csv")[0] == 0
    assert (mm.kept(), mm.listed(), mm.store.lost(IMPORTED, MARKET)) == ([], [], [])


def test_unknown_import_is_refused_with_those_that_there_are(mm: Installation) -> None:
    mm.take("one.csv", FILLS, PARTS[0])
    mm.take("two.csv", FILLS, PARTS[1])
    for wanted in ("9", "three.csv"):
        code, output = mm.run("--forget", wanted)
        assert code == BAD_USAGE
        assert "1 one.csv of kucoin:ETH/USDT; 2 two.csv of kucoin:ETH/USDT" in output
    mm.take("one.csv", FILLS, executed(0.5, "12:00:00", order="a2"))
    assert "2 imports are of 'one.csv'" in mm.run("--forget", "one.csv")[1]
    assert len(mm.kept()) == 3


def test_one_thing_is_asked_for(mm: Installation) -> None:
    assert mm.run()[0] == mm.run("--list", "--forget", "1")[0] == BAD_USAGE
    assert "--grid ID is missing" in mm.run(mm.file("fills.csv", FILLS, PARTS[0]))[1]


def earlier(number: int, quantity: float, time_ms: int, **changes: Any) -> AccountFill:
    made = {"trade_id": f"csv-{number:016x}-1", "order_id": "a1", "time_ms": time_ms, "fee": 0.1}
    return fill(number, "buy", 3000.0, quantity, **(made | changes))


TEN, ELEVEN = (int(datetime.fromisoformat(f"2025-01-03T{hour}:00:00+00:00").timestamp() * 1000) for hour in (10, 11))


def test_fills_of_an_earlier_version_are_read_listed_and_forgotten(mm: Installation) -> None:
    old = [earlier(1, 0.04, TEN), earlier(2, 0.027, ELEVEN), earlier(3, 0.5, ELEVEN, order_id="", trade_id="7")]
    mm.store.append(IMPORTED, MARKET, old, span=None)
    assert [(one["file"], one["rows"], one["at"]) for one in mm.listed()] == [("(by an earlier version)", 3, None)]
    mm.take("fills.csv", FILLS, *PARTS, executed(0.1, "12:00:00", order="a2"))
    assert sorted(mm.quantities()) == [0.027, 0.04, 0.1, 0.5]
    assert [one["import"] for one in mm.listed()] == [1, 2]
    mm.run("--forget", "1")
    assert mm.quantities() == [0.04, 0.027, 0.1]


def test_order_that_an_earlier_version_counted_twice_counts_once_at_the_next_import(mm: Installation) -> None:
    old = [earlier(1, 0.04, TEN), earlier(2, 0.027, ELEVEN), earlier(3, 0.067, ELEVEN)]
    mm.store.append(IMPORTED, MARKET, old, span=None)
    mm.take("more.csv", FILLS, executed(0.1, "12:00:00", order="a2"))
    assert mm.quantities() == [0.04, 0.027, 0.1]


def test_conflict_that_an_earlier_version_let_in_can_be_taken_out(mm: Installation, tmp_path: Path) -> None:
    mm.store.append(IMPORTED, MARKET, [earlier(1, 0.04, TEN, trade_id="1")], span=None)
    (january,) = (tmp_path / "home").rglob("2025-01.parquet")
    other = [earlier(1, 0.05, TEN + 32 * 86_400_000, trade_id="1")]
    for note in january.parent.glob(".*"):
        note.unlink()  # as before folders kept a list of their files
    fills_frame(other).write_parquet(january.with_name("2025-02.parquet"))
    assert "trade 1" in mm.run(mm.file("fills.csv", FILLS, *PARTS), "--grid", "mine")[1]
    assert "trade 1" in mm.listed()[0]["problem"]
    code, output = mm.run("--forget", "1")
    assert (code, mm.kept()) == (0, []), output
    mm.take("fills.csv", FILLS, *PARTS)


def test_lost_month_comes_back_with_the_import_of_its_file(mm: Installation, tmp_path: Path) -> None:
    mm.take("fills.csv", FILLS, *PARTS)
    (month,) = (tmp_path / "home").rglob("2025-01.parquet")
    month.unlink()
    assert mm.store.lost(IMPORTED, MARKET) == ["2025-01"]
    mm.take("fills.csv", FILLS, *PARTS)
    assert (mm.quantities(), mm.store.lost(IMPORTED, MARKET)) == ([0.04, 0.027], [])


def test_lost_month_of_a_forgotten_import_is_lost_no_more(mm: Installation, tmp_path: Path) -> None:
    mm.take("fills.csv", FILLS, *PARTS)
    (month,) = (tmp_path / "home").rglob("2025-01.parquet")
    month.unlink()
    assert mm.run("--forget", "1")[0] == 0
    assert (mm.kept(), mm.store.lost(IMPORTED, MARKET)) == ([], [])


def test_import_and_forget_wait_for_the_writers_lock_and_give_up(mm: Installation) -> None:
    mm.take("fills.csv", FILLS, *PARTS)
    (mm.folder / "settings.yaml").write_text("exchange: kucoin\nwriting: {give_up_after: 1s}\n")
    lock = FileLock(mm.folder / "home" / "frames.writer.lock")
    assert lock.try_take("a tick")
    try:
        for arguments in (("--forget", "1"), (mm.file("orders.csv", ORDERS, WHOLE), "--grid", "mine")):
            code, output = mm.run(*arguments)
            assert (code, "a tick" in output) == (REFUSED, True), output
        assert [one["import"] for one in mm.listed()] == [1], "the list only reads"
    finally:
        lock.free()
    assert mm.run("--forget", "1")[0] == 0
