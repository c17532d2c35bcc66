"""``mm journal`` over a real journal: one story in the order of time, newest last, and nothing twice."""

import io
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from rich.console import Console

from mm_pipeline.adapters.journal import DeliveryOutcome, Evaluation, Incident, Journal, sqlite_url
from mm_pipeline.adapters.journal.operator_queries import OperatorQueries
from mm_pipeline.application.operator.journal_line import LineKind
from mm_pipeline.application.operator.journal_story import DEFAULT_KINDS, Span, journal_lines
from mm_pipeline.cli.operator import journal as command
from mm_pipeline.domain.candles import HEALTHY, CircuitState
from mm_pipeline.domain.errors import ConfigError
from mm_pipeline.domain.instants import to_ms
from mm_pipeline.domain.notifications import HeldBack, Notice, ResponseKind
from mm_pipeline.rendering.terminal.operator_tables import journal_table
from mm_pipeline_tests.journal_samples import evaluation, grid
from mm_pipeline_tests.operator_samples import OperatedHome, answer, claim, commit, decision, operated_home, send

AT = datetime(2024, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
BAR = 15 * MINUTE
SPAN = ("--since", "2024-03-01", "--until", "2024-03-02")


def judged(bars: float, state: str, *fired: str, name: str = "eth", **changes: Any) -> Evaluation:
    return replace(evaluation(), grid=name, evaluated_at=AT + bars * BAR, state=state, fired=fired, **changes)


def tell_the_story(journal: Journal) -> None:
    """A day of two grids: a warning that is sent at the second attempt, an emergency, and what went wrong beside."""
    journal.observe_grids([grid("eth"), grid("btc", symbol="BTC/USDT")], AT - MINUTE)
    journal.record_evaluations(
        [
            judged(0, "NORMAL"),
            judged(1, "NORMAL"),
            judged(2, "WARNING", "transition_likely"),
            judged(3, "WARNING", "transition_likely", "confidence_declining"),
            judged(4, "WARNING", "transition_likely", "confidence_declining"),
            judged(5, "MANDATORY_EXIT", "regime_trend"),
            judged(0, "NORMAL", name="btc"),
            judged(1, "UNKNOWN", name="btc", price=None, reasons=("newest bar closed 47 min ago",), is_live=False),
        ]
    )
    journal.record_notices(
        [
            Incident(market="kucoin:BTC/USDT", tick_at=AT + BAR, code="exchange_unavailable", message="it is away"),
            Incident(market="grid:eth", tick_at=AT + BAR, code="grid_file", message="eth.yaml has a problem"),
            Incident(market="pipeline", tick_at=AT + BAR, code="run_failed", message="a run failed"),
        ]
    )
    warned = AT + 2 * BAR
    commit(journal, decision(Notice.WARNING, warned, page="w1"), decided_at=warned + MINUTE)
    first = claim(journal, warned + MINUTE)
    journal.outbox.put_off(
        first,
        DeliveryOutcome.FAILED,
        at=warned + 1.1 * MINUTE,
        due_at=warned + 1.2 * MINUTE,
        detail="phone did not answer",
    )
    send(journal, "w1", warned + 1.2 * MINUTE)
    held = decision(Notice.WARNING, AT, grid="btc", page="held", held_back=HeldBack.BUDGET)
    commit(journal, held, decided_at=AT + MINUTE)
    exits = AT + 5 * BAR
    commit(journal, decision(Notice.MANDATORY_EXIT, exits, page="m1"), decided_at=exits + MINUTE)
    claim(journal, exits + MINUTE)
    answer(journal, ResponseKind.ACKNOWLEDGED, exits + 2 * MINUTE, page="m1", by="ann")
    journal.circuits.save("kucoin", CircuitState(3, None, "it is away"), at_ms=to_ms(AT + 6 * BAR))
    journal.circuits.save("kucoin", HEALTHY, at_ms=to_ms(AT + 6.5 * BAR))
    journal.circuits.save("channel:phone", HEALTHY, at_ms=to_ms(AT + 7 * BAR))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> OperatedHome:
    made = operated_home(tmp_path_factory.mktemp("operated"))
    with made.journal() as journal:
        tell_the_story(journal)
    return made


@pytest.fixture
def mm(home: OperatedHome, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("MM_HOME", str(home.folder / "home"))
    monkeypatch.delenv("MM_JOURNAL_URL", raising=False)

    def run(*arguments: str) -> Result:
        return home.mm(command.journal, *arguments)

    return run


def lines(result: Result) -> list[tuple[str, str, str, str]]:
    """``HH:MM``, kind, subject and what of each line."""
    assert result.exit_code == 0, result.output
    return [(one["at"][11:16], one["kind"], one["subject"], one["what"]) for one in json.loads(result.stdout)]


def test_everything_is_told_in_the_order_of_time_newest_last(mm: Any) -> None:
    assert lines(mm(*SPAN, "--json")) == [
        ("11:59", "grid", "btc", "declared"),
        ("11:59", "grid", "eth", "declared"),
        ("12:00", "change", "btc", "NORMAL"),
        ("12:00", "change", "eth", "NORMAL"),
        ("12:01", "decision", "btc", "WARNING"),
        ("12:15", "notice", "eth", "grid_file"),
        ("12:15", "notice", "kucoin:BTC/USDT", "exchange_unavailable"),
        ("12:15", "notice", "watch", "run_failed"),
        ("12:15", "change", "btc", "UNKNOWN"),
        ("12:30", "change", "eth", "WARNING"),
        ("12:31", "decision", "eth", "WARNING"),
        ("12:31", "page", "eth", "WARNING"),
        ("12:31", "delivery", "eth", "failed"),
        ("12:31", "delivery", "eth", "sent"),
        ("12:45", "change", "eth", "WARNING"),
        ("13:15", "change", "eth", "MANDATORY_EXIT"),
        ("13:16", "decision", "eth", "MANDATORY_EXIT"),
        ("13:16", "page", "eth", "MANDATORY_EXIT"),
        ("13:16", "delivery", "eth", "started"),
        ("13:17", "response", "eth", "acknowledged"),
        ("13:30", "circuit", "kucoin", "failing"),
        ("13:37", "circuit", "kucoin", "well again"),
    ]


def test_evaluations_are_told_one_and_all_when_asked_for(mm: Any) -> None:
    every = lines(mm(*SPAN, "--json", "--kind", "evaluation", "--grid", "eth"))
    assert [at for at, *_ in every] == ["12:00", "12:15", "12:30", "12:45", "13:00", "13:15"]
    both = lines(mm(*SPAN, "--json", "--kind", "evaluation", "--kind", "change", "--grid", "eth"))
    assert both == every


def test_one_grid_is_told_with_its_market_and_the_watch(mm: Any) -> None:
    told = lines(mm(*SPAN, "--json", "--grid", "btc"))
    assert told == [
        ("11:59", "grid", "btc", "declared"),
        ("12:00", "change", "btc", "NORMAL"),
        ("12:01", "decision", "btc", "WARNING"),
        ("12:15", "notice", "kucoin:BTC/USDT", "exchange_unavailable"),
        ("12:15", "notice", "watch", "run_failed"),
        ("12:15", "change", "btc", "UNKNOWN"),
        ("13:30", "circuit", "kucoin", "failing"),
        ("13:37", "circuit", "kucoin", "well again"),
    ]


@pytest.mark.parametrize(("kind", "count"), [("page", 2), ("delivery", 3), ("response", 1), ("notice", 3), ("grid", 2)])
def test_kinds_can_be_picked(mm: Any, kind: str, count: int) -> None:
    told = lines(mm(*SPAN, "--json", "--kind", kind))
    assert [line[1] for line in told] == [kind] * count


def test_change_is_against_the_evaluation_before_also_where_that_is_older(mm: Any) -> None:
    told = lines(mm("--since", "2024-03-01T12:45", "--until", "2024-03-01T13:15", "--json", "--kind", "change"))
    assert told == [("12:45", "change", "eth", "WARNING")]
    assert lines(mm("--since", "2024-03-01T13:00", "--until", "2024-03-01T13:15", "--json", "--kind", "change")) == []


def test_limit_keeps_the_newest(mm: Any) -> None:
    assert lines(mm(*SPAN, "--json", "--limit", "2")) == lines(mm(*SPAN, "--json"))[-2:]


def test_circuit_is_told_of_when_it_fails_and_when_it_is_well_again(mm: Any) -> None:
    failed, healed = json.loads(mm(*SPAN, "--json", "--kind", "circuit").stdout)
    assert (failed["kind"], failed["subject"], failed["what"]) == ("circuit", "kucoin", "failing")
    assert failed["detail"] == "3 failures in a row: it is away"
    assert {"settings_hash", "code_version"} <= set(failed["data"])
    assert (healed["subject"], healed["what"]) == ("kucoin", "well again")


def test_lines_say_why(mm: Any) -> None:
    told = {(one["kind"], one["subject"], one["what"]): one for one in json.loads(mm(*SPAN, "--json").stdout)}
    assert told["change", "btc", "UNKNOWN"]["detail"] == "newest bar closed 47 min ago  seen later"
    assert told["change", "eth", "MANDATORY_EXIT"]["detail"] == "3,100.25  regime_trend"
    assert told["decision", "btc", "WARNING"]["detail"] == "change, held back (budget)"
    assert told["page", "eth", "MANDATORY_EXIT"]["detail"].endswith("(answer by 13:30)")
    assert told["delivery", "eth", "failed"]["detail"] == "WARNING on phone: phone did not answer"
    assert told["delivery", "eth", "sent"]["detail"] == "WARNING on phone, attempt 2"
    assert told["response", "eth", "acknowledged"]["detail"] == "mm acknowledged by ann, page m1"
    assert told["change", "eth", "MANDATORY_EXIT"]["data"]["settings_hash"] == "c3d4"
    assert {"settings_hash", "code_version"} <= set(told["response", "eth", "acknowledged"]["data"])
    assert "image" not in told["page", "eth", "WARNING"]["data"]


def test_grid_nobody_knows_is_refused_with_those_there_are(mm: Any) -> None:
    result = mm("--grid", "xrp")
    assert isinstance(result.exception, ConfigError)
    assert "There are: btc, eth." in str(result.exception)


def test_every_kind_can_be_asked_for() -> None:
    (option,) = [one for one in command.journal.params if one.name == "kinds"]
    assert set(option.type.choices) == {kind.value for kind in LineKind}  # type: ignore[attr-defined]


def test_table_tells_each_line_at_any_width(mm: Any, home: OperatedHome) -> None:
    text = mm(*SPAN).stdout
    for said in ("22 lines from 2024-03-01 00:00", "transition_likely, confidence_declining", "phone did not answer"):
        assert said in text
    span = Span(since=AT - BAR, until=AT + timedelta(days=1), limit=50)
    with home.journal() as journal:
        found = journal_lines(journal, span, DEFAULT_KINDS)
    for width in (60, 80, 130):
        console = Console(width=width, record=True, file=io.StringIO())
        console.print(journal_table(found, title="all", width=width))
        words = console.export_text().split()
        assert {"MANDATORY_EXIT", "acknowledged", "confidence_declining", "kucoin:BTC/USDT", "m1"} <= set(words)


def test_changes_of_a_year_are_found_without_reading_it_whole(tmp_path: Path) -> None:
    with Journal(sqlite_url(tmp_path / "year.db")) as journal:
        states = ("NORMAL", "WARNING")
        journal.record_evaluations(judged(bar, states[bar // 500 % 2]) for bar in range(4_000))
        queries = OperatorQueries(journal)
        changes = queries.changes("eth")
        assert [one.evaluated_at for one in changes] == [AT + bar * BAR for bar in range(0, 4_000, 500)]
        assert queries.changes("eth", limit=3) == changes[-3:]
        assert queries.changes(since=AT + BAR, until=AT + 1_001 * BAR) == changes[1:3]
        assert queries.changes("btc") == []


def test_second_evaluation_of_a_bar_is_a_change_only_where_it_says_something_else(tmp_path: Path) -> None:
    with Journal(sqlite_url(tmp_path / "journal.db")) as journal:
        journal.record_evaluations(
            [judged(0, "NORMAL"), judged(1, "NORMAL", input_hash="a"), judged(2, "WARNING", input_hash="a")]
        )
        journal.record_evaluations([judged(1, "NORMAL", input_hash="b"), judged(2, "NORMAL", input_hash="b")])
        told = [(one.evaluated_at, one.state) for one in OperatorQueries(journal).changes()]
        assert told == [(AT, "NORMAL"), (AT + 2 * BAR, "WARNING"), (AT + 2 * BAR, "NORMAL")]
