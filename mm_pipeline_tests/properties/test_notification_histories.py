"""What the journal tells of a grid's past is what a replay carries along, field by field, after any sequence."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_pipeline.adapters.journal import DecisionRecord, Evaluation, Journal, ResponseRecord, sqlite_url
from mm_pipeline.domain.evaluation_kind import EvaluationKind
from mm_pipeline.domain.notifications import (
    Decision,
    History,
    Judgement,
    NotifyPolicy,
    Response,
    ResponseKind,
    decide_all,
)
from mm_pipeline_tests.notification_stories import BAR, LETTERS, NOON, POLICY, judged

DECIDED_AFTER = POLICY.decided_after
ANSWERS = ("ack", "flat", "flat before", "verified_flat", "reopened", "missed", "ack everything")
WRITTEN_BY = {"settings_hash": "c3d4", "code_version": "0.1.0"}
GRID = "eth"
VERSIONS = {f"version-{i}": NOON - (i // 2 + 1) * BAR for i in range(4)}
"""Start by version: an edited declaration may keep the range of the one before."""
TIGHT = POLICY.model_copy(update={"budget": POLICY.budget.model_copy(update={"pages": 2, "per": timedelta(hours=3)})})


@dataclass(frozen=True)
class Step:
    """One evaluation, after a pause of some bars; what happens to it, and what is answered after it."""

    letter: str
    version: str
    pause: int = 0
    is_live: bool = True
    revised: str | None = None
    revised_after: timedelta = BAR
    answer: str | None = None
    answered_after: timedelta = timedelta(0)


def letters_like(letter: str) -> st.SearchStrategy[str]:
    """A revised candle changes the state, never whether the grid is enabled."""
    is_entry = "kind" in LETTERS[letter]
    return st.sampled_from([other for other in LETTERS if ("kind" in LETTERS[other]) == is_entry])


@st.composite
def steps(draw: st.DrawFn) -> list[Step]:
    """Evaluations in runs; the version is unknown only until the file was read for the first time."""
    found: list[Step] = []
    unread = draw(st.sampled_from([0, 0, 0, 2]))
    for _ in range(draw(st.integers(1, 6))):
        letter = draw(st.sampled_from("".join(LETTERS) + "NWLMMXUU"))
        version = draw(st.sampled_from(["version-0", "version-0", *VERSIONS]))
        for _ in range(draw(st.integers(1, 5))):
            step = Step(
                letter,
                version if len(found) >= unread else "",
                pause=draw(st.sampled_from([0, 0, 0, 0, 3, 13])),
                is_live=draw(st.sampled_from([True, True, True, False])),
                revised=draw(letters_like(letter)) if draw(st.integers(0, 4)) == 4 else None,
                revised_after=draw(st.sampled_from([timedelta(minutes=5), BAR, 3 * BAR])),
                answer=draw(
                    st.sampled_from(
                        [
                            None,
                            None,
                            "ack",
                            "flat",
                            "flat before",
                            "verified_flat",
                            "reopened",
                            "missed",
                            "ack everything",
                        ]
                    )
                ),
                answered_after=draw(st.sampled_from([timedelta(0), timedelta(seconds=30), timedelta(minutes=5), BAR])),
            )
            found.append(step)
    return found


@dataclass
class Carried:
    """What a replay has in hand: evaluations that count, decisions, and answers, by time."""

    judged: dict[datetime, Judgement] = field(default_factory=dict)
    decisions: dict[datetime, Decision] = field(default_factory=dict)
    responses: list[Response] = field(default_factory=list)

    def before(self, at: datetime, policy: NotifyPolicy) -> History:
        """Everything before an evaluation, and answers known at it."""
        history = History()
        waiting = sorted(self.responses, key=lambda response: response.counts_from)
        for when in [*sorted(time for time in self.judged if time < at), at]:
            while waiting and waiting[0].counts_from <= when + DECIDED_AFTER:
                history = history.answered(waiting.pop(0))
            if when == at:
                break
            history = history.at(self.judged[when])
            if when in self.decisions:
                history = history.after(self.decisions[when], policy.budget)
        return history


@pytest.fixture(scope="module")
def empty_journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated journal to copy: making one takes longer than an example."""
    file = tmp_path_factory.mktemp("journal") / "empty.db"
    Journal(sqlite_url(file)).close()
    return file


@contextmanager
def copied(empty: Path) -> Iterator[Journal]:
    with TemporaryDirectory() as folder:
        file = Path(shutil.copy(empty, folder))
        with Journal(sqlite_url(file)) as journal:
            yield journal


def record(
    journal: Journal,
    one: Judgement,
    version: str,
    *,
    is_live: bool,
    input_hash: str,
    after: timedelta = timedelta(minutes=1),
) -> None:
    row = Evaluation(
        grid=one.grid,
        evaluated_at=one.evaluated_at,
        kind=EvaluationKind(one.kind),
        input_hash=input_hash,
        state=one.state,
        price=None,
        fired=(),
        triggers={},
        reasons=(),
        grid_version=version,
        is_live=is_live,
        recorded_at=one.evaluated_at + after,
        **WRITTEN_BY,
    )
    assert journal.record_evaluations([row]) == 1


