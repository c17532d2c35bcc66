"""Rules of faults, edits of bars, and numbers as they are written on the wire."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_pipeline.paper.http.bar_edits import drop_bar, repeat_bar, revise_bar, shuffle_bars
from mm_pipeline.paper.http.faults import Delayed, FaultPlan, NullData, TruncatedJson
from mm_pipeline.paper.http.wire import Answer, Bar, decimal_text

BARS = [Bar(i * 900_000, 1.0, 2.0, 0.5, 1.5, 3.0, 4.5) for i in range(6)]


def test_rule_strikes_its_path_so_often_and_no_more() -> None:
    plan = FaultPlan()
    rule = plan.add(NullData(), path_contains="candles", times=2)
    assert plan.strike("/kucoin/api/v1/timestamp") == ()
    assert plan.strike("/kucoin/api/v1/market/candles?symbol=A") == (NullData(),)
    assert plan.strike("/kucoin/api/v1/market/candles?symbol=B") == (NullData(),)
    assert plan.strike("/kucoin/api/v1/market/candles?symbol=C") == ()
    assert rule.hits == 2
    assert plan.names() == []


def test_endless_rule_ends_when_removed_and_others_stay() -> None:
    plan = FaultPlan()
    rule = plan.add(NullData())
    plan.add(Delayed(delay_s=1))
    assert len(plan.strike("/x")) == 2
    plan.remove(rule)
    plan.remove(rule)
    assert plan.strike("/x") == (Delayed(delay_s=1),)
    plan.clear()
    assert plan.strike("/x") == ()


def test_edits_change_only_the_bar_they_name() -> None:
    at = BARS[2].open_time_ms
    revised = revise_bar(at, close=math.nan, high=None)(BARS)
    assert [bar for bar in revised if bar.open_time_ms != at] == BARS[:2] + BARS[3:]
    assert math.isnan(revised[2].close)
    assert revised[2].high is None
    assert drop_bar(at)(BARS) == BARS[:2] + BARS[3:]
    assert repeat_bar(at)(BARS) == [*BARS[:3], *BARS[2:]]
    assert repeat_bar(at, close=9.0)(BARS)[3].close == 9.0
    shuffled = shuffle_bars(1)(BARS)
    assert shuffled != BARS
    assert sorted(shuffled) == BARS


def test_null_data_keeps_an_envelope_and_empties_a_bare_answer() -> None:
    assert NullData().spoil(Answer(payload={"code": "200000", "data": [1]})).body() == b'{"code":"200000","data":null}'
    assert NullData().spoil(Answer(payload=[1])).body() == b"null"


def test_truncation_leaves_the_first_part() -> None:
    assert TruncatedJson(kept_share=0.5).spoil(Answer(payload=[1, 2, 3])).body() == b"[1,"


@given(st.floats(min_value=1e-9, max_value=1e12))
def test_number_on_the_wire_reads_back_to_the_same_float_without_exponent(value: float) -> None:
    text = decimal_text(value)
    assert text is not None
    assert float(text) == value
    assert "e" not in text


@pytest.mark.parametrize(
    ("value", "text"), [(10416.0, "10416"), (0.0000001, "0.0000001"), (math.nan, "NaN"), (None, None), (-3.5, "-3.5")]
)
def test_number_is_written_as_exchanges_write_it(value: float | None, text: str | None) -> None:
    assert decimal_text(value) == text
