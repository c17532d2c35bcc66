"""Any sequence of states, gaps, switches and responses: a replay decides what the plain loop decides."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from mm_pipeline.domain.notifications import Decision, Judgement, NotifyPolicy, Response, ResponseKind, replay
from mm_pipeline_tests.notification_stories import BAR, LETTERS, NOON, POLICY, judged
from mm_pipeline_tests.reference.notifications import Done, Rules, Said, Told, notifications

GRIDS = ("eth", "sol")
MINUTE = timedelta(minutes=1)
UNREAD = -1
CAUSES = ("kucoin: stale", "binance: stale")


@dataclass(frozen=True)
class Run:
    """Evaluations with one letter, ``apart`` bars, after a pause; of a grid whose range is the n-th, or not known."""

    letter: str
    count: int
    apart: int
    pause: int
    range: int
    cause: int


def runs_of(letters: str, ranges: list[int]) -> st.SearchStrategy[Run]:
    return st.builds(
        Run,
        letter=st.sampled_from(letters),
        count=st.one_of(st.integers(1, 3), st.integers(1, 20)),
        apart=st.sampled_from([1, 1, 1, 2, 16]),
        pause=st.sampled_from([0, 0, 0, 1, 4, 11, 40]),
        range=st.sampled_from(ranges),
        cause=st.integers(0, 1),
    )


enabled = st.lists(runs_of("NWLMXSUMXLUTHFS", [0]), min_size=1, max_size=12)
any_kind = st.lists(runs_of("".join(LETTERS) + "EE", [0, 0, 0, 0, 1, 2, UNREAD]), min_size=1, max_size=12)
stories = st.one_of(enabled, any_kind)
answers = st.lists(
    st.tuples(
        st.integers(0, 12),
        st.sampled_from([0, 1, 15, 30, 165, 180]),
        st.sampled_from(["ack", "ack", "flat", "flat before", "verified_flat", "reopened", "missed"]),
        st.sampled_from(GRIDS),
    ),
    max_size=5,
)
"""After which told decision, how many minutes later, what is answered, and of which grid."""


def told_of(grid: str, story: list[Run]) -> list[Judgement]:
    """The story as evaluations; what is known of a blind grid is what was said before, now and then nothing."""
    found: list[Judgement] = []
    bar, known = 0, None
    for run in story:
        bar += run.pause
        for _ in range(run.count):
            changes: dict[str, object] = {
                "grid": grid,
                "started_at": None if run.range == UNREAD else NOON - run.range * BAR,
            }
            if run.letter in "UBF":
                changes |= {"cause": CAUSES[run.cause], "last_known_state": known}
            one = judged(run.letter, bar, **changes)
            known = one.state if one.state != "UNKNOWN" else known
            found.append(one)
            bar += run.apart
    return found


def as_said(one: Judgement) -> Said:
    return Said(
        at=(one.evaluated_at - NOON) // MINUTE,
        grid=one.grid,
        kind=one.kind,
        range=None if one.started_at is None else (NOON - one.started_at) // MINUTE,
        state=one.state,
        triggers=frozenset(one.mandatory),
        is_sold_out=one.is_sold_out,
        is_held=one.is_held,
        blind_for=one.blind_for,
        last_known=one.last_known_state,
        cause=one.cause,
    )


def as_told(made: list[Decision]) -> list[Told]:
    pages: dict[str, set[str]] = {}
    for decision in made:
        pages.setdefault(decision.page, set()).add(decision.grid)
    return [
        Told(
            at=(one.evaluated_at - NOON) // MINUTE,
            grid=one.grid,
            notice=one.notice.value,
            cause=one.cause.value,
            began=(one.episode_at - NOON) // MINUTE,
            number=one.number,
            triggers=frozenset(one.triggers),
            held_back="" if one.held_back is None else one.held_back.value,
            page=frozenset(pages[one.page]),
        )
        for one in made
    ]


def answered(
    wanted: list[tuple[int, int, str, str]], states: list[Judgement], policy: NotifyPolicy
) -> tuple[list[Response], list[Done]]:
    """Scripted responses for both sides: each comes after a page, and acknowledges the one told last before."""
    responses: list[Response] = []
    done: list[Done] = []
    for number, minutes, kind, grid in wanted:
        told = [one for one in replay(states, responses, policy) if one.is_told and one.grid == grid]
        if not told:
            continue
        at = told[number % len(told)].evaluated_at + minutes * MINUTE
        minute = (at - NOON) // MINUTE
        newest = ([one for one in told if one.evaluated_at < at] or told[:1])[-1]
        if kind in ("flat", "verified_flat"):
            responses.append(Response(grid=grid, at=at, kind=ResponseKind(kind)))
            done.append(Done(minute, grid, None, verifies=kind == "verified_flat"))
        elif kind == "flat before":
            happened = at - 90 * MINUTE
            responses.append(Response(grid=grid, at=happened, kind=ResponseKind.FLAT, known_at=at))
            done.append(Done(minute, grid, None, happened=minute - 90))
        elif kind == "reopened":
            responses.append(Response(grid=grid, at=at, kind=ResponseKind.REOPENED))
            done.append(Done(minute, grid, None, reopens=True))
        elif kind == "missed":
            responses.append(Response(grid=grid, at=at, kind=ResponseKind.MISSED, page=newest.page))
        else:
            responses.append(Response(grid=grid, at=at, kind=ResponseKind.ACKNOWLEDGED, page=newest.page))
            done.append(Done(minute, grid, (grid, (newest.evaluated_at - NOON) // MINUTE)))
    return responses, done


@settings(max_examples=300, deadline=None)
@given(stories=st.tuples(stories, st.one_of(st.just([]), stories)), wanted=answers, budget=st.sampled_from([1, 3, 12]))
def test_replay_equals_the_plain_loop(
    stories: tuple[list[Run], list[Run]], wanted: list[tuple[int, int, str, str]], budget: int
) -> None:
    policy = POLICY.model_copy(update={"budget": POLICY.budget.model_copy(update={"pages": budget})})
    states = [one for grid, story in zip(GRIDS, stories, strict=True) for one in told_of(grid, story)]
    states.sort(key=lambda one: (one.evaluated_at, one.grid))
    responses, done = answered(wanted, states, policy)
    made = as_told(replay(states, responses, policy))
    assert made == notifications([as_said(one) for one in states], done, Rules(budget_pages=budget))
