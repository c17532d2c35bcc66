"""The whole flow through ccxt over HTTP: markets of two exchanges on the paper exchange, judged by real runs."""

import socket
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mm_pipeline.adapters.candles.hourly_candles import hourly_candles
from mm_pipeline.bootstrap import Overrides
from mm_pipeline.domain.errors import ConfigError
from mm_pipeline.domain.evaluation_kind import EvaluationKind
from mm_pipeline.domain.instants import to_ms
from mm_pipeline.domain.market import Market, Timeframe
from mm_pipeline.orchestration.checks import RECONCILIATION
from mm_pipeline.orchestration.code_location import build_definitions
from mm_pipeline.orchestration.jobs import HOURLY_JOB
from mm_pipeline.orchestration.runs import backfill, dagster_instance, evaluate_now, plan_backfill
from mm_pipeline.paper.clock import PaperClock
from mm_pipeline.paper.exchange import PaperExchange
from mm_pipeline.paper.http.faults import HtmlPage
from mm_pipeline.paper.markets.markets import PaperMarket, SimulatedMarket
from mm_pipeline.paper.markets.regimes import RegimeParameters, Segment, TrueRegime
from mm_pipeline.settings import load_settings
from mm_pipeline_tests.dagster_samples import DAGSTER_WARNINGS, ETH, QUIET, FixedSources, Installation, check_of

pytestmark = DAGSTER_WARNINGS
START = datetime(2025, 1, 1, tzinfo=UTC)
AT = datetime(2025, 3, 20, 12, tzinfo=UTC)
NOW = AT + timedelta(seconds=40)
CALM = RegimeParameters(half_life_h=4.0, volatility_pct_per_h=0.3)
CRASH = RegimeParameters(volatility_pct_per_h=0.9, drift_pct_per_h=-0.9)


def market(exchange: str, symbol: str, *, seed: int, price: float, ends_badly: bool = False) -> PaperMarket:
    hours = (AT - START).total_seconds() / 3600
    calm = Segment(regime=TrueRegime.RANGE, hours=hours - 20 if ends_badly else hours + 100, parameters=CALM)
    scenario = [calm, Segment(regime=TrueRegime.TREND, hours=100, parameters=CRASH)] if ends_badly else [calm]
    source = SimulatedMarket(seed=seed, start=START, bars=96 * 90, scenario=scenario, start_price=price)
    return PaperMarket(market=Market(exchange, symbol), source=source)


@pytest.fixture(scope="module")
def paper() -> Iterator[PaperExchange]:
    markets = [
        market("kucoin", "ETH/USDT", seed=3, price=3000.0),
        market("kucoin", "SOL/USDT", seed=5, price=150.0, ends_badly=True),
        market("binance", "ETH/USDT", seed=7, price=3000.0),
    ]
    with PaperExchange(markets=markets, clock=PaperClock.standing(NOW)) as exchange:
        yield exchange


@pytest.fixture
def installation(paper: PaperExchange, tmp_path: Path) -> Installation:
    paper.clock.stand_at(NOW)
    paper.faults.clear()
    made = Installation(
        tmp_path,
        FixedSources({}),
        settings={
            "exchange": "paper",
            "paper_url": paper.url,
            "exchange_access": {"attempts": 1, "deadline": "20s", "backoff_initial": "0s", "backoff_jitter": "0s"},
        },
    )
    made.grid("calm")
    made.grid("far", exchange="binance", lower=2000, upper=2400, stop_loss=1900)
    made.grid("crashed", symbol="SOL/USDT", lower=140, upper=160, stop_loss=130)
    made.grid("waiting", enabled=False)
    return made


def overrides(installation: Installation, now: datetime = NOW) -> Overrides:
    return Overrides(home=installation.home, clock_at=now.isoformat())


def test_grids_on_two_exchanges_are_judged_in_one_run(installation: Installation) -> None:
    found = {each.grid_id: each for each in evaluate_now(installation.deployment, overrides=overrides(installation))}
    assert {grid: each.state for grid, each in found.items()} == {
        "calm": "NORMAL",
        "crashed": "MANDATORY_EXIT",
        "far": "MANDATORY_EXIT",
        "waiting": found["waiting"].state,
    }
    assert found["waiting"].kind is EvaluationKind.ENTRY
    assert "stop_loss_breached" in found["crashed"].fired
    assert found["far"].fired[0] == "closes_outside"
    assert {each.evaluated_at for each in found.values()} == {AT}
    assert found["crashed"].triggers["stop_loss_breached"]["margin"] > 0
    assert found["calm"].grid is not None
    assert found["crashed"].since < AT


def test_tick_asks_for_one_page_a_market(installation: Installation, paper: PaperExchange) -> None:
    """The first tick after the first load also asks again for what lies before the oldest candle, once."""
    asked = []
    for later in (NOW + n * timedelta(minutes=15) for n in range(4)):
        paper.clock.stand_at(later)
        paper.calls.clear()
        evaluate_now(installation.deployment, overrides=overrides(installation, later))
        asked.append(sum("candles" in call.target or "klines" in call.target for call in paper.calls))
    assert asked[1] < asked[0]
    assert asked[2:] == [3, 3]
    with installation.journal() as journal:
        last = journal.last_evaluation("calm")
        assert last is not None
        assert (last.evaluated_at, last.is_live) == (AT + timedelta(minutes=45), True)


