"""``replay_parity``: what was decided is found again, a tampered state is reported, and a revision explains itself."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from mm_pipeline.adapters.journal import Evaluation
from mm_pipeline.application.parity import Parity, compare
from mm_pipeline.domain.evaluation_kind import EvaluationKind
from mm_pipeline.orchestration.jobs import HOURLY_JOB
from mm_pipeline_tests.dagster_samples import (
    DAGSTER_WARNINGS,
    ETH,
    FixedSources,
    Installation,
    check_of,
    ranging_candles,
)

pytestmark = DAGSTER_WARNINGS
AT = datetime(2025, 3, 20, 12, tzinfo=UTC)
BAR = timedelta(minutes=15)


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    """After two ticks."""
    made = Installation(tmp_path, FixedSources({ETH: ranging_candles(datetime(2024, 12, 20, tzinfo=UTC), 95)}))
    made.grid("eth")
    made.grid("flat", enabled=False)
    made.tick_once(AT - BAR, AT)
    return made


def parity(installation: Installation, instance: dg.DagsterInstance) -> Any:
    result = installation.run(AT + timedelta(minutes=5), instance, job=HOURLY_JOB, month="2025-03")
    return check_of(result, "exit_states", "replay_parity")


def shown(check: Any) -> dict[str, Any]:
    return {name: value.value for name, value in check.metadata.items()}


def tamper(installation: Installation, **columns: Any) -> None:
    """Change the newest stored exit state."""
    start, end = datetime(2025, 3, 1, tzinfo=UTC), datetime(2025, 4, 1, tzinfo=UTC)
    rows = installation.store.read("exit_states", "eth", start=start, end=end)
    is_newest = pl.col("evaluated_at") == AT
    changes = [pl.when(is_newest).then(pl.lit(value)).otherwise(name).alias(name) for name, value in columns.items()]
    installation.store.write("exit_states", "eth", rows.with_columns(changes), start=start, end=end)


def test_untouched_states_agree(installation: Installation, instance: dg.DagsterInstance) -> None:
    check = parity(installation, instance)
    assert check.passed
    assert (shown(check)["equal"], shown(check)["different"], shown(check)["revised"]) == (4, 0, 0)


def test_tampered_state_is_reported_as_an_error_with_both_states(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    tamper(installation, state="MANDATORY_EXIT")
    check = parity(installation, instance)
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert shown(check)["different"] == 1
    assert "MANDATORY_EXIT" in shown(check)["differences"]
    assert "eth" in shown(check)["differences"]


def test_other_input_explains_another_state(installation: Installation, instance: dg.DagsterInstance) -> None:
    tamper(installation, state="MANDATORY_EXIT", input_hash="0123456789abcdef")
    check = parity(installation, instance)
    assert check.passed
    assert (shown(check)["equal"], shown(check)["revised"]) == (3, 1)


def test_lost_frames_are_missing_and_warned_of(installation: Installation, instance: dg.DagsterInstance) -> None:
    (installation.home / "frames" / "exit_states" / "eth" / "2025-03.parquet").unlink()
    check = parity(installation, instance)
    assert (check.passed, check.severity, shown(check)["missing"]) == (False, dg.AssetCheckSeverity.WARN, 2)


def test_other_settings_are_not_compared(installation: Installation, instance: dg.DagsterInstance) -> None:
    changed = Installation(installation.folder, installation.sources, settings={"data": {"max_age": "40min"}})
    tamper(changed, state="MANDATORY_EXIT")
    check = parity(changed, instance)
    assert (check.passed, shown(check)["incomparable"]) == (True, 4)


def test_disagreeing_hours_of_the_exchange_are_listed(installation: Installation, instance: dg.DagsterInstance) -> None:
    hours = (
        installation.sources.candles[ETH]
        .group_by_dynamic("open_time", every="1h")
        .agg(
            pl.col("open").first(),
            pl.col("high").max(),
            pl.col("low").min(),
            pl.col("close").last(),
            pl.col("volume").sum(),
        )
    )
    wrong = pl.col("open_time") == AT - timedelta(hours=5)
    installation.sources.own_hours[ETH] = hours.with_columns(high=pl.when(wrong).then(9999.0).otherwise("high"))
    result = installation.run(AT + timedelta(minutes=5), instance, job=HOURLY_JOB, month="2025-03")
    check = check_of(result, "candles", "hourly_reconciliation")
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert shown(check)["differences"] == 1
    assert "high" in shown(check)["hours"]
    assert "2025-03-20 07:00" in shown(check)["hours"]


DECIDED = Evaluation(
    grid="eth",
    evaluated_at=AT,
    kind=EvaluationKind.EXIT,
    input_hash="a",
    state="WARNING",
    price=1.0,
    fired=("transition_likely",),
    triggers={},
    reasons=(),
    grid_version="v",
    settings_hash="s",
    code_version="c",
    is_live=True,
    recorded_at=AT,
)
ROW = {
    "evaluated_at": AT,
    "state": "WARNING",
    "grid_version": "v",
    "input_hash": "a",
    "transition_likely": {"fired": True},
}


def compared(decided: Evaluation, row: dict[str, Any]) -> Parity:
    frames = {("eth", EvaluationKind.EXIT): pl.DataFrame([row])}
    return compare([decided], frames, settings_hash="s", code_version="c")


def test_same_state_by_another_trigger_is_a_difference() -> None:
    assert compared(DECIDED, ROW).equal == 1
    assert len(compared(DECIDED, ROW | {"transition_likely": {"fired": False}}).differences) == 1


@pytest.mark.parametrize(
    "changes",
    [{"grid_version": "w"}, {"settings_hash": "t"}, {"code_version": "d"}],
    ids=lambda change: next(iter(change)),
)
def test_other_version_settings_or_code_is_incomparable(changes: dict[str, str]) -> None:
    assert compared(replace(DECIDED, state="NORMAL", **changes), ROW).incomparable == 1
