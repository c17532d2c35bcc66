"""What is decided about telling the operator: plain values. When it is decided so belongs to ``decide``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final


class Notice(StrEnum):
    """What a page tells: SPEC 8's table, a row each."""

    MANDATORY_EXIT = "MANDATORY_EXIT"
    LATEST_ACCEPTABLE_EXIT = "LATEST_ACCEPTABLE_EXIT"
    WARNING = "WARNING"
    NORMAL = "NORMAL"
    UNKNOWN = "UNKNOWN"
    SOLD_OUT = "SOLD_OUT"
    REMINDER = "REMINDER"
    STILL_ENABLED = "STILL_ENABLED"
    ENTER = "ENTER"


ASKS_FOR_EXIT: Final = frozenset({Notice.LATEST_ACCEPTABLE_EXIT, Notice.MANDATORY_EXIT})
REMINDERS: Final = frozenset({Notice.REMINDER, Notice.STILL_ENABLED})
"""Notices that repeat what the operator knows: an acknowledged emergency stands, a closed grid is still enabled."""
TAKES_NOTHING_BACK: Final = REMINDERS | {Notice.UNKNOWN}
"""Notices after which everything that was said before still holds."""


def replaces(newer: Notice, older: Notice) -> bool:
    """Whether a page of one notice makes an earlier page of another, about the same grid, out of date.

    Nothing milder replaces an emergency: only a further page of it, an all-clear, or a sold-out, which is sent once it
    is confirmed.
    """
    if older is Notice.MANDATORY_EXIT:
        return newer in (Notice.MANDATORY_EXIT, Notice.NORMAL, Notice.SOLD_OUT)
    return newer is older or newer not in TAKES_NOTHING_BACK


class Cause(StrEnum):
    """Why it is told now."""

    CHANGE = "change"
    NEW_TRIGGER = "new_trigger"
    REPEAT = "repeat"
    REISSUE = "reissue"
    CONTRADICTED = "contradicted"


class HeldBack(StrEnum):
    """Why something that would be told is not, or not yet."""

    MIN_INTERVAL = "min_interval"
    BUDGET = "budget"
    NOT_PUSHED = "not_pushed"
    """The policy shows it in status and digest, and pushes it to nobody."""
    NOTHING_TO_CLEAR = "nothing_to_clear"
    """An all-clear where neither an exit nor an outage was told."""
    NOTHING_HELD = "nothing_held"
    UNCONFIRMED = "unconfirmed"
    """One sold-out evaluation, which does not end an emergency that nobody has answered."""
    KNOWN = "known"
    """An emergency that a sold-out had ended is back with the triggers of its pages, or is sold out once more."""
    CALM = "calm"
    """An acknowledged emergency is over: for a while neither it nor a milder exit has been asked for."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """One grid's notification, decided at one evaluation.

    Attributes
    ----------
    kind
        ``exit`` of an enabled grid's evaluation, ``entry`` of a disabled one's.
    state
        The evaluation's state; another than the notice for a grid that is sold out, and for reminders and reissues.
    episode_at
        Evaluation of the first page of this unbroken telling of one notice.
    number
        How many pages of the episode there are with this one, from 1.
    triggers
        Mandatory triggers told in this episode, this page's included.
    page
        Id of the page that tells it; one page may tell of several grids.
    held_back
        Why no page is sent; None where one is.
    """

    grid: str
    evaluated_at: datetime
    kind: str
    notice: Notice
    state: str
    cause: Cause
    episode_at: datetime
    number: int
    triggers: tuple[str, ...]
    page: str
    held_back: HeldBack | None = None

    @property
    def is_told(self) -> bool:
        """Whether a page is sent."""
        return self.held_back is None


def ends_emergency(decision: Decision) -> bool:
    """Whether an emergency that nobody has answered is over with this decision, sent or not."""
    is_ending = decision.notice in (Notice.NORMAL, Notice.SOLD_OUT)
    return is_ending and decision.held_back is not HeldBack.UNCONFIRMED


def resumes_emergency(decision: Decision) -> bool:
    """Whether an emergency that a sold-out had ended stands again with this decision, which sends nothing."""
    return decision.notice is Notice.MANDATORY_EXIT and decision.held_back is HeldBack.KNOWN


def is_over_after(later: Iterable[Decision]) -> bool:
    """Whether an emergency page that nobody has answered is over after later decisions, oldest first."""
    is_over = False
    for decision in later:
        is_over = ends_emergency(decision) or (is_over and not resumes_emergency(decision))
    return is_over