def commit(journal: Journal, made: list[Decision]) -> None:
    decided = [
        DecisionRecord(decision=one, grid_version="", decided_at=one.evaluated_at + DECIDED_AFTER, **WRITTEN_BY)
        for one in made
    ]
    assert journal.notifications.commit(decided, [], channels={}, due_at=NOON)


def answer(journal: Journal, step: Step, at: datetime, told: list[Decision]) -> Response | None:
    """Journal the answer after a step; None where there is nothing to answer."""
    if step.answer is None or (step.answer in ("ack", "missed") and not told):
        return None
    is_ack = step.answer in ("ack", "ack everything")
    kind = ResponseKind.ACKNOWLEDGED if is_ack else ResponseKind(step.answer.removesuffix(" before"))
    page = told[-1].page if step.answer in ("ack", "missed") else ""
    if step.answer == "ack":  # a page is there once it was decided
        at = max(at, told[-1].evaluated_at + DECIDED_AFTER)
    happened_at = at - 5 * BAR if step.answer.endswith(" before") else at
    response = Response(grid=GRID, at=happened_at, kind=kind, page=page, known_at=at)
    made = ResponseRecord(response=response, source="test", by_whom="", recorded_at=at, **WRITTEN_BY)
    return response if journal.responses.record([made]) else None


def as_decided_by(history: History) -> History:
    """Without acknowledgements of pages that are not the newest of their notice in this range: none is asked for."""
    known = {told.page for told in history.told.values()}
    return replace(history, acknowledged={page: at for page, at in history.acknowledged.items() if page in known})


@settings(max_examples=20, deadline=None)
@given(sequence=steps(), policy=st.sampled_from([POLICY, TIGHT]))
def test_history_read_from_the_journal_is_the_history_carried_along(
    empty_journal: Path, sequence: list[Step], policy: NotifyPolicy
) -> None:
    carried = Carried()
    told: list[Decision] = []
    at = NOON
    with copied(empty_journal) as journal:
        for step in sequence:
            at += (1 + step.pause) * BAR
            one = judged(step.letter, evaluated_at=at, started_at=VERSIONS.get(step.version))
            before = journal.histories.before(one, now=at + DECIDED_AFTER, started_at=VERSIONS, policy=policy)
            assert as_decided_by(before.at(one)) == as_decided_by(carried.before(at, policy).at(one))
            record(journal, one, step.version, is_live=step.is_live, input_hash="first")
            made = decide_all([one], {GRID: before}, policy) if step.is_live else []
            commit(journal, made)
            carried.judged[at] = one
            carried.decisions |= {decision.evaluated_at: decision for decision in made}
            told += [decision for decision in made if decision.is_told]
            if step.revised is not None:
                one = replace(judged(step.revised, evaluated_at=at), started_at=one.started_at)
                after = step.revised_after
                record(journal, one, step.version, is_live=step.is_live, input_hash="revised", after=after)
                carried.judged |= {at: one} if after < BAR else {}
            response = answer(journal, step, at + step.answered_after, told)
            carried.responses += [] if response is None else [response]


def test_long_run_of_one_state_is_counted_as_far_as_any_notice_looks(empty_journal: Path) -> None:
    start = VERSIONS["version-0"]
    with copied(empty_journal) as journal:
        for bar in range(101):
            letter = "N" if bar else "W"
            record(journal, judged(letter, bar, started_at=start), "version-0", is_live=False, input_hash="first")
        one = judged("N", 101, started_at=start)
        before = journal.histories.before(one, now=one.evaluated_at, started_at=VERSIONS, policy=POLICY)
    assert 96 <= before.run <= 100
    assert before.run_began_at == NOON + BAR


@pytest.mark.parametrize(("after", "run"), [(timedelta(minutes=14), 2), (BAR, 1), (BAR + timedelta(minutes=1), 1)])
@pytest.mark.parametrize("letter", ["N", "U"])
def test_bar_that_a_later_tick_judges_anew_is_no_second_evaluation(
    empty_journal: Path, letter: str, after: timedelta, run: int
) -> None:
    """The candles of the bar before were revised: one answer says NORMAL, or UNKNOWN, of both."""
    with copied(empty_journal) as journal:
        for bar in range(3):
            one = judged("M", bar, started_at=VERSIONS["version-0"])
            record(journal, one, "version-0", is_live=True, input_hash="first")
        again = judged(letter, 2, started_at=VERSIONS["version-0"])
        record(journal, again, "version-0", is_live=True, input_hash="revised", after=after)
        one = judged(letter, 3, started_at=VERSIONS["version-0"])
        before = journal.histories.before(one, now=one.evaluated_at, started_at=VERSIONS, policy=POLICY)
    assert before.at(one).run == run
