"""Stories of one grid, a letter a bar, and what its operator is told: the language of the tests of notifications."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from mm_pipeline.domain.notifications import (
    Decision,
    History,
    Judgement,
    NotifyPolicy,
    Response,
    ResponseKind,
    decide_all,
)
from mm_pipeline.settings import load_settings

NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)
BAR = timedelta(minutes=15)
HOUR = 4
"""Bars."""
DAY = 96
POLICY = load_settings(policy="seed").notify

LETTERS: Mapping[str, Mapping[str, Any]] = {
    "N": {"state": "NORMAL"},
    "W": {"state": "WARNING"},
    "L": {"state": "LATEST_ACCEPTABLE_EXIT"},
    "M": {"state": "MANDATORY_EXIT", "mandatory": ("closes_outside",)},
    "X": {"state": "MANDATORY_EXIT", "mandatory": ("regime_trend", "closes_outside")},
    "S": {"state": "MANDATORY_EXIT", "mandatory": ("closes_outside",), "is_sold_out": True},
    "T": {"state": "MANDATORY_EXIT", "mandatory": ("closes_outside", "stop_loss_breached")},
    "H": {"state": "MANDATORY_EXIT", "mandatory": ("closes_outside", "stop_loss_breached"), "is_held": True},
    "F": {"state": "UNKNOWN", "cause": "kucoin: stale", "blind_for": 2},
    "U": {"state": "UNKNOWN", "cause": "kucoin: stale"},
    "E": {"state": "ENTER", "kind": "entry"},
    "A": {"state": "AVOID", "kind": "entry"},
    "I": {"state": "WAIT", "kind": "entry"},
    "B": {"state": "UNKNOWN", "kind": "entry", "cause": "kucoin: stale"},
}
"""A small letter is an evaluation that came too late to be told of; ``.`` is a bar without one; ``|`` a new range."""


def judged(letter: str, bar: int = 0, **changes: Any) -> Judgement:
    values: dict[str, Any] = {"grid": "eth", "kind": "exit", "evaluated_at": NOON + bar * BAR, "started_at": NOON}
    return Judgement(**(values | dict(LETTERS[letter]) | changes))


def evaluations(story: str) -> list[tuple[int, bool, Judgement]]:
    """Bar, whether it is live, and what was said, of every evaluation of a story."""
    found: list[tuple[int, bool, Judgement]] = []
    bar, started_at, known = 0, NOON, None
    for letter in story:
        if letter == "|":
            started_at, known = NOON + bar * BAR, None
            continue
        if letter != ".":
            one = judged(letter.upper(), bar, started_at=started_at)
            if letter.upper() in "UF":
                one = judged(letter.upper(), bar, started_at=started_at, last_known_state=known)
            elif one.kind == "exit":
                known = one.state
            found.append((bar, letter.isupper(), one))
        bar += 1
    return found


def decisions(
    story: str, responses: Mapping[float, str] | None = None, policy: NotifyPolicy = POLICY
) -> list[tuple[int, Decision]]:
    """What is decided at which bar, told or held back.

    ``responses`` by bar: ``ack`` of the page told last, ``flat``, ``verified_flat`` or ``reopened``; one at a bar is
    known at its evaluation.
    """
    return lived(story, responses, policy)[0]


def lived(
    story: str, responses: Mapping[float, str] | None = None, policy: NotifyPolicy = POLICY
) -> tuple[list[tuple[int, Decision]], History]:
    """What is decided at which bar, and the history after it."""
    history, made = History(), []
    waiting = sorted((responses or {}).items())
    for bar, is_live, one in evaluations(story):
        while waiting and waiting[0][0] <= bar:
            at, kind = waiting.pop(0)
            history = history.answered(_response(kind, NOON + at * BAR, history))
        decided = decide_all([one], {one.grid: history}, policy) if is_live else []
        history = history.at(one)
        for decision in decided:
            history = history.after(decision, policy.budget)
            made.append((bar, decision))
    return made, history


def told(story: str, responses: Mapping[float, str] | None = None, policy: NotifyPolicy = POLICY) -> list[str]:
    """Pages of a story, like ``12 MANDATORY_EXIT reissue``; a change goes without its cause."""
    return [
        " ".join([str(bar), decision.notice, *([] if decision.cause == "change" else [decision.cause])])
        for bar, decision in decisions(story, responses, policy)
        if decision.is_told
    ]


def held_back(story: str, responses: Mapping[float, str] | None = None, policy: NotifyPolicy = POLICY) -> list[str]:
    """What is not told, and why, like ``3 WARNING min_interval``."""
    return [
        f"{bar} {decision.notice} {decision.held_back}"
        for bar, decision in decisions(story, responses, policy)
        if decision.held_back is not None
    ]


def _response(kind: str, at: datetime, history: History) -> Response:
    if kind in ("flat", "verified_flat", "reopened", "contradicted"):
        return Response(grid="eth", at=at, kind=ResponseKind(kind))
    newest = max(history.told.values(), key=lambda told: told.evaluated_at, default=None)
    assert newest is not None, "there is nothing to acknowledge"
    return Response(grid="eth", at=at, kind=ResponseKind.ACKNOWLEDGED, page=newest.page)
