"""``mm study verdicts``: its arithmetic against plain counting, and the command on small markets."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from mm_pipeline.adapters.config.calibration_files import load_calibration, shipped_calibration
from mm_pipeline.application.studies.verdicts import SHOWN_OF, TRUTHS, confusion_of, detection_delay
from mm_pipeline.cli import main
from mm_pipeline.cli.study.verdicts import judged_market
from mm_pipeline.domain.pipeline import MarketPolicy
from mm_pipeline.paper.markets.simulation import simulate_market
from mm_pipeline.rendering.markdown.verdicts import confusion_markdown
from mm_pipeline.settings import load_settings

START = datetime(2026, 1, 1, tzinfo=UTC)


def market(*rows: tuple[str, str | None]) -> pl.DataFrame:
    """Hours of (truth, verdict)."""
    return pl.DataFrame(
        {
            "close_time": [START + timedelta(hours=k + 1) for k in range(len(rows))],
            "truth": [truth for truth, _ in rows],
            "verdict": [verdict for _, verdict in rows],
        },
        schema={"close_time": pl.Datetime("ms", "UTC"), "truth": pl.String, "verdict": pl.String},
    )


RANGE_OK, RANGE_WEAK = ("RANGE", "RANGE_OK"), ("RANGE", "RANGE_WEAK")


def test_hours_are_counted_once_and_shared_by_truth() -> None:
    table = confusion_of([market(RANGE_OK, RANGE_OK, ("RANGE", "TREND"), ("TREND", "TREND")), market(RANGE_WEAK)])
    assert table.hours == 5
    assert table.count("RANGE", "RANGE_OK") == 2
    assert table.share("RANGE", "RANGE_WEAK") == 0.25
    assert table.base_rate("TREND") == 0.2
    assert table.recall("RANGE").value == 0.75
    assert table.precision("TREND").value == 0.5
    assert table.accuracy().value == 0.8
    assert table.recall("TRANSITION").value is None


def test_hours_without_verdict_are_left_out() -> None:
    assert confusion_of([market(("RANGE", None), RANGE_OK)]).hours == 1


def test_interval_is_wider_when_whole_weeks_go_one_way() -> None:
    """A week all right and a week all wrong tell less than the same hours mixed."""
    right, wrong = [RANGE_OK] * 168, [("RANGE", "TREND")] * 168
    apart = confusion_of([market(*(right + wrong) * 10)]).recall("RANGE")
    mixed = confusion_of([market(*[RANGE_OK, ("RANGE", "TREND")] * 1680)]).recall("RANGE")
    assert apart.value == mixed.value == 0.5
    assert apart.low is not None
    assert apart.high is not None
    assert mixed.low is not None
    assert mixed.high is not None
    assert apart.high - apart.low > 0.2
    assert mixed.high - mixed.low < 0.02


def test_delay_counts_from_the_first_hour_of_a_segment() -> None:
    rows = [
        RANGE_OK,
        ("TREND", "RANGE_OK"),
        ("TREND", "TRANSITION"),
        ("TREND", "TREND"),
        RANGE_OK,
        ("TREND", "RANGE_OK"),
    ]
    delay = detection_delay([market(*rows)], "TREND")
    assert (delay.segments, delay.missed, delay.median_h) == (2, 1, 2.0)
    assert detection_delay([market(*rows)], "RANGE").median_h == 0.0


def test_segment_that_was_cut_off_by_the_warm_up_is_not_counted() -> None:
    delay = detection_delay([market(("TREND", None), ("TREND", "RANGE_OK"), ("TREND", "TREND"))], "TREND")
    assert (delay.segments, delay.missed, delay.median_h) == (0, 0, None)


def test_truth_is_the_regime_in_which_the_hour_ended() -> None:
    settings = load_settings()
    policy = MarketPolicy(settings.metrics, settings.regime, load_calibration(shipped_calibration()), settings.risk)
    judged = judged_market(3, days=60, policy=policy)
    simulated = simulate_market(seed=3, start=START, bars=60 * 96)
    last_quarter = simulated.filter(pl.col("open_time").dt.minute() == 45)
    assert judged["truth"].to_list() == last_quarter["true_regime"].to_list()
    assert judged["close_time"][0] == START + timedelta(hours=1)


def test_command_tells_the_same_in_all_its_forms(tmp_path: Path) -> None:
    arguments = ["study", "verdicts", "--seeds", "2", "--days", "60", "--seed", "5"]
    printed = CliRunner().invoke(main, [*arguments, "--chart", str(tmp_path / "c.png")])
    data = json.loads(CliRunner().invoke(main, [*arguments, "--json"]).stdout)
    markdown = CliRunner().invoke(main, [*arguments, "--markdown"]).stdout
    assert printed.exit_code == 0
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    assert f"{data['hours']:,} hours, seeds 5 to 6, 60 days each" in printed.stdout
    assert sum(sum(entry["hours_shown_as"].values()) for entry in data["classes"].values()) == data["hours"]
    assert sum(entry["base_rate"] for entry in data["classes"].values()) == pytest.approx(1, abs=1e-3)
    recall = data["classes"]["RANGE"]["recall"]
    assert recall["low"] <= recall["value"] <= recall["high"]
    [row] = [line for line in markdown.splitlines() if line.startswith("| RANGE |")]
    said = row.split(" | ")[6]
    assert float(said.partition("%")[0]) == pytest.approx(100 * recall["value"], abs=0.06)
    assert said in printed.stdout


def test_markdown_has_a_row_for_each_truth() -> None:
    markets = [market(RANGE_OK, ("TREND", "TREND"), ("TRANSITION", "TREND"))]
    text = confusion_markdown(confusion_of(markets), {truth: detection_delay(markets, truth) for truth in TRUTHS})
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[0].removeprefix("| ") for row in rows[2:]] == list(TRUTHS)
    assert set(SHOWN_OF) == set(TRUTHS)
    assert "always saying RANGE would be right on 33.3%" in text
