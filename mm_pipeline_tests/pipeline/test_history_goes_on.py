"""A backfill tells what it expects, makes the months that are missing or stale, and goes on where one was ended."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
import yaml
from click.testing import CliRunner, Result

from mm_pipeline.application.frames_status import CURRENT, frames_status, plan_of_month
from mm_pipeline.cli import main
from mm_pipeline.domain.instants import from_ms
from mm_pipeline.orchestration.runs import backfill, plan_backfill
from mm_pipeline_tests.dagster_samples import (
    DAGSTER_WARNINGS,
    ETH,
    FixedSources,
    Installation,
    quick_run,
    ranging_candles,
)

pytestmark = DAGSTER_WARNINGS
MONTHS = ("2025-01", "2025-02", "2025-03")
JANUARY, FEBRUARY, MARCH = (datetime(2025, month, 1, tzinfo=UTC) for month in (1, 2, 3))
AT = datetime(2025, 3, 2, 12, tzinfo=UTC)
BAR = timedelta(minutes=15)
MARKET = "kucoin_ETH-USDT"


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    with quick_run():
        yield


@pytest.fixture(scope="module")
def candles() -> pl.DataFrame:
    return ranging_candles(datetime(2024, 10, 1, tzinfo=UTC), 155)


@pytest.fixture
def fresh(tmp_path: Path, candles: pl.DataFrame) -> Installation:
    """A home without a frame."""
    made = Installation(
        tmp_path, FixedSources({ETH: candles}), settings={"risk": {"history_days": 14, "min_history_days": 7}}
    )
    made.grid("eth", started_at="2025-01-30T00:00:00Z")
    return made


@pytest.fixture
def installation(fresh: Installation) -> Installation:
    """One that has made every month."""
    fresh.backfill_once(AT, (MONTHS[0], MONTHS[-1]))
    return fresh


def months_to_make(installation: Installation, now: datetime = AT, **options: Any) -> dict[str, tuple[str, ...]]:
    given = {"overrides": installation.overrides(now), **options}
    return dict(plan_backfill(installation.deployment, JANUARY, AT, **given).months)


def make(installation: Installation, month: str, *assets: str) -> None:
    """A backfill of the month, of the whole flow or a part of it."""
    with dg.DagsterInstance.ephemeral() as instance:
        installation.run(AT, instance, months=(month, month), assets=assets or None)


def test_months_that_are_not_there_are_made(fresh: Installation) -> None:
    assert months_to_make(fresh) == {
        "2025-01": ("not made",),
        "2025-02": ("not made",),
        "2025-03": ("goes on", "not made"),
    }


def test_month_without_a_grid_is_not_called_current(fresh: Installation) -> None:
    start, end = datetime(2024, 6, 1, tzinfo=UTC), datetime(2024, 7, 1, tzinfo=UTC)
    plan = plan_backfill(fresh.deployment, start, end, overrides=fresh.overrides(AT))
    assert (plan.months, plan.current, list(plan.empty)) == ({}, (), ["2024-06"])
    assert plan.empty["2024-06"] == "No market is watched and no grid is declared from 2024-06 to 2024-06."


def test_month_that_is_made_stays_until_it_is_asked_for_or_has_gone_on(installation: Installation) -> None:
    assert months_to_make(installation) == {"2025-03": ("goes on",)}
    assert months_to_make(installation, is_again=True) == dict.fromkeys(MONTHS, ("asked for",))
    assert months_to_make(installation, datetime(2025, 4, 2, tzinfo=UTC)) == {"2025-03": ("unfinished",)}


def test_month_that_a_run_has_left_half_way_is_made_anew(fresh: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """As by a kill: what was stored of it until then is there."""

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("mm_pipeline.orchestration.assets.states.journal_decisions", end)
        with pytest.raises((dg.DagsterExecutionInterruptedError, KeyboardInterrupt)):
            make(fresh, "2025-02")
    assert FEBRUARY in fresh.store.months("grid_analysis", "eth")
    assert months_to_make(fresh)["2025-02"] == ("not made",)
    make(fresh, "2025-02")
    assert "2025-02" not in months_to_make(fresh)


@pytest.mark.parametrize("dataset", ["risk", "regime_4h", "replayed_notifications", "deliveries"])
def test_month_of_which_one_frame_is_lost_is_made_anew(installation: Installation, dataset: str) -> None:
    key = MARKET if dataset == "regime_4h" else "eth"
    installation.store.remove(dataset, key, start=FEBRUARY, end=MARCH, newest=AT)
    assert months_to_make(installation)["2025-02"] == ("not made",)


def test_month_is_stale_by_grids(installation: Installation) -> None:
    installation.grid("eth", started_at="2025-01-30T00:00:00Z", capital=2000)
    assert months_to_make(installation) == {
        "2025-01": ("grids",),
        "2025-02": ("grids",),
        "2025-03": ("goes on", "grids"),
    }
    installation.grid("eth", started_at="2025-01-30T00:00:00Z")
    installation.grid("later", started_at="2025-02-20T00:00:00Z", enabled=False)
    assert months_to_make(installation) == {"2025-02": ("not made",), "2025-03": ("goes on", "not made")}
    (installation.folder / "grids" / "later.yaml").unlink()
    assert months_to_make(installation) == {"2025-03": ("goes on",)}


def test_month_is_stale_by_candles_and_settings(installation: Installation) -> None:
    revise(installation, datetime(2025, 2, 10, tzinfo=UTC))
    assert months_to_make(installation) == {"2025-02": ("candles",), "2025-03": ("goes on",)}
    revise(installation, datetime(2025, 2, 10, tzinfo=UTC), by=-1.0)
    assert months_to_make(installation) == {"2025-03": ("goes on",)}
    installation.settings_file.write_text("grids: grids\npolicy: seed\n")
    assert months_to_make(installation)["2025-03"] == ("goes on", "settings")


def test_month_is_stale_by_candles_of_which_risk_alone_is_drawn(tmp_path: Path, candles: pl.DataFrame) -> None:
    made = Installation(tmp_path, FixedSources({ETH: candles}), settings={"risk": {"history_days": 60}})
    made.grid("eth", started_at="2025-02-25T00:00:00Z")
    make(made, "2025-02")
    with made.watch(AT) as watch:
        plan = plan_of_month(watch, FEBRUARY)
    drawn_ms = plan.drawn_from_ms[ETH]
    assert drawn_ms < plan.bars_from_ms[ETH]
    revise(made, from_ms(drawn_ms))
    with made.watch(AT) as watch:
        stale = {one.dataset for one in frames_status(watch, [FEBRUARY]) if one.changed == ("candles",)}
    assert stale == {"risk", "exit_states", "replayed_notifications"}


def revise(installation: Installation, at: datetime, *, by: float = 1.0) -> None:
    """Let one stored candle be another."""
    stored = installation.store.read("candles", MARKET, start=at, end=at + BAR)
    installation.store.upsert("candles", MARKET, stored.with_columns(volume=pl.col("volume") + by))


def test_part_of_the_flow_that_was_made_of_stale_frames_is_named(installation: Installation) -> None:
    """Its own file is of today's settings; what it was made of is not."""
    revise(installation, datetime(2025, 2, 10, tzinfo=UTC))
    make(installation, "2025-02", "grid_analysis")
    with installation.watch(AT) as watch:
        (analysis,) = [one for one in frames_status(watch, [FEBRUARY]) if one.dataset == "grid_analysis"]
    assert (analysis.state, analysis.changed) == ("stale", ("inputs",))
    make(installation, "2025-02")
    assert "2025-02" not in months_to_make(installation)


