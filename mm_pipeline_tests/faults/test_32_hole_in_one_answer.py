"""Row 32: a stretch of candles that one answer lacks, there later. Real HTTP through ccxt, and the whole job."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from mm_pipeline.adapters.candles.candle_store import CandleStore
from mm_pipeline.adapters.candles.exchange_candles import ExchangeCandles
from mm_pipeline.adapters.candles.stored import CandleUpdate
from mm_pipeline.adapters.candles.update import update_candles
from mm_pipeline.adapters.exchange.memory_circuits import MemoryCircuits
from mm_pipeline.adapters.frames.store import FrameStore
from mm_pipeline.bootstrap import Overrides
from mm_pipeline.domain.instants import to_ms
from mm_pipeline.domain.market import Market
from mm_pipeline.orchestration.runs import GridEvaluation, evaluate_now
from mm_pipeline.paper.clock import PaperClock
from mm_pipeline.paper.exchange import PaperExchange
from mm_pipeline.paper.http.bar_edits import drop_bar, revise_bar
from mm_pipeline.paper.http.faults import EditedBars
from mm_pipeline.paper.http.wire import Bar, BarEdit
from mm_pipeline.paper.markets.markets import PaperMarket, SimulatedMarket
from mm_pipeline.paper.markets.regimes import RegimeParameters, Segment, TrueRegime
from mm_pipeline_tests.candle_samples import exchange_policy
from mm_pipeline_tests.dagster_samples import DAGSTER_WARNINGS, FixedSources, Installation, quick_run

pytestmark = [pytest.mark.fault, *DAGSTER_WARNINGS]

AT = datetime(2025, 4, 2, 12, tzinfo=UTC)
NOW = AT + timedelta(minutes=1)
QUARTER = timedelta(minutes=15)
FIRST = AT - timedelta(days=20)
HOLE_BARS = 192
DAYS = 260
ETH = Market("kucoin", "ETH/USDT")


def market(**more: float) -> PaperMarket:
    calm = RegimeParameters(half_life_h=4.0, volatility_pct_per_h=0.3)
    scenario = [Segment(regime=TrueRegime.RANGE, hours=DAYS * 24.0, parameters=calm)]
    start = AT - timedelta(days=DAYS - 1)
    source = SimulatedMarket(seed=3, start=start, bars=DAYS * 96, scenario=scenario, start_price=3000.0, **more)
    return PaperMarket(market=ETH, source=source)


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


def home(folder: Path, paper: PaperExchange) -> Installation:
    access = {"attempts": 1, "deadline": "20s", "requests_per_s": 100, "burst_requests": 100}
    made = Installation(
        folder,
        FixedSources({}),
        settings={"exchange": "paper", "paper_url": paper.url, "exchange_access": access},
    )
    made.grid("eth", started_at=f"{AT - timedelta(days=9):%Y-%m-%dT00:00:00Z}")
    return made


def evaluate(installation: Installation, paper: PaperExchange, now: datetime) -> GridEvaluation:
    paper.clock.stand_at(now)
    overrides = Overrides(home=installation.home, clock_at=now.isoformat())
    with quick_run():
        (found,) = evaluate_now(installation.deployment, overrides=overrides)
    return found


def without(first: datetime, bars: int) -> BarEdit:
    start_ms = to_ms(first)

    def edit(rows: list[Bar]) -> list[Bar]:
        return [bar for bar in rows if not start_ms <= bar.open_time_ms < start_ms + bars * 900_000]

    return edit


def stored(installation: Installation, first: datetime, bars: int) -> int:
    start, end = first - timedelta(days=1), first + (bars + 96) * QUARTER
    candles = installation.store.read("candles", ETH.path_key, start=start, end=end)
    inside = pl.col("open_time").is_between(first, first + bars * QUARTER, closed="left")
    return candles.filter(inside).height


def values(found: GridEvaluation) -> dict[str, tuple[float | None, float | None]]:
    return {name: (trigger["value"], trigger["margin"]) for name, trigger in found.triggers.items()}


def test_hole_in_the_first_load_is_asked_for_again_and_blinds_until_then(paper: PaperExchange, tmp_path: Path) -> None:
    old = home(tmp_path / "old", paper)
    hole = paper.faults.add(EditedBars(edit=without(FIRST, HOLE_BARS)), path_contains="market/candles")
    first = evaluate(old, paper, NOW)
    paper.faults.remove(hole)

    second = evaluate(old, paper, NOW + QUARTER)
    fresh = evaluate(home(tmp_path / "fresh", paper), paper, NOW + QUARTER)

    assert first.state == "UNKNOWN"
    assert any(f"{HOLE_BARS} bars of kucoin:ETH/USDT from {FIRST:%Y-%m-%d %H:%M}" in text for text in first.reasons)
    assert stored(old, FIRST, HOLE_BARS) == HOLE_BARS
    assert (second.state, values(second)) == (fresh.state, values(fresh))
    assert second.state == "NORMAL"


class Shelf:
    """Stored candles of one home, brought up to date over HTTP."""

    def __init__(self, folder: Path, paper: PaperExchange) -> None:
        self.shelf = CandleStore(FrameStore(str(folder)))
        self.paper = paper

    def tick(self, now: datetime) -> CandleUpdate:
        """One update of the last 60 days, its candles kept."""
        self.paper.clock.stand_at(now)
        self.paper.calls.clear()
        source = ExchangeCandles(
            "kucoin",
            policy=exchange_policy(),
            clock=self.paper.clock,
            circuits=MemoryCircuits(),
            base_url=self.paper.base_url("kucoin"),
        )
        span = self.span(now)
        known = self.shelf.load(ETH, **span)
        update = update_candles(source, known, **span, now_ms=to_ms(now), policy=exchange_policy())
        self.shelf.save(update.after, **span)
        assert update.problem is None
        return update

    def bars(self, now: datetime) -> pl.DataFrame:
        return self.shelf.bars(ETH, **self.span(now)).bars

    def span(self, now: datetime) -> dict[str, int]:
        return {"start_ms": to_ms(AT - timedelta(days=60)), "end_ms": to_ms(now) // 900_000 * 900_000}

    @property
    def requests(self) -> int:
        return self.paper.calls.count("market/candles")


BEGINS = AT - timedelta(days=60)
HOLES = {
    "inside": (FIRST, HOLE_BARS),
    "at the beginning, like a market that was listed later": (BEGINS, 30 * 96),
    "at the border of two pages": (BEGINS + 1490 * QUARTER, 20),
    "a whole page": (BEGINS + 1500 * QUARTER, 1500),
    "one bar": (FIRST, 1),
}


@pytest.mark.parametrize("place", HOLES)
def test_old_home_gets_what_the_first_answer_lacked(paper: PaperExchange, tmp_path: Path, place: str) -> None:
    old, fresh = Shelf(tmp_path / "old", paper), Shelf(tmp_path / "fresh", paper)
    hole = paper.faults.add(EditedBars(edit=without(*HOLES[place])), path_contains="market/candles")
    old.tick(NOW)
    paper.faults.remove(hole)

    second = old.tick(NOW + QUARTER)
    fresh.tick(NOW + QUARTER)

    assert old.bars(NOW + QUARTER).equals(fresh.bars(NOW + QUARTER))
    assert second.after.gaps_ms.size == 0


@pytest.mark.parametrize("place", HOLES)
def test_hole_that_stays_is_asked_for_once_more_and_then_counts_as_quiet(
    paper: PaperExchange, tmp_path: Path, place: str
) -> None:
    home = Shelf(tmp_path, paper)
    paper.faults.add(EditedBars(edit=without(*HOLES[place])), path_contains="market/candles")
    requests = []
    for quarter in range(3):
        home.tick(NOW + quarter * QUARTER)
        requests.append(home.requests)

    assert requests[0] < requests[0] + requests[1] <= 2 * requests[0] + 2
    assert requests[2] == 1


def test_second_answer_too_soon_confirms_nothing(paper: PaperExchange, tmp_path: Path) -> None:
    home = Shelf(tmp_path, paper)
    paper.faults.add(EditedBars(edit=without(FIRST, HOLE_BARS)), path_contains="market/candles")

    gaps = [home.tick(NOW + timedelta(minutes=minutes)).after.gaps_ms.size for minutes in (0, 4, 9, 11)]

    assert gaps == [HOLE_BARS, HOLE_BARS, HOLE_BARS, 0]


def test_gap_of_an_earlier_version_is_asked_for_once_more(paper: PaperExchange, tmp_path: Path) -> None:
    """Its home has candles and nothing about missing bars: the answer that lacked them is of an earlier run."""
    home = Shelf(tmp_path, paper)
    hole = paper.faults.add(EditedBars(edit=without(FIRST, HOLE_BARS)), path_contains="market/candles")
    home.tick(NOW)
    shutil.rmtree(tmp_path / "missing_bars")
    stays = home.tick(NOW + timedelta(minutes=1))
    shutil.rmtree(tmp_path / "missing_bars")
    paper.faults.remove(hole)
    comes = home.tick(NOW + timedelta(minutes=2))

    assert (stays.after.gaps_ms.size, len(comes.after.candles)) == (0, 60 * 96)


def test_thin_market_is_asked_twice_and_then_for_one_page_a_tick(tmp_path: Path) -> None:
    """A tenth of its bars has no trades: hundreds of gaps, asked for together."""
    with PaperExchange(markets=[market(quiet_share=0.1)], clock=PaperClock.standing(NOW)) as paper:
        home = Shelf(tmp_path, paper)
        gaps, requests = [], []
        for quarter in range(4):
            gaps.append(home.tick(NOW + quarter * QUARTER).after.gaps_ms.size)
            requests.append(home.requests)

    assert gaps[0] > 500
    assert gaps[1:] == [0, 0, 0]
    assert requests[1] <= 2 * requests[0] + 2
    assert max(requests[2:]) <= 2


def test_clock_that_was_ahead_confirms_nothing(paper: PaperExchange, tmp_path: Path) -> None:
    home = Shelf(tmp_path, paper)
    paper.faults.add(EditedBars(edit=without(FIRST, HOLE_BARS)), path_contains="market/candles")
    home.tick(NOW + timedelta(hours=6))

    gaps = [home.tick(NOW + timedelta(minutes=minutes)).after.gaps_ms.size for minutes in (0, 5, 12)]

    assert gaps == [HOLE_BARS, HOLE_BARS, 0]


def test_broken_bar_that_is_not_sent_any_more_does_not_pass_for_quiet(paper: PaperExchange, tmp_path: Path) -> None:
    home = Shelf(tmp_path, paper)
    broken = paper.faults.add(EditedBars(edit=revise_bar(to_ms(FIRST), high=1.0)), path_contains="market/candles")
    home.tick(NOW)
    paper.faults.remove(broken)
    paper.faults.add(EditedBars(edit=drop_bar(to_ms(FIRST))), path_contains="market/candles")
    for quarter in (1, 2, 3):
        home.tick(NOW + quarter * QUARTER)
        assert FIRST not in home.bars(NOW + quarter * QUARTER)["open_time"].to_list()
    paper.faults.clear()

    home.tick(NOW + 4 * QUARTER)

    assert FIRST in home.bars(NOW + 4 * QUARTER)["open_time"].to_list()
