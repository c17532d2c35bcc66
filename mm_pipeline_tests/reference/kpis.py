"""KPIs a page at a time, in plain loops, and facts at random to compare them on."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import numpy as np
import polars as pl

from mm_pipeline.domain.kpis import EVALUATED_SCHEMA, Notified, OperatorFacts, PageDelivery
from mm_pipeline.domain.notifications import FLATS, HeldBack, Notice, Response, ResponseKind
from mm_pipeline_tests.operator_samples import decision, window_end

DAY = datetime(2024, 3, 1, tzinfo=UTC)
BAR = timedelta(minutes=15)
LATE = timedelta(minutes=20)
MANDATORY, LATEST, WARNING = Notice.MANDATORY_EXIT, Notice.LATEST_ACCEPTABLE_EXIT, Notice.WARNING
OPEN = [ResponseKind.REOPENED, ResponseKind.CONTRADICTED]
T = TypeVar("T")


def _one_of(chance: np.random.Generator, options: list[T]) -> T:
    return options[int(chance.integers(len(options)))]


def random_facts(seed: int) -> OperatorFacts:
    """Ten hours of two grids at which anything happens at any time."""
    chance = np.random.default_rng(seed)
    notified: list[Notified] = []
    deliveries: dict[str, PageDelivery] = {}
    responses: list[Response] = []
    rows: list[tuple[str, datetime, str, str, bool]] = []
    for grid in ("btc", "eth"):
        episode: dict[Notice, datetime] = {}
        for number in range(40):
            moment = DAY + number * BAR
            state = _one_of(chance, ["NORMAL", "WARNING", "LATEST_ACCEPTABLE_EXIT", "MANDATORY_EXIT", "UNKNOWN"])
            rows.append((grid, moment, "exit", state, chance.random() < 0.8))
            if chance.random() < 0.35:
                notice = _one_of(chance, [MANDATORY, LATEST, WARNING, Notice.NORMAL, Notice.UNKNOWN])
                if chance.random() < 0.5:
                    episode.pop(notice, None)
                one = decision(
                    notice,
                    moment,
                    grid=grid,
                    page=f"{grid}{number}",
                    episode_at=episode.setdefault(notice, moment),
                    held_back=HeldBack.BUDGET if chance.random() < 0.2 else None,
                )
                decided_at = moment + timedelta(seconds=int(chance.integers(30, 120)))
                range_began = DAY + timedelta(hours=_one_of(chance, [0, 0, 0, 1]))
                notified.append(
                    Notified(decision=one, decided_at=decided_at, respond_by=window_end(one), started_at=range_began)
                )
                sent_at = decided_at + timedelta(seconds=int(chance.integers(0, 1500)))
                deliveries[one.page] = PageDelivery(
                    sent_at=sent_at if chance.random() < 0.8 else None,
                    escalated_at=sent_at if chance.random() < 0.3 else None,
                )
        for _ in range(int(chance.integers(0, 12))):
            moment = DAY + timedelta(seconds=int(chance.integers(0, 48_000)))
            kind = _one_of(chance, [*[ResponseKind.ACKNOWLEDGED] * 3, *[ResponseKind.FLAT] * 3, *OPEN])
            is_word = kind is not ResponseKind.ACKNOWLEDGED
            about = "" if is_word or chance.random() < 0.2 else f"{grid}{int(chance.integers(40))}"
            known_at = moment + timedelta(seconds=int(chance.integers(1, 9_000))) if chance.random() < 0.3 else None
            responses.append(Response(grid=grid, at=moment, kind=kind, page=about, known_at=known_at))
    return OperatorFacts(
        notified=notified,
        deliveries=deliveries,
        responses=responses,
        evaluations=pl.DataFrame(rows, schema=EVALUATED_SCHEMA, orient="row"),
    )


def refuted(word: Response, responses: Sequence[Response], as_of: datetime) -> bool:
    """Whether a report of flat was not true, as far as it is known."""
    opened = [one for one in responses if one.grid == word.grid and one.kind in OPEN and one.counts_from <= as_of]
    opened.sort(key=lambda one: one.counts_from)
    for one in opened:
        if one.counts_from < word.counts_from and one.at > word.at:
            return True
    later = [one for one in opened if one.counts_from >= word.counts_from]
    return bool(later) and (later[0].at, "contradicted") in [(one.at, one.kind.value) for one in later]


def page_reference(facts: OperatorFacts, one: Notified, as_of: datetime) -> dict[str, Any]:
    """What became of one page, straight from the definitions."""
    mine, page = one.decision, facts.deliveries.get(one.decision.page, PageDelivery())
    known = [other for other in facts.notified if other.decided_at <= as_of and other.decision.grid == mine.grid]
    later = sorted(
        (other for other in known if other.decision.evaluated_at > mine.evaluated_at),
        key=lambda other: other.decision.evaluated_at,
    )
    sent_at = page.sent_at if page.sent_at and page.sent_at <= as_of else None
    told_at = sent_at or one.decided_at
    ends = [
        other.decided_at
        for other in later
        if (other.decision.notice is Notice.NORMAL and other.decision.is_told) or other.started_at != one.started_at
    ]
    stands_until = ends[0] if ends else as_of
    mine_too = {mine.page} | {
        other.decision.page
        for other in later
        if other.decision.notice is mine.notice and other.decision.episode_at == mine.episode_at
    }
    acknowledged_at, flat_at = None, None
    for response in sorted(facts.responses, key=lambda response: response.at):
        if response.grid != mine.grid or response.counts_from > as_of:
            continue
        stands = mine.evaluated_at <= response.at <= stands_until
        is_said = mine.evaluated_at <= response.counts_from <= stands_until
        is_said &= one.started_at is None or response.at >= one.started_at
        is_true = response.kind in FLATS and not refuted(response, facts.responses, as_of)
        if is_true and (stands or is_said) and mine.notice is not Notice.NORMAL:
            flat_at = flat_at or response.at
        if response.kind is ResponseKind.ACKNOWLEDGED and (response.page in mine_too or (not response.page and stands)):
            acknowledged_at = acknowledged_at or response.at
    answered = None
    if one.respond_by is not None and sent_at is not None:
        newer = [o.decided_at for o in later if o.decision.is_told and o.decision.evaluated_at < one.respond_by]
        limit = min([one.respond_by, *newer[:1]])
        in_time = [moment for moment in (acknowledged_at, flat_at) if moment is not None and moment <= limit]
        answered = True if in_time else None if newer or as_of < one.respond_by else False
    actionable = None
    if mine.notice in (MANDATORY, LATEST) and one.respond_by is not None:
        actionable = True if as_of >= one.respond_by else None
        milder = {"NORMAL", "WARNING"} | ({LATEST.value} if mine.notice is MANDATORY else set())
        withdrawn = [
            moment
            for grid, moment, _, state, _ in sorted(facts.evaluations.rows())
            if grid == mine.grid and mine.evaluated_at < moment <= min(one.respond_by, as_of) and state in milder
        ]
        actionable = False if withdrawn else actionable
        if flat_at is not None and flat_at <= (withdrawn[0] if withdrawn else one.respond_by):
            actionable = True
    return {
        "sent": sent_at is not None,
        "late": sent_at is not None and sent_at > mine.evaluated_at + LATE,
        "escalated": page.escalated_at is not None and page.escalated_at <= as_of,
        "acknowledge_s": None if acknowledged_at is None else max(0.0, (acknowledged_at - told_at).total_seconds()),
        "flat_s": None if flat_at is None else max(0.0, (flat_at - told_at).total_seconds()),
        "answered": answered,
        "actionable": actionable,
    }


def quantile(values: list[float], share: float) -> float | None:
    """Linear between order statistics."""
    if not values:
        return None
    ordered, place = sorted(values), share * (len(values) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def mean(values: list[bool]) -> float | None:
    """Share that is true; None of nothing."""
    return sum(values) / len(values) if values else None


def row_reference(facts: OperatorFacts, grid: str, notice: str, as_of: datetime) -> dict[str, Any]:
    """KPIs of one grid and notice over everything that is known."""
    told = [one for one in facts.notified if one.decision.is_told and one.decided_at <= as_of]
    held = [one for one in facts.notified if not one.decision.is_told and one.decided_at <= as_of]
    pages = [
        page_reference(facts, one, as_of)
        for one in told
        if (one.decision.grid, one.decision.notice.value) == (grid, notice)
    ]
    times = {name: [page[name] for page in pages if page[name] is not None] for name in ("acknowledge_s", "flat_s")}
    windows = [page["answered"] for page in pages if page["answered"] is not None]
    judged = [page["actionable"] for page in pages if page["actionable"] is not None]
    bars = {
        moment for name, moment, _, _, live in facts.evaluations.rows() if name == grid and live and moment <= as_of
    }
    return {
        "watched_days": len(bars) / 96,
        "pages": len(pages),
        "pages_per_30d": len(pages) * 30 * 96 / len(bars) if bars else None,
        "unsent": sum(not page["sent"] for page in pages),
        "late": sum(page["late"] for page in pages),
        "escalated": sum(page["escalated"] for page in pages),
        "held_back": sum((one.decision.grid, one.decision.notice.value) == (grid, notice) for one in held),
        "acknowledged": len(times["acknowledge_s"]),
        "acknowledge_p50_s": quantile(times["acknowledge_s"], 0.5),
        "acknowledge_p90_s": quantile(times["acknowledge_s"], 0.9),
        "flat": len(times["flat_s"]),
        "flat_p50_s": quantile(times["flat_s"], 0.5),
        "flat_p90_s": quantile(times["flat_s"], 0.9),
        "windows": len(windows),
        "answered_in_window_share": mean(windows),
        "missed": windows.count(False),
        "exits_judged": len(judged),
        "actionable_share": mean(judged),
    }