def test_part_of_the_flow_that_lacked_its_input_is_not_called_current(fresh: Installation) -> None:
    """Asked for alone, states are one UNKNOWN at the end of the month: nothing was there to judge."""
    make(fresh, "2025-02", "exit_states")
    assert fresh.store.read("exit_states", "eth", start=FEBRUARY, end=MARCH)["state"].to_list() == ["UNKNOWN"]
    with fresh.watch(AT) as watch:
        (states,) = frames_status(watch, [FEBRUARY])
    assert (states.dataset, states.state, states.changed) == ("exit_states", "stale", ("inputs",))


def test_rows_of_a_grid_that_nothing_declares_make_the_month_stale(fresh: Installation) -> None:
    fresh.grid("gone", started_at="2025-01-31T00:00:00Z")
    fresh.backfill_once(AT, (MONTHS[0], MONTHS[-1]))
    (fresh.folder / "grids" / "gone.yaml").unlink()
    assert months_to_make(fresh)["2025-02"] == ("grids",)
    make(fresh, "2025-02")
    assert "2025-02" not in months_to_make(fresh)
    assert "gone" in fresh.store.keys("exit_states"), "of January"


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("dataset", ["risk", "notifications", "deliveries"])
def test_damaged_file_makes_the_month_stale(installation: Installation, dataset: str) -> None:
    damage(installation.home / "frames" / dataset / "eth" / "2025-02.parquet")
    assert months_to_make(installation)["2025-02"] == ("files",)
    assert months_to_make(installation)["2025-02"] == ("files", "not made"), "it was moved aside"