def test_as_of_a_past_moment_shows_what_was_true_then_and_leaves_no_trace(installation: Installation) -> None:
    then = AT - timedelta(days=1)
    found = {
        each.grid_id: each for each in evaluate_now(installation.deployment, then, overrides=overrides(installation))
    }
    assert found["crashed"].state == "NORMAL"
    assert {each.evaluated_at for each in found.values()} == {then}
    with installation.journal() as journal:
        assert (journal.evaluations(), journal.known_grids()) == ([], [])
    assert not installation.store.keys("exit_states")


def test_future_moment_is_refused(installation: Installation) -> None:
    with pytest.raises(ConfigError, match="future"):
        evaluate_now(installation.deployment, AT + timedelta(hours=1), overrides=overrides(installation))


def test_backfill_materializes_the_months_it_touches_and_tells_how_far_it_is(installation: Installation) -> None:
    told: list[tuple[str, int, int]] = []
    chosen, span = overrides(installation), (datetime(2025, 3, 5, tzinfo=UTC), datetime(2025, 3, 10, tzinfo=UTC))
    plan = plan_backfill(installation.deployment, *span, overrides=chosen)
    assert plan.months == {"2025-03": ("goes on", "not made")}
    (made,) = backfill(installation.deployment, list(plan.months), lambda *step: told.append(step), overrides=chosen)
    assert made.month == "2025-03"
    assert made.hours_compared > 1000, "of three markets"
    assert (made.hours_differing, made.not_compared) == ((), ())
    assert told[-1][1:] == (11, 11)
    assert {name.removeprefix("2025-03 (0 of 1 months): ") for name, _, _ in told} == {
        *("candles", "regime_metrics", "regime", "grid_analysis", "positions_and_risk", "exit_and_entry_states"),
        *("notifications", "replayed_notifications", "deliveries", "archive", "candles_hours_agree"),
    }
    assert installation.store.keys("exit_states") == ["calm", "crashed", "far"]


def test_backfill_of_nothing_is_refused(installation: Installation) -> None:
    with pytest.raises(ConfigError, match="no month"):
        plan_backfill(
            installation.deployment,
            datetime(2021, 3, 5, tzinfo=UTC),
            datetime(2021, 3, 10, tzinfo=UTC),
            overrides=overrides(installation),
        )


def test_exchange_that_answers_nonsense_blinds_its_own_grids_alone(
    installation: Installation, paper: PaperExchange
) -> None:
    paper.faults.add(HtmlPage(), path_contains="/kucoin/")
    found = {each.grid_id: each for each in evaluate_now(installation.deployment, overrides=overrides(installation))}
    assert {grid for grid, each in found.items() if each.state == "UNKNOWN"} == {"calm", "crashed", "waiting"}
    assert found["far"].state == "MANDATORY_EXIT"
    assert "kucoin" in found["calm"].reasons[0]


def test_dead_exchange_is_unknown_with_its_reason(installation: Installation) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    settings = installation.settings | {"paper_url": f"http://127.0.0.1:{port}"}
    dead = Installation(installation.folder, FixedSources({}), settings=settings)
    found = evaluate_now(dead.deployment, overrides=overrides(dead))
    assert {each.state for each in found} == {"UNKNOWN"}
    assert all(each.reasons[0] for each in found)


def test_own_hours_of_the_exchange_agree_with_those_made_of_15m_candles(installation: Installation) -> None:
    evaluate_now(installation.deployment, overrides=overrides(installation))
    later = NOW + timedelta(minutes=5)
    given = replace(overrides(installation, later), deployment=installation.deployment)
    job = build_definitions(given).resolve_job_def(HOURLY_JOB)
    with dagster_instance(installation.home) as instance:
        result = job.execute_in_process(instance=instance, partition_key="2025-03", run_config=QUIET)
    reconciled = check_of(result, "candles", RECONCILIATION)
    assert reconciled.passed, reconciled.metadata
    assert reconciled.metadata["markets"].value == 3
    assert check_of(result, "exit_states", "replay_parity").passed


def test_own_hours_come_page_by_page_where_an_exchange_gives_few_at_once(paper: PaperExchange) -> None:
    paper.clock.stand_at(NOW)
    paper.faults.clear()
    policy, end_ms = load_settings().exchange_access, to_ms(AT)
    span = {"start_ms": end_ms - 48 * Timeframe.H1.ms, "end_ms": end_ms}
    whole, paged = (
        hourly_candles(ETH, **span, policy=one, base_url=paper.base_url("kucoin"))
        for one in (policy, policy.model_copy(update={"max_page_bars": 7}))
    )
    assert whole.height == 48
    assert paged.equals(whole)
