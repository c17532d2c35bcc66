"""``mm why`` and ``mm history`` over a real journal: what was decided then, and what was told of it."""

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console

from mm_pipeline.adapters.clock import SystemClock
from mm_pipeline.adapters.config.home import JOURNAL_VARIABLE
from mm_pipeline.adapters.journal import Journal
from mm_pipeline.application.operator.past import state_runs
from mm_pipeline.cli.operator.history import history
from mm_pipeline.cli.operator.why import why
from mm_pipeline.domain.instants import to_ms
from mm_pipeline.domain.notifications import Notice
from mm_pipeline.domain.notifications.decision import HeldBack
from mm_pipeline.rendering.terminal.history_tables import history_table
from mm_pipeline_tests.journal_samples import evaluation
from mm_pipeline_tests.journal_samples import grid as sample_grid
from mm_pipeline_tests.operator_samples import OperatedHome, commit, decision, operated_home

BAR = timedelta(minutes=15)
AT = datetime(2026, 3, 2, 12, tzinfo=UTC)
STATES = ("NORMAL", "NORMAL", "LATEST_ACCEPTABLE_EXIT", "LATEST_ACCEPTABLE_EXIT", "MANDATORY_EXIT", "UNKNOWN")
FIRED = ((), (), ("stop_likely",), ("stop_likely", "volatility_expanded"), ("closes_outside",), ())
NOW = AT + len(STATES) * BAR


def reading(value: float, threshold: float) -> dict[str, object]:
    return {"value": value, "threshold": threshold, "margin": value - threshold, "fired": True, "since": AT}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OperatedHome:
    monkeypatch.setattr(SystemClock, "now_ms", lambda _self: to_ms(NOW))
    monkeypatch.setenv("MM_HOME", str(tmp_path / "home"))
    monkeypatch.delenv(JOURNAL_VARIABLE, raising=False)
    return operated_home(tmp_path)


@pytest.fixture
def journal(home: OperatedHome) -> Iterator[Journal]:
    """A grid that became worse from bar to bar: LATEST was paged, MANDATORY too, and UNKNOWN was held back."""
    grid = sample_grid("eth", started_at=AT - timedelta(days=2))
    home.declare(grid)
    with home.journal() as opened:
        opened.observe_grids([grid], AT - timedelta(days=1))
        for number, (state, fired) in enumerate(zip(STATES, FIRED, strict=True)):
            made = evaluation(
                grid="eth",
                state=state,
                fired=fired,
                triggers={name: reading(0.62, 0.5) for name in fired},
                reasons=("the exchange is away",) if state == "UNKNOWN" else fired,
                grid_version=grid.version_hash,
                recorded_at=AT + number * BAR + timedelta(minutes=1),
            )
            opened.record_evaluations([replace(made, evaluated_at=AT + number * BAR)])
        for notice, number in ((Notice.LATEST_ACCEPTABLE_EXIT, 2), (Notice.MANDATORY_EXIT, 4)):
            at = AT + number * BAR
            commit(opened, decision(notice, at), decided_at=at + timedelta(minutes=1))
        held = decision(Notice.UNKNOWN, AT + 5 * BAR, held_back=HeldBack.UNCONFIRMED)
        commit(opened, held, decided_at=AT + 5 * BAR + timedelta(minutes=1))
        yield opened


def test_runs_of_states_with_their_triggers_and_pages(journal: Journal) -> None:
    runs = state_runs(journal, "eth", since=AT, until=NOW)
    assert [(run.state, run.begins, run.ends, run.evaluations) for run in runs] == [
        ("NORMAL", AT, AT + BAR, 2),
        ("LATEST_ACCEPTABLE_EXIT", AT + 2 * BAR, AT + 3 * BAR, 2),
        ("MANDATORY_EXIT", AT + 4 * BAR, AT + 4 * BAR, 1),
        ("UNKNOWN", AT + 5 * BAR, AT + 5 * BAR, 1),
    ]
    assert runs[1].fired == ("stop_likely", "volatility_expanded")
    assert [[one.notice for one in run.pages] for run in runs] == [
        [],
        [Notice.LATEST_ACCEPTABLE_EXIT],
        [Notice.MANDATORY_EXIT],
        [],
    ]


