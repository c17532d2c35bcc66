"""What a backfill may cost before it starts, and when the command asks first."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from mm_pipeline.application.backfill import BackfillPlan, Estimate, MonthMade, Pace, estimated, rows_expected
from mm_pipeline.application.plan import Plan, WatchedGrid, make_plan
from mm_pipeline.cli.history import backfill as command
from mm_pipeline.domain.instants import to_ms
from mm_pipeline.rendering.terminal.backfill_lines import WIDTH, end_lines, month_line, plan_lines
from mm_pipeline.settings import load_settings
from mm_pipeline_tests.grid_samples import grid_around

FEBRUARY, MARCH, APRIL = (datetime(2025, month, 1, tzinfo=UTC) for month in (2, 3, 4))
HOME = Pace(rows_per_s=500.0, bytes_per_row=60.0, source="this home's last backfill, 2025-02 on 2025-03-02")


def plan_of(start: datetime, end: datetime, *grids: WatchedGrid, newest: datetime = APRIL) -> Plan:
    return make_plan(
        start=start,
        end=end,
        evaluated_ms=to_ms(newest),
        is_live=False,
        grids=grids,
        extra_markets=[],
        since_window_ms=7 * 86_400_000,
        warm_up_ms=52 * 86_400_000,
    )


def watched(started_at: datetime, **changes: object) -> WatchedGrid:
    return WatchedGrid.undated(grid_around(3000.0, started_at, **changes))


def test_rows_are_those_of_bars_and_of_evaluations_from_the_start_on() -> None:
    held = watched(FEBRUARY + timedelta(days=18), id="held")
    idle = watched(FEBRUARY, id="idle", enabled=False)
    of_market = 28 * (96 + 2 * (24 + 6))
    assert rows_expected(plan_of(FEBRUARY, MARCH, idle)) == of_market + 2 * 28 * 96
    of_ten_days = 4 * (10 * 96 + 1)  # analysis, positions, risk, exit states; the first is that of its start
    assert rows_expected(plan_of(FEBRUARY, MARCH, idle, held)) == of_market + 2 * 28 * 96 + of_ten_days


def test_month_that_goes_on_counts_to_now() -> None:
    noon = MARCH + timedelta(hours=12)
    assert (
        rows_expected(plan_of(MARCH, APRIL, watched(MARCH, enabled=False), newest=noon)) == 48 + 2 * (12 + 3) + 2 * 48
    )


def test_estimate_follows_the_pace() -> None:
    plans = [plan_of(FEBRUARY, MARCH, watched(FEBRUARY, enabled=False))] * 2
    found = estimated(plans, HOME)
    assert found.rows == 2 * rows_expected(plans[0])
    assert found.seconds == pytest.approx(found.rows / 500.0)
    assert found.bytes == found.rows * 60


PLAN = BackfillPlan(
    months={"2025-02": ("not made",), "2025-03": ("goes on", "settings"), "2025-04": ("not made",)},
    current=("2024-12", "2025-01"),
    empty={"2024-11": "No grid is declared from 2024-11 to 2024-11."},
    estimate=Estimate(rows=123_456, seconds=246.9, bytes=7_407_360, pace=HOME),
)


def test_plan_says_what_is_made_why_and_by_what_it_is_expected() -> None:
    lines = plan_lines(PLAN)
    assert " ".join(line.strip() for line in lines) == (
        "3 months to make, 2025-02 to 2025-04 (1 goes on, settings; 2 not made). 2 months are current: --again makes "
        "them too. 2024-11: No grid is declared from 2024-11 to 2024-11. "
        "Expected: 123,456 rows, 4 min, 7.4 MB of frames by this home's last backfill, 2025-02 on "
        "2025-03-02: 500 rows/s."
    )
    assert max(map(len, lines)) <= WIDTH


def test_nothing_to_make_is_said() -> None:
    nothing = BackfillPlan(months={}, current=("2025-01",), empty={}, estimate=estimated([], HOME))
    assert plan_lines(nothing) == ["Nothing to make. 1 month is current: --again makes it too."]


MADE = MonthMade(
    month="2025-02",
    seconds=12.34,
    rows=9_876,
    hours_compared=671,
    hours_differing=("kucoin:ETH/USDT 2025-02-03 07:00: high 9999.0 against the exchange's 3010.5",),
    not_compared=("kucoin:BTC/USDT: the exchange gave no 1h candle",),
)


def test_months_and_hours_are_told_in_80_columns() -> None:
    assert month_line(MADE, 1, 3) == "2025-02 made, 9,876 rows in 12.3 s (1 of 3 months)"
    lines = end_lines([MADE], 12.34)
    assert max(map(len, lines)) <= WIDTH
    told = " ".join(line.strip() for line in lines)
    assert "1 month, 2025-02 to 2025-02, in 12.3 s" in told
    assert "671 hours compared with the exchange's own 1h candles, 1 differ" in told
    assert "kucoin:ETH/USDT 2025-02-03 07:00: high 9999.0 against the exchange's 3010.5" in told
    assert "hours not compared: 2025-02 kucoin:BTC/USDT: the exchange gave no 1h candle" in told


def test_nothing_compared_is_no_agreement() -> None:
    silent = MonthMade(
        month="2025-02", seconds=1.0, rows=1, hours_compared=0, hours_differing=(), not_compared=("kucoin:ETH/USDT: x",)
    )
    assert end_lines([silent], 1.0)[1:] == ["hours not compared: 2025-02 kucoin:ETH/USDT: x"]


@pytest.mark.parametrize(
    ("seconds", "is_terminal", "arguments", "asks"),
    [
        (3600.0, True, [], True),
        (3600.0, False, [], False),
        (3600.0, True, ["--yes"], False),
        (60.0, True, [], False),
    ],
)
def test_question_comes_before_a_long_backfill_at_a_terminal_alone(
    monkeypatch: pytest.MonkeyPatch, seconds: float, is_terminal: bool, arguments: list[str], asks: bool
) -> None:
    asked = []
    long = BackfillPlan(
        months={"2025-02": ("not made",)},
        current=(),
        empty={},
        estimate=Estimate(rows=1, seconds=seconds, bytes=1, pace=HOME),
    )
    monkeypatch.setattr("mm_pipeline.orchestration.runs.plan_backfill", lambda *_, **__: long)
    monkeypatch.setattr("mm_pipeline.orchestration.runs.backfill", lambda *_, **__: [MADE])
    monkeypatch.setattr(click, "confirm", lambda *_, **__: asked.append(True))
    monkeypatch.setattr(command, "_is_terminal", lambda name: is_terminal)
    CliRunner().invoke(command.backfill, ["--from", "2025-02-01", "--to", "2025-02-02", *arguments])
    assert bool(asked) is asks


def test_pace_and_question_are_settings(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("backfill: {rows_per_s: 10, bytes_per_row: 7, ask_after: 1h}\n")
    chosen = load_settings(file).backfill
    assert (chosen.rows_per_s, chosen.bytes_per_row, chosen.ask_after) == (10.0, 7.0, timedelta(hours=1))
    assert load_settings().hash == load_settings(file).hash, "they decide no state"
