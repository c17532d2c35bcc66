"""Row 32: a crash bar that came broken, and finer candles of it that come, or not. Real HTTP, and the whole job."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from mm_pipeline.bootstrap import Overrides
from mm_pipeline.domain.instants import to_ms
from mm_pipeline.orchestration.runs import GridEvaluation, evaluate_now
from mm_pipeline.paper.clock import PaperClock
from mm_pipeline.paper.exchange import PaperExchange
from mm_pipeline.paper.http.bar_edits import drop_bar, revise_bar
from mm_pipeline.paper.http.faults import EditedBars
from mm_pipeline_tests.dagster_samples import DAGSTER_WARNINGS, Installation, quick_run
from mm_pipeline_tests.faults.test_32_hole_in_one_answer import (
    AT,
    ETH,
    FIRST,
    HOLE_BARS,
    NOW,
    QUARTER,
    Shelf,
    evaluate,
    home,
    market,
    without,
)

pytestmark = [pytest.mark.fault, *DAGSTER_WARNINGS]

STOP, BELOW = 2800.0, 2700.0
CRASH = AT - timedelta(hours=1)
LONG_AGO = AT - timedelta(days=2)
LATCHED = ("range_invalidated", "stop_loss_breached")


@pytest.fixture(scope="module")
def server() -> Iterator[PaperExchange]:
    with PaperExchange(markets=[market()], clock=PaperClock.standing(NOW)) as exchange:
        yield exchange


@pytest.fixture
def paper(server: PaperExchange) -> Iterator[PaperExchange]:
    server.clock.stand_at(NOW)
    server.calls.clear()
    yield server
    server.faults.clear()


def break_bar(paper: PaperExchange, at: datetime) -> None:
    """Its high is below its low, in the answer for 15m bars alone."""
    paper.faults.add(EditedBars(edit=revise_bar(to_ms(at), high=1.0)), path_contains="type=15min&")


def lose_finer(paper: PaperExchange, at: datetime, *names: str) -> None:
    """One finer bar of it is not sent."""
    for name in names:
        paper.faults.add(EditedBars(edit=drop_bar(to_ms(at))), path_contains=f"type={name}&")


def sink_finer(paper: PaperExchange, at: datetime, name: str = "5min") -> None:
    """The last finer bar of it goes below the stop, and comes back."""
    last = at + QUARTER - timedelta(minutes={"5min": 5, "1min": 1}[name])
    paper.faults.add(EditedBars(edit=revise_bar(to_ms(last), low=BELOW)), path_contains=f"type={name}&")


def told(at: datetime, made_of: str) -> str:
    return (
        f"the bar of {at:%Y-%m-%d %H:%M} UTC is made of {made_of} candles: the exchange's own 15m candle is quarantined"
    )


@pytest.mark.parametrize(("name", "at"), [("5min", AT - QUARTER), ("1min", CRASH)])
def test_crash_bar_whose_finer_ones_touched_the_stop_is_an_emergency(
    paper: PaperExchange, tmp_path: Path, name: str, at: datetime
) -> None:
    break_bar(paper, at)
    sink_finer(paper, at, name)
    if name == "1min":
        lose_finer(paper, at, "5min")

    found = evaluate(home(tmp_path, paper), paper, NOW)

    assert found.state == "MANDATORY_EXIT"
    trigger = found.triggers["stop_loss_breached"]
    assert (trigger["value"], trigger["margin"], trigger["since"]) == (BELOW, STOP - BELOW, at + QUARTER)
    assert told(at, name.removesuffix("in")) in found.reasons


def test_crash_bar_whose_finer_ones_stayed_above_the_stop_hinders_nothing(paper: PaperExchange, tmp_path: Path) -> None:
    break_bar(paper, CRASH)

    found = evaluate(home(tmp_path, paper), paper, NOW)

    assert found.state == "NORMAL"
    assert found.reasons == (told(CRASH, "5m"),)
    assert None not in [found.triggers[name]["value"] for name in LATCHED]


def test_crash_bar_without_finer_ones_is_a_warning_until_they_come(paper: PaperExchange, tmp_path: Path) -> None:
    break_bar(paper, LONG_AGO)
    lose_finer(paper, LONG_AGO, "5min", "1min")
    old = home(tmp_path, paper)

    holed = evaluate(old, paper, NOW)
    paper.faults.clear()
    break_bar(paper, LONG_AGO)
    covered = evaluate(old, paper, NOW + QUARTER)

    assert holed.state == "WARNING"
    assert any(f"the bar of {LONG_AGO:%Y-%m-%d %H:%M} UTC is quarantined" in text for text in holed.reasons)
    assert [holed.triggers[name]["value"] for name in LATCHED] == [None, None]
    assert covered.state == "NORMAL"
    assert None not in [covered.triggers[name]["value"] for name in LATCHED]


def test_cover_is_kept_gives_way_to_the_whole_bar_and_is_made_anew_when_it_is_lost(
    paper: PaperExchange, tmp_path: Path
) -> None:
    shelf = Shelf(tmp_path, paper)
    break_bar(paper, CRASH)
    sink_finer(paper, CRASH)
    made = [shelf.tick(NOW + quarter * QUARTER).made.height for quarter in (0, 1)]
    kept = low_of(shelf, NOW + QUARTER)
    for file in (tmp_path / "candle_covers").rglob("*.parquet"):
        file.unlink()
    anew = shelf.tick(NOW + 2 * QUARTER).made.height
    lost = low_of(shelf, NOW + 2 * QUARTER)
    paper.faults.clear()

    whole = shelf.tick(NOW + 3 * QUARTER)

    assert (made, anew) == ([1, 0], 1)
    assert (kept, lost) == (BELOW, BELOW)
    assert low_of(shelf, NOW + 3 * QUARTER) > STOP
    assert whole.revisions["low_before"].to_list() == [BELOW]
    shutil.rmtree(tmp_path / "candle_covers")
    assert low_of(shelf, NOW + 3 * QUARTER) > STOP


def low_of(shelf: Shelf, now: datetime) -> float:
    bars = shelf.bars(now)
    assert len(bars) == 60 * 96 + (now - NOW) // QUARTER
    return float(bars.filter(pl.col("open_time") == CRASH)["low"].item())


def as_of(installation: Installation, paper: PaperExchange, at: datetime) -> GridEvaluation:
    overrides = Overrides(home=installation.home, clock_at=f"{paper.clock.now():%Y-%m-%dT%H:%M:%SZ}")
    with quick_run():
        (found,) = evaluate_now(installation.deployment, at=at, overrides=overrides)
    return found


def test_evaluation_of_the_past_says_that_a_gap_is_not_confirmed(paper: PaperExchange, tmp_path: Path) -> None:
    """As a live tick does; once a second answer lacks the bars too, they had no trades. Covers are made there too."""
    at = AT - timedelta(hours=5)
    paper.faults.add(EditedBars(edit=without(FIRST, HOLE_BARS)), path_contains="market/candles")
    installation = home(tmp_path, paper)
    gap = f"{HOLE_BARS} bars of {ETH} from {FIRST:%Y-%m-%d %H:%M} UTC on are missing in the only answer so far"

    first = as_of(installation, paper, at)
    paper.clock.stand_at(NOW + QUARTER)
    break_bar(paper, at)
    sink_finer(paper, at)
    second = as_of(installation, paper, at + QUARTER)

    assert first.state == "UNKNOWN"
    assert first.reasons[0].startswith(gap)
    assert (second.state, second.triggers["stop_loss_breached"]["value"]) == ("MANDATORY_EXIT", BELOW)
    assert second.reasons[0] == told(at, "5m")