def test_bar_that_was_judged_again_counts_as_it_was_judged_last(journal: Journal, home: OperatedHome) -> None:
    again = replace(journal.evaluations("eth")[1], state="WARNING", input_hash="9999", recorded_at=NOW)
    journal.record_evaluations([again])
    assert [run.state for run in state_runs(journal, "eth", since=AT, until=NOW)][:2] == ["NORMAL", "WARNING"]


@pytest.mark.usefixtures("journal")
def test_history_prints_a_row_for_each_run(home: OperatedHome) -> None:
    done = home.mm(history, "eth")
    assert done.exit_code == 0, done.output
    assert "stop_likely, volatility_expanded" in done.output
    assert "paged MANDATORY EXIT at 02 13:00" in done.output
    data = json.loads(home.mm(history, "eth", "--json").stdout)
    assert [(run["state"], len(run["pages"])) for run in data] == [
        ("NORMAL", 0),
        ("LATEST_ACCEPTABLE_EXIT", 1),
        ("MANDATORY_EXIT", 1),
        ("UNKNOWN", 0),
    ]
    assert data[1]["begins"] == "2026-03-02T12:30:00Z"


def test_history_fits_80_columns(journal: Journal) -> None:
    console = Console(width=80, file=io.StringIO())
    console.print(history_table(state_runs(journal, "eth", since=AT, until=NOW), title="eth"))
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert max(len(line.rstrip()) for line in lines) <= 80
    assert not any("…" in line for line in lines)


@pytest.mark.usefixtures("journal")
@pytest.mark.parametrize(
    ("minutes", "state", "said"),
    [
        (0, "NORMAL", "there was nothing new to page"),
        (44, "LATEST_ACCEPTABLE_EXIT", "paged: LATEST ACCEPTABLE EXIT (change)"),
        (60, "MANDATORY_EXIT", "paged: MANDATORY EXIT (change)"),
        (75, "UNKNOWN", "held back: UNKNOWN, unconfirmed"),
    ],
)
def test_why_explains_the_evaluation_at_or_before_a_moment(
    home: OperatedHome, minutes: int, state: str, said: str
) -> None:
    at = (AT + timedelta(minutes=minutes)).isoformat()
    done = home.mm(why, "eth", "--at", at)
    assert done.exit_code == 0, done.output
    assert state in done.output
    assert said in done.output
    data = json.loads(home.mm(why, "eth", "--at", at, "--json").stdout)
    assert data["state"] == state
    assert len(data["decisions"]) == (0 if minutes == 0 else 1)


@pytest.mark.usefixtures("journal")
def test_why_without_a_time_is_the_newest(home: OperatedHome) -> None:
    done = home.mm(why, "eth")
    assert "UNKNOWN" in done.output
    assert "the exchange is away" in done.output


@pytest.mark.usefixtures("journal")
def test_moment_without_an_evaluation_and_unknown_grid_are_told(home: OperatedHome) -> None:
    before = home.mm(why, "eth", "--at", (AT - timedelta(minutes=1)).isoformat())
    assert before.exit_code == 1
    assert "eth was not evaluated in the day before 2026-03-02 11:59 UTC" in str(before.exception)
    stranger = home.mm(why, "btc")
    assert stranger.exit_code != 0
    assert "the journal knows no grid btc" in str(stranger.exception)
    empty = home.mm(history, "eth", "--until", (AT - BAR).isoformat())
    assert "not evaluated" in empty.output
    wrong = home.mm(history, "eth", "--since", NOW.isoformat(), "--until", AT.isoformat())
    assert wrong.exit_code == 2
