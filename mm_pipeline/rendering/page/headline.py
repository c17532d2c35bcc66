"""The front's one line over all grids, and whether the watch itself is alive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mm_pipeline.application.operator.standing import Standing
from mm_pipeline.application.operator.status import UNKNOWN
from mm_pipeline.rendering.page.grid_pages import ACTIONS, GridPages, action_of
from mm_pipeline.rendering.page.words import age_s, ago_text, due_text, moment_text, spoken
from mm_pipeline.reporting.price_words import age_text


@dataclass(frozen=True, kw_only=True)
class Headline:
    """What is read at arm's length: the worst state, its grid, since when, and what is due.

    ``age_s`` is the age of the oldest evaluation that counts, seconds: the browser counts on from there.
    """

    state: str
    words: str
    action: str
    since: str
    due: str
    age_s: int


def headline_of(standing: Standing, ordered: Sequence[GridPages]) -> Headline:
    """The one line: the watch's silence before any state, for no state is known then.

    Parameters
    ----------
    ordered
        The grids, most urgent first.
    """
    pulse, now = standing.pulse, standing.now
    if pulse.is_silent:
        at = pulse.evaluated_at
        last = "never" if at is None else f"{moment_text(at)}, {ago_text(at, now)}"
        return _blind("THE WATCH IS SILENT", f"last evaluation {last}", "start it: mm up")
    if not ordered:
        return _blind("NO GRID IS WATCHED", "", "declare one: mm init")
    first, worst = ordered[0], ordered[0].status.report
    weight = first.is_flat, first.weighed_state
    same = sum((one.is_flat, one.weighed_state) == weight for one in ordered) - 1
    since = "" if worst.since is None else f"for {age_text(worst.since, now)}, since {moment_text(worst.since)}"
    is_milder = worst.state != first.weighed_state
    name = f"{spoken(first.weighed_state)}{' STANDS' * is_milder}"
    ages = [age_s(one.report, now) for one in standing.grids if one.report.state != UNKNOWN]
    return Headline(
        state=first.weighed_state,
        words=f"{name}: {worst.grid_id}{f' and {same} more' if same else ''}",
        action=action_of(first),
        since=f"now {spoken(worst.state)} {since}" if is_milder else since,
        due=_first_due(standing),
        age_s=max(ages, default=0),
    )


def _blind(words: str, since: str, due: str) -> Headline:
    return Headline(state=UNKNOWN, words=words, action=ACTIONS[UNKNOWN], since=since, due=due, age_s=0)


def watch_line(standing: Standing) -> str:
    """Whether the watch itself is alive: its last and its next evaluation."""
    pulse = standing.pulse
    if pulse.evaluated_at is None:
        return "The watch has evaluated nothing yet."
    last = f"{moment_text(pulse.evaluated_at)}, {ago_text(pulse.evaluated_at, standing.now)}"
    if pulse.is_silent:
        return f"The watch is silent: it evaluated last at {last}."
    return f"The watch is alive: evaluated {last}; next {pulse.next_at:%H:%M} UTC."


def _first_due(standing: Standing) -> str:
    """What is due first of all grids."""
    asked = [one for one in standing.grids if one.due.respond_by is not None]
    if not asked:
        return "no answer is due"
    first = min(asked, key=lambda one: one.due.respond_by or standing.now)
    more = f" (and {len(asked) - 1} more)" if len(asked) > 1 else ""
    return f"{due_text(first.due, standing.now)}: {first.report.grid_id}{more}"
