"""Live runs and backfills over candles in memory: isolation, UNKNOWN with its reason, and what is journalled."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
import yaml

from mm_pipeline.adapters.journal import Evaluation
from mm_pipeline.application.opening.candle_sources import ExchangeSources
from mm_pipeline.application.plan import WatchedGrid
from mm_pipeline.contracts import states as contracts
from mm_pipeline.contracts.contract import Contract
from mm_pipeline.domain.errors import ClockSkewed, ContractError, ExchangeUnavailable
from mm_pipeline.domain.evaluation_kind import EvaluationKind
from mm_pipeline.domain.market import Timeframe
from mm_pipeline.orchestration.assets import grid_analysis as grid_analysis_module
from mm_pipeline_tests.dagster_samples import (
    BTC,
    DAGSTER_WARNINGS,
    ETH,
    XRP,
    FixedSources,
    Installation,
    check_of,
    metadata_of,
    ranging_candles,
)

pytestmark = DAGSTER_WARNINGS
START = datetime(2024, 12, 20, tzinfo=UTC)
AT = datetime(2025, 3, 20, 12, tzinfo=UTC)
BAR = timedelta(minutes=15)
DOWN = ExchangeUnavailable("the exchange is away.", "Wait.")


@pytest.fixture(scope="module")
def candles() -> dict[str, pl.DataFrame]:
    return {
        "ETH": ranging_candles(START, 110, seed=3),
        "BTC": ranging_candles(START, 110, seed=4, price=90_000.0, quiet_share=0.01),
    }


@pytest.fixture
def installation(tmp_path: Path, candles: dict[str, pl.DataFrame]) -> Installation:
    made = Installation(tmp_path, FixedSources({ETH: candles["ETH"], BTC: candles["BTC"]}))
    made.grid("eth")
    made.grid("btc", symbol="BTC/USDT", lower=87_000, upper=93_000, stop_loss=84_000)
    return made


def decided(installation: Installation, grid: str) -> list[Evaluation]:
    with installation.journal() as journal:
        return journal.evaluations(grid)


def states(installation: Installation, grid: str, kind: str = "exit_states") -> pl.DataFrame:
    return installation.store.read(kind, grid, start=datetime(2025, 3, 1, tzinfo=UTC), end=AT + timedelta(days=20))


@pytest.mark.parametrize(("asked", "beside"), [("exit_states", "entry_states"), ("risk", "positions")])
def test_one_of_two_assets_that_are_made_together_can_be_asked_for_alone(
    installation: Installation, instance: dg.DagsterInstance, asked: str, beside: str
) -> None:
    months = ("2025-03", "2025-03")
    installation.run(AT, instance, months=months)
    before = {name: states(installation, "eth", name) for name in (asked, beside) if name != "entry_states"}
    result = installation.run(AT, instance, months=months, assets=[asked])
    made = {event.asset_key.to_user_string() for event in result.get_asset_materialization_events() if event.asset_key}
    checked = {(one.asset_key.to_user_string(), one.check_name) for one in result.get_asset_check_evaluations()}
    assert made == {asked}
    assert {asset for asset, _ in checked} == {asked}
    assert all(states(installation, "eth", name).equals(frame) for name, frame in before.items())


def test_grid_whose_analysis_fails_is_unknown_not_left_out(
    installation: Installation, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation.tick_once(AT)
    working = grid_analysis_module.analysis_of

    def fails_for_eth(grid: WatchedGrid, *rest: Any) -> pl.DataFrame:
        if grid.grid_id == "eth":
            raise ZeroDivisionError("a fault of the program")
        return working(grid, *rest)

    monkeypatch.setattr(grid_analysis_module, "analysis_of", fails_for_eth)
    installation.tick(AT + BAR, instance)
    newest = {grid: decided(installation, grid)[-1] for grid in ("eth", "btc")}
    assert {one.evaluated_at for one in newest.values()} == {AT + BAR}
    assert (newest["eth"].state, newest["btc"].state != "UNKNOWN") == ("UNKNOWN", True)
    assert "a fault of the program" in newest["eth"].reasons[0]


def test_picture_that_cannot_be_drawn_delays_no_state(
    installation: Installation, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> bytes:
        raise KeyError("a market without bars")

    monkeypatch.setattr("mm_pipeline.reporting.charts.state_chart_png", fails)
    installation.draws = True
    result = installation.tick(AT, instance)  # a full hour, at which every grid is drawn
    assert result.success
    assert len(decided(installation, "eth")) == 1


def test_first_tick_journals_the_newest_evaluation_alone_and_fills_the_month(installation: Installation) -> None:
    installation.tick_once(AT)
    rows = states(installation, "eth")
    assert (rows["evaluated_at"][0], rows["evaluated_at"][-1]) == (datetime(2025, 3, 1, 0, 15, tzinfo=UTC), AT)
    assert rows.height == 19 * 96 + 48
    (evaluation,) = decided(installation, "eth")
    assert (evaluation.evaluated_at, evaluation.state, evaluation.is_live) == (AT, rows["state"][-1], True)
    assert evaluation.input_hash == rows["input_hash"][-1]
    assert evaluation.state != "UNKNOWN"


def test_two_hours_of_missed_ticks_are_history_and_the_newest_is_live(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    installation.tick_once(AT)
    installation.tick(AT + 9 * BAR, instance)
    rows = decided(installation, "eth")
    assert [row.evaluated_at for row in rows] == [AT + n * BAR for n in range(10)]
    # The tick comes 1 min after its close: the evaluation before it is 16 min late, within notify.max_lateness.
    assert [row.is_live for row in rows] == [True, *[False] * 7, True, True]


def test_shorter_max_lateness_makes_history_of_what_was_live(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    installation.settings["notify"] = {"max_lateness": "10min"}
    installation.settings_file.write_text(yaml.safe_dump({"grids": "grids"} | installation.settings))
    installation.tick(AT, instance)
    installation.tick(AT + 2 * BAR, instance)
    assert [row.is_live for row in decided(installation, "eth")] == [True, False, True]


def test_gap_over_the_end_of_a_month_is_filled_by_one_run_over_both(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    last = datetime(2025, 3, 31, 23, 30, tzinfo=UTC)
    installation.tick(last, instance)
    newest = last + 4 * BAR
    tags = {"mm/evaluated_at": newest.isoformat(), "mm/live": "true"}
    tags |= {"dagster/asset_partition_range_start": "2025-03", "dagster/asset_partition_range_end": "2025-04"}
    installation.run(newest + timedelta(minutes=1), instance, tags=tags)
    assert [row.evaluated_at for row in decided(installation, "eth")] == [last + n * BAR for n in range(5)]


def test_backfill_journals_nothing_and_observes_no_grid(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    installation.run(AT, instance, months=("2025-02", "2025-03"))
    assert states(installation, "eth").height == 19 * 96 + 48
    with installation.journal() as journal:
        assert (journal.evaluations(), journal.known_grids(), journal.notices()) == ([], [], [])


def test_market_that_fails_is_unknown_with_its_reason_and_the_others_go_on(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    installation.grid("xrp", symbol="XRP/USDT", lower=2, upper=3, stop_loss=1)
    result = installation.tick(AT, instance)
    (xrp,), (eth,) = decided(installation, "xrp"), decided(installation, "eth")
    assert (xrp.state, eth.state in contracts.STATES, eth.state != "UNKNOWN") == ("UNKNOWN", True, True)
    assert "no candles of kucoin:XRP/USDT" in xrp.reasons[0]
    check = check_of(result, "candles", "candles_fresh")
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert set(check.metadata) == {str(XRP)}
    with installation.journal() as journal:
        (notice,) = journal.notices(str(XRP))
        assert (notice.code, notice.tick_at) == ("market_not_found", AT)
    assert str(XRP) in metadata_of(result, "candles")["markets"]


def test_failed_fetch_is_told_but_not_unknown_until_the_bars_are_too_old(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    installation.tick_once(AT)
    installation.sources.problems = {ETH: DOWN}
    installation.tick(AT + BAR, instance)
    installation.tick(AT + 3 * BAR, instance)
    rows = {row.evaluated_at: row for row in decided(installation, "eth")}
    assert rows[AT + BAR].state == rows[AT].state
    assert rows[AT + BAR].reasons[0] == str(DOWN)
    assert rows[AT + 3 * BAR].state == "UNKNOWN"
    assert "newest bar closed 45 min ago" in " ".join(rows[AT + 3 * BAR].reasons)
    assert decided(installation, "btc")[-1].state != "UNKNOWN"


def test_skewed_clock_blinds_the_market_at_once_and_stays_so_when_computed_again(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    installation.tick(AT - BAR, instance)
    installation.sources.problems = {ETH: ClockSkewed("the clocks differ by 300 s.", "Set the clock.")}
    installation.tick(AT, instance)
    installation.sources.problems = {}
    installation.tick(AT + BAR, instance)
    by_time = {row.evaluated_at: row.state for row in decided(installation, "eth")}
    assert by_time[AT] == "UNKNOWN"
    assert "UNKNOWN" not in (by_time[AT - BAR], by_time[AT + BAR])
    again = states(installation, "eth").filter(pl.col("evaluated_at") == AT).row(0, named=True)
    assert (again["state"], again["reasons"][0]) == ("UNKNOWN", "the clocks differ by 300 s. Set the clock.")
    assert again["last_known_state"] == by_time[AT - BAR]


@pytest.mark.parametrize("stage", ["regime_metrics", "regime"])
def test_broken_contract_of_one_market_leaves_it_unknown_and_the_others_judged(
    installation: Installation, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    check = Contract.check

    def breaks_for_btc(self: Contract, frame: pl.DataFrame) -> None:
        is_btc = "close" in frame.columns and frame.height and frame["close"][-1] > 10_000
        last = frame["verdict"].len() if "verdict" in frame.columns else 0
        if self.name == f"{stage} 1h" and (is_btc or (stage == "regime" and last and breaks_for_btc.calls == 0)):
            breaks_for_btc.calls += 1
            raise ContractError(f"{self.name} breaks its contract: made to.", "")
        check(self, frame)

    breaks_for_btc.calls = 0  # type: ignore[attr-defined]
    monkeypatch.setattr(Contract, "check", breaks_for_btc)
    result = installation.tick(AT, instance)
    (btc,), (eth,) = decided(installation, "btc"), decided(installation, "eth")
    assert btc.state == "UNKNOWN"
    assert "breaks its contract: made to" in " ".join(btc.reasons)
    assert eth.state != "UNKNOWN"
    evaluation = check_of(result, stage, "contract")
    assert (evaluation.passed, evaluation.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert set(evaluation.metadata) == {str(BTC)}


def test_metrics_that_do_not_reach_the_bars_make_a_backfill_unknown_not_normal(
    installation: Installation, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = Contract.check

    def breaks(self: Contract, frame: pl.DataFrame) -> None:
        if self.name == f"regime_metrics {Timeframe.H1}":
            raise ContractError("made to.", "")
        check(self, frame)

    monkeypatch.setattr(Contract, "check", breaks)
    installation.run(AT, instance, months=("2025-03", "2025-03"))
    rows = states(installation, "eth")
    assert set(rows["state"]) == {"UNKNOWN"}
    assert "do not reach this evaluation" in rows["reasons"][-1][0]


def test_grid_whose_file_cannot_be_read_is_unknown_with_file_and_mend_and_keeps_its_last_state(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    installation.tick_once(AT)
    known = decided(installation, "eth")[-1].state
    installation.grid("eth", lower="no number")
    (installation.folder / "grids" / "new.yaml").write_text("id: new\nlower: [\n")
    installation.tick(AT + BAR, instance)
    installation.tick(AT + 2 * BAR, instance)
    eth, new = decided(installation, "eth"), decided(installation, "new")
    assert [row.state for row in eth[1:]] == ["UNKNOWN", "UNKNOWN"]
    assert "eth.yaml: lower" in eth[-1].reasons[0]
    assert [row.state for row in new] == ["UNKNOWN", "UNKNOWN"]
    assert "new.yaml" in new[0].reasons[0]
    assert decided(installation, "btc")[-1].state != "UNKNOWN"
    rows = states(installation, "eth").tail(2)
    assert rows["last_known_state"].to_list() == [known, known]
    installation.grid("eth")
    installation.grid("new", enabled=False)
    installation.tick(AT + 3 * BAR, instance)
    assert decided(installation, "eth")[-1].state == known
    assert decided(installation, "new")[-1].kind is EvaluationKind.ENTRY


def test_standing_mandatory_exit_is_carried_from_the_journal_where_no_row_before_knows_it(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    installation.grid("eth", stop_loss=2850, lower=3500, upper=3600)
    installation.tick(AT, instance)
    assert decided(installation, "eth")[-1].state == "MANDATORY_EXIT"
    installation.sources.candles[ETH] = installation.sources.candles[ETH].filter(pl.col("open_time") < AT)
    late = AT + timedelta(days=9)
    installation.sources.problems = {ETH: DOWN}
    installation.tick(late, instance)
    newest = states(installation, "eth").tail(1).row(0, named=True)
    assert (newest["state"], newest["last_known_state"]) == ("UNKNOWN", "MANDATORY_EXIT")


def test_changed_file_counts_from_the_next_evaluation_and_never_rewrites_what_was_decided(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    installation.tick_once(AT)
    before = states(installation, "eth")
    installation.grid("eth", lower=2000, upper=2100, stop_loss=1900)
    installation.run(AT + timedelta(minutes=7), instance, month="2025-03")
    assert len(decided(installation, "eth")) == 1
    installation.tick(AT + BAR, instance)
    after = states(installation, "eth")
    old, new = decided(installation, "eth")
    assert (old.grid_version, new.grid_version) == (before["grid_version"][-1], after["grid_version"][-1])
    assert old.grid_version != new.grid_version
    assert after.head(before.height).equals(before)
    assert after["position_health"][-1] == "ABOVE_GRID"


def test_enabled_grid_without_its_file_is_unknown_until_it_comes_back(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    installation.tick_once(AT)
    known = decided(installation, "eth")[-1].state
    (installation.folder / "grids" / "eth.yaml").unlink()
    installation.tick(AT + BAR, instance)
    installation.tick(AT + 2 * BAR, instance)
    installation.grid("eth")
    installation.tick(AT + 4 * BAR, instance)
    rows = {row.evaluated_at: row.state for row in decided(installation, "eth")}
    assert list(rows.values()) == [known, "UNKNOWN", "UNKNOWN", "UNKNOWN", known]
    shown = states(installation, "eth").tail(5)
    assert shown["last_known_state"].to_list() == [None, known, known, known, None]
    assert shown["price"].null_count() == 0


def test_disabled_grid_ends_with_its_file(installation: Installation, instance: dg.DagsterInstance) -> None:
    installation.grid("eth", enabled=False)
    installation.tick_once(AT)
    (installation.folder / "grids" / "eth.yaml").unlink()
    installation.tick(AT + BAR, instance)
    assert [row.evaluated_at for row in decided(installation, "eth")] == [AT]


@pytest.mark.parametrize("name", ["main.yaml", "My ETH grid.yaml"])
def test_unreadable_file_that_does_not_tell_its_grid_ends_no_grid(
    installation: Installation, instance: dg.DagsterInstance, name: str
) -> None:
    file = (installation.folder / "grids" / "eth.yaml").rename(installation.folder / "grids" / name)
    installation.tick_once(AT)
    known, declared = decided(installation, "eth")[-1].state, file.read_text()
    file.write_text(declared + "upper: [\n")
    installation.tick(AT + BAR, instance)
    blind = decided(installation, "eth")[-1]
    assert (blind.state, blind.evaluated_at) == ("UNKNOWN", AT + BAR)
    assert name in blind.reasons[0]
    assert states(installation, "eth")["last_known_state"][-1] == known
    assert decided(installation, "btc")[-1].state != "UNKNOWN"
    file.write_text(declared)
    installation.tick(AT + 2 * BAR, instance)
    assert decided(installation, "eth")[-1].state == known


def test_grid_without_its_file_stays_so_beside_an_unreadable_file(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    installation.tick_once(AT)
    (installation.folder / "grids" / "eth.yaml").unlink()
    installation.tick(AT + BAR, instance)
    (installation.folder / "grids" / "other.yaml").write_text("lower: [\n")
    installation.tick(AT + 2 * BAR, instance)
    newest = decided(installation, "eth")[-1]
    assert (newest.state, newest.evaluated_at) == ("UNKNOWN", AT + 2 * BAR)
    assert "no longer watched" in newest.reasons[0]


def test_lost_grid_folder_ends_no_grid_but_blinds_all(installation: Installation, instance: dg.DagsterInstance) -> None:
    installation.tick_once(AT)
    (installation.folder / "grids").rename(installation.folder / "elsewhere")
    installation.tick(AT + BAR, instance)
    newest = [decided(installation, grid)[-1] for grid in ("eth", "btc")]
    assert [(row.state, row.evaluated_at) for row in newest] == [("UNKNOWN", AT + BAR)] * 2
    assert "grid folder cannot be read" in newest[0].reasons[0]


def test_revised_candle_gives_the_evaluations_after_it_a_second_row(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    installation.tick(AT - BAR, instance)
    installation.tick(AT, instance)
    revised = pl.col("open_time") == AT - 2 * BAR
    eth = installation.sources.candles[ETH]
    installation.sources.candles[ETH] = eth.with_columns(volume=pl.when(revised).then(1.5).otherwise("volume"))
    result = installation.tick(AT + BAR, instance)
    rows = decided(installation, "eth")
    assert [row.evaluated_at for row in rows] == [AT - BAR, AT - BAR, AT, AT, AT + BAR]
    assert len({row.input_hash for row in rows}) == 5
    assert len(decided(installation, "btc")) == 3
    assert metadata_of(result, "candles")["revised_bars"] == 1


def test_the_same_tick_twice_journals_once(installation: Installation, instance: dg.DagsterInstance) -> None:
    installation.tick_once(AT)
    installation.tick(AT, instance)
    assert len(decided(installation, "eth")) == 1


def test_look_back_months_are_reported_as_materialized_without_extending_the_run(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    installation.tick(AT, instance)
    assert instance.get_materialized_partitions(dg.AssetKey("candles")) == {
        "2024-12",
        "2025-01",
        "2025-02",
        "2025-03",
    }
    assert instance.get_materialized_partitions(dg.AssetKey("regime")) == {"2025-03"}


def test_disabled_grid_gets_an_entry_state_and_no_exit_state(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    installation.grid("eth", enabled=False)
    result = installation.tick(AT, instance)
    assert installation.store.keys("exit_states") == ["btc"]
    assert installation.store.keys("entry_states") == ["eth"]
    assert decided(installation, "eth")[-1].kind is EvaluationKind.ENTRY
    assert metadata_of(result, "entry_states")["journalled_live"] == 1


def test_metadata_tells_states_and_what_fired(installation: Installation, instance: dg.DagsterInstance) -> None:
    installation.grid("eth", lower=3500, upper=3600)
    result = installation.tick(AT, instance)
    shown = metadata_of(result, "exit_states")
    assert "MANDATORY_EXIT" in shown["grids"]
    assert "closes_outside" in shown["grids"]
    assert shown["rows_per_state"]["MANDATORY_EXIT"] > 0
    assert metadata_of(result, "candles")["requests_made"] == 2


def test_state_that_has_just_changed_is_drawn(installation: Installation, instance: dg.DagsterInstance) -> None:
    installation.draws = True
    installation.tick(AT - timedelta(hours=1), instance)
    crash = pl.when(pl.col("open_time") == AT - BAR).then(2700.0)
    eth = installation.sources.candles[ETH]
    installation.sources.candles[ETH] = eth.with_columns(low=crash.otherwise("low"), close=crash.otherwise("close"))
    result = installation.tick(AT, instance)
    assert "stop_loss_breached" in decided(installation, "eth")[-1].fired
    assert metadata_of(result, "exit_states")["chart eth"].startswith("![eth](data:image/png;base64,iVBOR")


def test_grid_that_moves_to_another_market_is_judged_there_from_then_on(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    installation.tick_once(AT)
    installation.grid("eth", symbol="BTC/USDT", lower=87_000, upper=93_000, stop_loss=84_000)
    installation.tick(AT + BAR, instance)
    prices = states(installation, "eth")["price"]
    assert prices[-2] < 10_000 < prices[-1]
    assert decided(installation, "eth")[-1].state != "UNKNOWN"


def test_empty_grid_folder_is_journalled_as_a_problem_of_the_watch(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    empty = Installation(tmp_path, FixedSources({}))
    empty.tick(AT, instance)
    with empty.journal() as journal:
        (notice,) = journal.notices("pipeline")
    assert (notice.code, notice.tick_at) == ("grid_file", AT)
    assert "holds no *.yaml file" in notice.message


def test_exchange_that_does_not_exist_blinds_its_grid_alone(
    installation: Installation, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation.grid("typo", exchange="kukoin")
    opened = installation.sources.open

    def with_real_ones(exchanges: Any, *, settings: Any, clock: Any, circuits: Any) -> Any:
        given = dict(opened(exchanges, settings=settings, clock=clock, circuits=circuits))
        made = ExchangeSources().open(["kukoin"], settings=settings, clock=clock, circuits=circuits)
        return given | dict(made)

    monkeypatch.setattr(installation.sources, "open", with_real_ones)
    installation.tick(AT, instance)
    (typo,), (eth,) = decided(installation, "typo"), decided(installation, "eth")
    assert typo.state == "UNKNOWN"
    assert "ccxt knows no exchange 'kukoin'" in typo.reasons[0]
    assert eth.state != "UNKNOWN"


def test_quarantined_candle_of_the_last_day_is_unknown_until_it_is_mended(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    good = installation.sources.candles[ETH]
    is_bad = pl.col("open_time") == AT - 8 * BAR
    installation.sources.candles[ETH] = good.with_columns(high=pl.when(is_bad).then(1.0).otherwise("high"))
    result = installation.tick(AT, instance)
    assert metadata_of(result, "candles")["quarantined_rows"] == 1
    assert "is quarantined" in " ".join(decided(installation, "eth")[-1].reasons)
    installation.sources.candles[ETH] = good
    installation.tick(AT + BAR, instance)
    newest = decided(installation, "eth")[-1]
    assert (newest.evaluated_at, newest.state == "UNKNOWN") == (AT + BAR, False)
