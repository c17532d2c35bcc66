"""``mm kpi`` over a real journal: as table, as JSON, for a grid and for a stretch of time."""

import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from rich.console import Console

from mm_pipeline.adapters.clock import SystemClock
from mm_pipeline.cli.operator.kpi import kpi
from mm_pipeline.domain.errors import ConfigError, StorageError
from mm_pipeline.domain.kpis import KPI_SCHEMA
from mm_pipeline.domain.notifications import Notice, ResponseKind
from mm_pipeline.rendering.terminal.operator_tables import kpi_table
from mm_pipeline_tests.journal_samples import evaluation, grid
from mm_pipeline_tests.operator_samples import OperatedHome, answer, commit, decision, operated_home, send

AT = datetime(2024, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SPAN = ("--since", "2024-03-01", "--until", "2024-03-02")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OperatedHome:
    monkeypatch.setenv("MM_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MM_JOURNAL_URL", raising=False)
    made = operated_home(tmp_path)
    with made.journal() as journal:
        journal.observe_grids([grid("eth"), grid("btc", symbol="BTC/USDT")], AT)
        journal.record_evaluations(
            evaluation(bar, grid=name, state="MANDATORY_EXIT") for bar in range(96) for name in ("eth", "btc")
        )
        for name, minutes in (("eth", 4), ("btc", 40)):
            page = commit(journal, decision(Notice.MANDATORY_EXIT, AT, grid=name), decided_at=AT + MINUTE)
            send(journal, page, AT + 2 * MINUTE)
            answered_at = AT + (2 + minutes) * MINUTE
            answer(journal, ResponseKind.ACKNOWLEDGED, answered_at, grid=name, page=page)
    return made


def test_json_has_every_kpi_of_every_grid(home: OperatedHome) -> None:
    result = home.mm(kpi, *SPAN, "--json")
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert (data["since"], data["until"]) == ("2024-03-01T00:00:00Z", "2024-03-02T00:00:00Z")
    assert [row["grid"] for row in data["kpis"]] == ["btc", "eth"]
    for row, seconds, share in zip(data["kpis"], (2400.0, 240.0), (0.0, 1.0), strict=True):
        assert set(row) == set(KPI_SCHEMA)
        assert (row["notice"], row["pages"], row["acknowledge_p50_s"]) == ("MANDATORY_EXIT", 1, seconds)
        assert (row["answered_in_window_share"], row["missed"], row["actionable_share"]) == (share, 1 - share, 1.0)
        assert row["pages_per_30d"] == pytest.approx(60.0), "half of the day's evaluations are from noon on"


def test_one_grid_can_be_asked_for_and_one_that_is_unknown_is_refused(home: OperatedHome) -> None:
    data = json.loads(home.mm(kpi, *SPAN, "--grid", "eth", "--json").stdout)
    assert [row["grid"] for row in data["kpis"]] == ["eth"]
    refused = home.mm(kpi, "--grid", "xrp")
    assert isinstance(refused.exception, ConfigError)
    assert "There are: btc, eth." in str(refused.exception)


def test_stretch_counts_evaluations_from_its_beginning_and_before_its_end(home: OperatedHome) -> None:
    def pages(since: str, until: str) -> int:
        return len(json.loads(home.mm(kpi, "--since", since, "--until", until, "--json").stdout)["kpis"])

    assert pages("2024-03-01T12:00", "2024-03-01T12:15") == 2
    assert pages("2024-03-01", "2024-03-01T12:00") == 0
    assert pages("2024-03-01T12:15", "2024-03-02") == 0
    refused = home.mm(kpi, "--since", "2024-03-02", "--until", "2024-03-01")
    assert isinstance(refused.exception, ConfigError)


def test_last_thirty_days_are_the_default(home: OperatedHome) -> None:
    recent = SystemClock().now() - timedelta(days=29)
    with home.journal() as journal:
        commit(journal, decision(Notice.WARNING, recent), decided_at=recent)
    data = json.loads(home.mm(kpi, "--json").stdout)
    assert [(row["grid"], row["notice"]) for row in data["kpis"]] == [("eth", "WARNING")]


def test_table_tells_times_and_shares_in_words(home: OperatedHome) -> None:
    text = home.mm(kpi, *SPAN).stdout
    for said in ("2024-03-01 00:00", "MANDATORY_EXIT", "p50 4 min", "p90 40 min", "100% of 1", "0% of 1"):
        assert said in text
    assert "Nothing was told" in home.mm(kpi, "--since", "2024-01-01", "--until", "2024-01-02").stdout


def row(**changes: Any) -> pl.DataFrame:
    values: dict[str, Any] = dict.fromkeys(KPI_SCHEMA) | {
        name: 12 for name, kind in KPI_SCHEMA.items() if kind == pl.Int64()
    }
    values |= {
        "grid": "a-grid-with-a-long-name",
        "notice": "LATEST_ACCEPTABLE_EXIT",
        "pages_per_30d": 123.4,
        "watched_days": 9.0,
    }
    times = {"acknowledge_p50_s": 90_000.0, "acknowledge_p90_s": 190_000.0, "flat_p50_s": 61.0, "flat_p90_s": 7300.0}
    shares = {"answered_in_window_share": 0.25, "actionable_share": 1.0}
    return pl.DataFrame([values | times | shares | changes], schema=KPI_SCHEMA)


@pytest.mark.parametrize("width", [60, 130, 160])
def test_nothing_is_cut_off_at_any_width(width: int) -> None:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(kpi_table(row(), title="all", width=width))
    text = " ".join(console.export_text().split())
    for said in (
        "a-grid-with-a-long-name",
        "LATEST_ACCEPTABLE_EXIT",
        "123.4",
        "25% of 12",
        "100% of 12",
        "12 escalated",
        "p90 2 d 4 h",
    ):
        assert said in text


@pytest.mark.parametrize(("days", "is_told"), [(1.0, True), (0.99, False)])
def test_pages_of_less_than_a_day_are_no_rate(days: float, *, is_told: bool) -> None:
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(kpi_table(row(watched_days=days), title="all"))
    assert ("123.4" in console.export_text()) == is_told


def test_what_is_not_there_is_a_dash_and_not_nought(home: OperatedHome) -> None:
    empty = row(windows=0, missed=0, answered_in_window_share=None, acknowledge_p50_s=None, pages_per_30d=None)
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(kpi_table(empty, title="all"))
    words = console.export_text().split()
    assert words.count("-") == 4, "rate, time to acknowledge, share in the window and missed"
    assert "p50" in words, "the time to flat is there"


def test_without_a_journal_nothing_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MM_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MM_JOURNAL_URL", raising=False)
    result = operated_home(tmp_path).mm(kpi)
    assert isinstance(result.exception, StorageError)
    assert not (tmp_path / "home").exists()
