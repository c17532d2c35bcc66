"""FIFO matching of fills: golden cases, and properties that hold for every order and split of them."""

from collections import deque
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_pipeline.domain.position import FifoLedger, match_fifo

Fill = tuple[bool, int, int]
"""Whether it buys, whole units, and price."""

fills = st.lists(st.tuples(st.booleans(), st.integers(0, 9), st.integers(1, 50)), max_size=30)
untimed = settings(deadline=None)  # the first example compiles the loops
FEE = 0.125
"""An eighth of the amount: exact in binary."""


def ledger_of(fills: list[Fill], parts: int = 1) -> FifoLedger:
    """Match fills, each split into equal parts."""
    split = [fill for fill in fills for _ in range(parts)]
    quantity = np.array([units / parts for _, units, _ in split], dtype=np.float64)
    price = np.array([price for *_, price in split], dtype=np.float64)
    is_buy = np.array([is_buy for is_buy, *_ in split], dtype=np.bool_)
    return match_fifo(is_buy=is_buy, quantity_base=quantity, price=price, fee_quote=quantity * price * FEE)


def last(ledger: FifoLedger) -> dict[str, float]:
    return {name: float(values[-1]) for name, values in vars(ledger).items()}


def unit_by_unit(fills: list[Fill]) -> dict[str, float]:
    """The same with a queue of single units."""
    queue: deque[int] = deque()
    profit = oversold = 0.0
    for is_buy, units, price in fills:
        for _ in range(units):
            if is_buy:
                queue.append(price)
            elif queue:
                bought = queue.popleft()
                profit += price - bought - FEE * (price + bought)
            else:
                oversold += 1
    return {
        "grid_profit_quote": profit,
        "held_base": len(queue),
        "held_cost_quote": sum(queue),
        "unmatched_fees_quote": FEE * sum(queue),
        "oversold_base": oversold,
    }


def test_sale_closes_the_oldest_buys_partly() -> None:
    ledger = ledger_of([(True, 2, 10), (True, 2, 20), (False, 3, 30)])
    assert ledger.grid_profit_quote.tolist() == [0, 0, 0, 90 - 40 - FEE * (90 + 40)]
    assert ledger.held_base.tolist() == [0, 2, 4, 1]
    assert ledger.held_cost_quote.tolist() == [0, 20, 60, 20]
    assert ledger.unmatched_fees_quote.tolist() == [0, 2.5, 7.5, 2.5]


def test_sale_of_more_than_was_bought_earns_for_what_was_bought_alone() -> None:
    ledger = ledger_of([(True, 1, 10), (False, 4, 20), (True, 1, 30)])
    assert ledger.grid_profit_quote.tolist() == [0, 0, 10 - FEE * 30, 10 - FEE * 30]
    assert ledger.oversold_base.tolist() == [0, 0, 3, 3]
    assert ledger.held_base.tolist() == [0, 1, 0, 1]


def test_no_fills_hold_nothing() -> None:
    assert set(last(ledger_of([])).values()) == {0.0}


@untimed
@given(fills)
def test_any_fills_match_as_single_units_do(fills: list[Fill]) -> None:
    assert last(ledger_of(fills)) == pytest.approx(unit_by_unit(fills), abs=1e-9)


@untimed
@given(fills, st.integers(2, 7))
def test_partial_fills_end_as_whole_ones_do(fills: list[Fill], parts: int) -> None:
    assert last(ledger_of(fills, parts)) == pytest.approx(last(ledger_of(fills)), abs=1e-9)


@untimed
@given(fills)
def test_money_is_conserved_where_nothing_is_oversold(fills: list[Fill]) -> None:
    ledger = ledger_of(fills)
    flows = [(-1 if is_buy else 1) * units * price - FEE * units * price for is_buy, units, price in fills]
    parts = last(ledger)
    if parts["oversold_base"] == 0:
        kept = parts["held_cost_quote"] + parts["unmatched_fees_quote"]
        assert sum(flows) + kept == pytest.approx(parts["grid_profit_quote"], abs=1e-9)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"quantity_base": np.array([1.0, -1.0])}, "0 or more"),
        ({"quantity_base": np.array([1.0, np.nan])}, "0 or more"),
        ({"price": np.array([1.0])}, "one length"),
        ({"is_buy": np.array([True])}, "one length"),
    ],
)
def test_columns_that_are_no_fills_are_refused(changes: dict[str, Any], said: str) -> None:
    columns: dict[str, Any] = {name: np.ones(2) for name in ("quantity_base", "price", "fee_quote")}
    with pytest.raises(ValueError, match=said):
        match_fifo(**({"is_buy": np.array([True, False])} | columns | changes))