@pytest.mark.parametrize("is_damaged", [True, False])
def test_file_that_cannot_be_read_of_a_grid_that_is_gone_makes_the_month_stale(
    fresh: Installation, *, is_damaged: bool
) -> None:
    fresh.grid("gone", started_at="2025-01-31T00:00:00Z")
    fresh.backfill_once(AT, (MONTHS[0], MONTHS[-1]))
    (fresh.folder / "grids" / "gone.yaml").unlink()
    path = fresh.home / "frames" / "exit_states" / "gone" / "2025-02.parquet"
    if is_damaged:
        damage(path)
    else:  # what an error of the disk looks like from above
        path.unlink()
        path.mkdir()
    assert "2025-02" in months_to_make(fresh)


def test_month_that_ticks_have_ended_has_the_stamps_of_a_backfill(fresh: Installation) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        for bars in (1, 0):
            fresh.tick(MARCH - bars * BAR, instance)
    with fresh.watch(AT) as watch:
        assert {one.state for one in frames_status(watch, [FEBRUARY])} == {CURRENT}
    assert months_to_make(fresh)["2025-02"] == ("not made",), "ticks replay no page"


def test_pace_is_that_of_the_last_backfill(fresh: Installation) -> None:
    installation = fresh
    first = plan_backfill(installation.deployment, JANUARY, AT, overrides=installation.overrides(AT)).estimate
    assert first.pace.source == "the settings, backfill"
    (made,) = backfill(installation.deployment, ["2025-02"], overrides=installation.overrides(AT))
    then = plan_backfill(installation.deployment, JANUARY, AT, overrides=installation.overrides(AT), is_again=True)
    assert then.estimate.pace.source.startswith("this home's last backfill, 2025-02 on ")
    assert then.estimate.pace.rows_per_s > 0
    expected = plan_backfill(
        installation.deployment, FEBRUARY, FEBRUARY + BAR, overrides=installation.overrides(AT), is_again=True
    ).estimate
    pages = installation.store.read("replayed_notifications", "eth", start=FEBRUARY, end=MARCH).height
    assert made.rows - pages == expected.rows
    stored = sum(file.stat().st_size for file in (installation.home / "frames").rglob("2025-02.parquet"))
    assert expected.bytes == pytest.approx(stored, rel=0.05), "but for files that are no dataset"


def invoke(installation: Installation, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Result:
    """The command, whose clock and candles are the installation's."""
    from mm_pipeline.orchestration import runs

    real_plan, real_backfill = plan_backfill, backfill
    chosen = installation.overrides(AT)
    monkeypatch.setattr(runs, "plan_backfill", lambda *given, **more: real_plan(*given, **more, overrides=chosen))
    monkeypatch.setattr(runs, "backfill", lambda *given, **more: real_backfill(*given, **more, overrides=chosen))
    call = ["backfill", "--from", "2025-02-01", "--to", "2025-03-02", "--settings", str(installation.settings_file)]
    return CliRunner().invoke(main, [*call, *arguments])


def test_command_goes_on_and_tells_what_it_expects_and_what_was_not_compared(
    fresh: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation = fresh
    done = invoke(installation, monkeypatch)
    assert done.exit_code == 0, done.output
    assert max(len(line) for line in done.output.splitlines()) <= 80
    assert "2 months to make, 2025-02 to 2025-03" in done.stdout
    assert "2025-02 made, " in done.stderr
    assert "(2 of 2 months)" in done.stderr
    assert "hours not compared: 2025-02 kucoin:ETH/USDT: its candles come from no" in done.stdout

    again = yaml.safe_load(invoke(installation, monkeypatch, "--json").stdout)
    assert (again["months"], again["current"], again["why"]) == (["2025-03"], ["2025-02"], {"2025-03": ["goes on"]})
    assert again["expected"]["pace"]["source"].startswith("this home's last backfill")
    assert again["rows"] > 0
    assert again["hours_compared"] == 0
