"""Any sequence of imports of KuCoin's file forms, at three moments of its orders, gives the same fills."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from mm_pipeline.adapters.account import IMPORTED, FrameFills, FrameImports, digest_of, import_fills
from mm_pipeline.domain.account import AccountFill, Telling, settled
from mm_pipeline.domain.market import Market
from mm_pipeline_tests.account_samples import account_policy
from mm_pipeline_tests.effort import tries

MARKET = Market("kucoin", "ETH/USDT")
NOW = datetime(2025, 6, 1, tzinfo=UTC)
POLICY = account_policy()
DONE = 3
FORMS = ("orders", "fills", "bot", "of_2018", "of_2019")
WITH_ORDER_IDS = frozenset({"fills", "bot", "of_2018"})
HEADERS = {
    "orders": "Order ID,Order Time(UTC),Symbol,Side,Order Type,Order Price,Order Amount,Avg. Filled Price,"
    "Filled Amount,Filled Time(UTC),Fee,Fee Currency,Status",
    "fills": "Order ID,Symbol,Side,Order Type,Avg. Filled Price,Filled Amount,Filled Time(UTC),Fee,Fee Currency",
    "bot": "UID,Order ID,Symbol,Side,Filled Price,Filled Amount,Time Filled(UTC),Fee,Fee Currency",
    "of_2018": "tradeCreatedAt,orderId,symbol,side,price,size,funds,fee,liquidity,feeCurrency,orderType",
    "of_2019": "Time,Pair,Side,FilledPrice,FilledPriceCoin,Amount,AmountCoin,Volume,VolumeCoin,Fee,FeeCoin",
}


@dataclass(frozen=True)
class Part:
    """An execution: seconds since the beginning, hundredths of quote, ten-thousandths of base."""

    second: int
    price: int
    lots: int


@dataclass(frozen=True)
class Order:
    """An order, and how many of its parts there were at each moment."""

    name: str
    side: str
    placed: int
    parts: tuple[Part, ...]
    seen: tuple[int, int, int]

    def at(self, moment: int) -> tuple[Part, ...]:
        return self.parts[: self.seen[moment - 1]]


File = tuple[str, int]


@st.composite
def orders(draw: st.DrawFn) -> list[Order]:
    """Orders at prices of their own, which may rest at the same time."""
    made = []
    for number in range(draw(st.integers(1, 3))):
        placed, price = draw(st.integers(0, 50)), 300_000 + 1000 * number
        gaps = draw(st.lists(st.integers(0, 3), min_size=1, max_size=5))
        is_mixed = draw(st.integers(0, 4)) == 0
        parts, second = [], placed
        for gap in gaps:
            second += gap
            better = draw(st.integers(0, 300)) if is_mixed else 0
            parts.append(Part(second, price + better, draw(st.sampled_from([300, 300, 270, 400]))))
        seen = sorted((draw(st.integers(0, len(parts))), draw(st.integers(0, len(parts)))))
        side = draw(st.sampled_from(["buy", "sell"]))
        made.append(Order(f"6a0{number}", side, placed, tuple(parts), (seen[0], seen[1], len(parts))))
    return made


def text_of(form: str, moment: int, made: Sequence[Order]) -> str:
    if form == "orders":
        rows = [_order_row(order, moment) for order in made]
    else:
        rows = [_row(form, order, part) for order in made for part in order.at(moment)]
    return "\n".join([HEADERS[form], *(row for row in rows if row), ""])


def _at(second: int) -> str:
    return f"2025-01-03 10:{second // 60:02d}:{second % 60:02d}"


def _order_row(order: Order, moment: int) -> str:
    parts = order.at(moment)
    lots, amount = sum(part.lots for part in parts), sum(part.lots for part in order.parts) / 1e4
    status = "deal" if moment == DONE else "active"
    head = f"{order.name},{_at(order.placed)},ETH-USDT,{order.side.upper()},LIMIT,{order.parts[0].price / 100},{amount}"
    if not parts:
        return f"{head},0,0,,,,{status}"
    mean = round(sum(part.price * part.lots for part in parts) / lots / 100, 8)
    return f"{head},{mean},{lots / 1e4},{_at(parts[-1].second)},{_fee(lots):.6f},USDT,{status}"


def _row(form: str, order: Order, part: Part) -> str:
    share = 0.8 if form == "bot" else 1.0  # shown with the discount there
    price, quantity, at = part.price / 100, part.lots / 1e4, _at(part.second)
    fee = f"{_fee(part.lots, share=share):.6f}"
    side = order.side
    return {
        "fills": f"{order.name},ETH-USDT,{side},LIMIT,{price},{quantity},{at},{fee},USDT",
        "bot": f"****1,{order.name},ETH-USDT,{side},{price},{quantity},{at},{fee},USDT",
        "of_2018": f"{at},{order.name},ETH-USDT,{side},{price},{quantity},{price * quantity},{fee},maker,USDT,limit",
        "of_2019": f"{at},ETH/USDT,{side},{price},USDT,{quantity},ETH,{price * quantity},USDT,{fee},USDT",
    }[form]


def _fee(lots: int, *, share: float = 1.0) -> float:
    return lots * 3e-4 * share


def tellings(folder: Path, file: File, made: Sequence[Order]) -> list[Telling]:
    path = folder / f"{file[0]}_{file[1]}.csv"
    path.write_text(text_of(*file, made))
    zone = UTC if file[0] in ("of_2018", "of_2019") else None
    return list(import_fills(path, until=NOW, symbol=MARKET.symbol, zone=zone).tellings)


def fills_of(files: Sequence[list[Telling]]) -> list[AccountFill]:
    told = [replace(row, source=number) for number, rows in enumerate(files, start=1) for row in rows]
    return [one.fill for one in settled(told, POLICY)]


def lots_of(fills: Sequence[AccountFill]) -> Counter[str]:
    """By side."""
    total: Counter[str] = Counter()
    for one in fills:
        total[one.side.value] += round(one.quantity_base * 1e4)
    return total


files_of = st.lists(st.tuples(st.sampled_from(FORMS), st.integers(1, DONE)), min_size=1, max_size=7)


@settings(max_examples=tries(100), deadline=None)
@given(orders(), files_of, st.data())
def test_any_sequence_of_files_gives_the_same_fills(made: list[Order], files: list[File], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        told = {file: tellings(Path(folder), file, made) for file in set(files)}
    first = fills_of([told[file] for file in files])
    again = data.draw(st.permutations([*files, *data.draw(st.lists(st.sampled_from(files), max_size=3))]))
    assert fills_of([told[file] for file in again]) == first
    latest = {form: max((moment for kind, moment in files if kind == form), default=0) for form in FORMS}
    newest = max(latest.values())
    truth = Counter[str]()
    for order in made:
        truth[order.side] += sum(part.lots for part in order.at(newest))
    is_mixed = any(len({part.price for part in order.parts}) > 1 for order in made)
    is_named = any(latest[form] == newest for form in WITH_ORDER_IDS)
    if is_named or not (is_mixed and latest["of_2019"]):  # parts at several prices want order ids
        assert +lots_of(first) == +truth
    if is_named:
        executions = [(order.name, part) for order in made for part in order.at(newest)]
        expected = Counter((name, part.price, part.lots) for name, part in executions)
        shown = Counter((one.order_id, round(one.price * 100), round(one.quantity_base * 1e4)) for one in first)
        assert shown == expected


@settings(max_examples=15, deadline=None)
@given(orders(), files_of)
def test_imports_one_by_one_keep_what_they_tell_together_and_forgetting_goes_back(
    made: list[Order], files: list[File]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store, imports = FrameFills(folder), FrameImports(folder, POLICY)
        kept: list[tuple[int, list[AccountFill]]] = [(0, [])]
        for file in files:
            rows = tellings(Path(folder), file, made)
            done = imports.add(
                MARKET, rows, digest=digest_of(rows), file=f"{file}", form=file[0], at=datetime(2025, 5, 1, tzinfo=UTC)
            )
            if rows and not done.is_known:
                kept.append((done.record.number, store.fills(IMPORTED, MARKET)))
        for (number, _), (_, before) in zip(kept[:0:-1], kept[-2::-1], strict=True):
            imports.forget(str(number), [MARKET])
            assert store.fills(IMPORTED, MARKET) == before
