"""Whatever is filled, in parts, with fees in any currency, told in any order and however often: money is conserved."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_pipeline.domain.account import (
    AccountFill,
    FillRole,
    Increments,
    fills_frame,
    fills_of_frame,
    fills_of_grid,
    in_order,
    position_of,
)
from mm_pipeline.domain.grid import Grid
from mm_pipeline_tests.account_samples import STARTED, account_policy, fill
from mm_pipeline_tests.grid_samples import hundreds_grid

STEPS = Increments(price=0.01, base=1e-6)
RATES = {"KCS": 10.0}
POLICY = account_policy()

quick = settings(max_examples=60, deadline=None)


def ladder() -> Grid:
    return hundreds_grid(started_at=STARTED, exchange="kucoin", capital=10_000.0)


@st.composite
def histories(draw: st.DrawFn) -> list[AccountFill]:
    """Fills at the ladder's levels; each order in one part or more, no sale of more than is held."""
    fills: list[AccountFill] = []
    held = 0.0
    for order in range(draw(st.integers(0, 12))):
        is_buy = held < 1e-3 or draw(st.booleans())
        price = draw(st.sampled_from([100.0, 110.0, 120.0] if is_buy else [110.0, 120.0, 130.0]))
        quantity = draw(st.floats(0.01, 3.0)) if is_buy else held * draw(st.floats(0.1, 0.99))
        cuts = sorted(draw(st.lists(st.floats(0.05, 0.95), max_size=3, unique=True)))
        for start, end in zip([0.0, *cuts], [*cuts, 1.0], strict=True):
            part = quantity * (end - start)
            rate = draw(st.sampled_from([0.0, 0.001, 0.01]))
            currency = draw(st.sampled_from(["USDT", "ETH", "KCS"]))
            worth = {"USDT": price, "ETH": 1.0, "KCS": price / RATES["KCS"]}[currency]
            side = "buy" if is_buy else "sell"
            changes: dict[str, Any] = {"order_id": f"o{order}", "fee": part * rate * worth, "fee_currency": currency}
            fills.append(fill(len(fills) + 1, side, price, part, **changes))
            held += part if is_buy else -part
            held -= part * rate if currency == "ETH" else 0.0
        held = max(held, 0.0)
    return fills


def position(fills: list[AccountFill], bid: float) -> Any:
    return position_of(ladder(), fills, (), None, bid, policy=POLICY, increments=STEPS, rates=RATES)


def fee_quote(made: AccountFill) -> float:
    return made.fee * {"USDT": 1.0, "ETH": made.price, "KCS": RATES["KCS"]}[made.fee_currency]


@quick
@given(histories(), st.floats(50.0, 200.0))
def test_position_of_any_history_is_the_plain_account_of_it(fills: list[AccountFill], bid: float) -> None:
    cash, base = 0.0, 0.0
    for made in fills:
        sign = 1 if made.is_buy else -1
        cash -= sign * made.price * made.quantity_base
        base += sign * made.quantity_base
        if made.fee_currency == "ETH":
            base -= made.fee
        else:
            cash -= fee_quote(made)
    told = position(fills, bid)
    assert told.cash_flow_quote == pytest.approx(cash, abs=1e-8)
    assert told.inventory_base == pytest.approx(base, abs=1e-9)
    assert told.total_pnl_quote == pytest.approx(cash + base * bid, abs=1e-7)
    assert told.fees_quote == pytest.approx(sum(map(fee_quote, fills)), abs=1e-9)


@quick
@given(histories(), st.floats(50.0, 200.0))
def test_pnl_identity_holds_and_its_residual_is_what_was_oversold(fills: list[AccountFill], bid: float) -> None:
    told = position(fills, bid)
    parts = told.grid_profit_quote + told.unrealised_quote - told.unmatched_fees_quote + told.residual_quote
    assert told.total_pnl_quote == pytest.approx(parts, abs=1e-8)
    assert told.equity_quote - ladder().capital == pytest.approx(told.total_pnl_quote, abs=1e-8)
    if told.oversold_base == 0.0:
        assert abs(told.residual_quote) < 1e-8


@quick
@given(histories())
def test_matching_is_that_of_a_plain_queue(fills: list[AccountFill]) -> None:
    lots: deque[list[float]] = deque()  # quantity, price, fee
    profit = 0.0
    for made in fills:
        in_base = made.fee if made.fee_currency == "ETH" else 0.0
        fee = fee_quote(made)
        if made.is_buy:
            lots.append([made.quantity_base - in_base, made.price, fee])
            continue
        wanted = total = made.quantity_base + in_base
        while wanted > 1e-15 and lots:
            taken = min(wanted, lots[0][0])
            part = taken / lots[0][0]
            profit += taken * (made.price - lots[0][1]) - lots[0][2] * part - fee * taken / total
            lots[0][2] *= 1 - part
            lots[0][0] -= taken
            wanted -= taken
            if lots[0][0] <= 1e-15:
                lots.popleft()
    told = position(fills, 115.0)
    assert told.grid_profit_quote == pytest.approx(profit, abs=1e-7)
    assert told.unmatched_fees_quote == pytest.approx(sum(lot[2] for lot in lots), abs=1e-7)


@quick
@given(histories(), st.randoms(use_true_random=False), st.data())
def test_order_and_repetition_of_the_telling_change_nothing(
    fills: list[AccountFill], random: Any, data: st.DataObject
) -> None:
    again = data.draw(st.lists(st.sampled_from(fills), max_size=8)) if fills else []
    shuffled = [*fills, *again]
    random.shuffle(shuffled)
    assert in_order(shuffled) == fills
    assert position(shuffled, 115.0) == position(fills, 115.0)


@quick
@given(histories())
def test_partial_fills_put_together_are_the_same_position(fills: list[AccountFill]) -> None:
    whole: dict[tuple[str, str], AccountFill] = {}
    for made in fills:
        key = (made.order_id, made.fee_currency)
        before = whole.get(key)
        if before is not None:
            made = fill(  # noqa: PLW2901 - the parts so far as one
                int(before.trade_id),
                made.side.value,
                made.price,
                before.quantity_base + made.quantity_base,
                order_id=made.order_id,
                fee=before.fee + made.fee,
                fee_currency=made.fee_currency,
            )
        whole[key] = made
    parts, together = position(fills, 115.0), position(list(whole.values()), 115.0)
    assert together.total_pnl_quote == pytest.approx(parts.total_pnl_quote, abs=1e-7)
    assert together.inventory_base == pytest.approx(parts.inventory_base, abs=1e-9)
    assert (together.ladder_buys, together.ladder_sells) == (parts.ladder_buys, parts.ladder_sells)


@quick
@given(histories())
def test_fills_survive_the_frame_and_all_of_them_are_the_ladders(fills: list[AccountFill]) -> None:
    assert fills_of_frame(fills_frame(fills)) == fills
    told = fills_of_grid(ladder(), fills, policy=POLICY, increments=STEPS)
    assert told.fills == tuple(fills)
    assert set(told.roles) <= {FillRole.LADDER}
