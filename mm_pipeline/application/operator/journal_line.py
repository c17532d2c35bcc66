"""One line of the journal, and how each record tells itself. What is read, and in what order, does not belong here."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from mm_pipeline.adapters.journal import (
    CircuitChange,
    DecisionRecord,
    DeliveryEvent,
    DeliveryOutcome,
    Evaluation,
    GridHistoryRow,
    Incident,
    Page,
    ResponseRecord,
)
from mm_pipeline.domain.candles import HEALTHY
from mm_pipeline.domain.instants import from_ms
from mm_pipeline.domain.plain_text import plain_text
from mm_pipeline.reporting.price_words import price_text, stop_text

GRID_NOTICE: Final = "grid:"
"""How a notice about a grid's file begins its subject."""
WATCH_NOTICE: Final = "pipeline"
"""Subject of notices about the watch itself."""


class LineKind(StrEnum):
    """What a line is about; of equal times in this order."""

    GRID = "grid"
    NOTICE = "notice"
    EVALUATION = "evaluation"
    CHANGE = "change"
    DECISION = "decision"
    PAGE = "page"
    DELIVERY = "delivery"
    RESPONSE = "response"
    CIRCUIT = "circuit"


@dataclass(frozen=True, kw_only=True)
class JournalLine:
    """One thing that happened.

    Attributes
    ----------
    at
        When: of an evaluation its bar's close.
    subject
        The grid or grids, the market, the circuit, or ``watch``.
    what
        The state, notice or event, in one word where there is one.
    detail
        The rest, in words.
    data
        Everything that the journal has of it, for programs.
    """

    at: datetime
    kind: LineKind
    subject: str
    what: str
    detail: str
    data: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Keep what others wrote from steering the terminal."""
        for name in ("subject", "what", "detail"):
            object.__setattr__(self, name, plain_text(getattr(self, name)))

    def as_json(self) -> dict[str, Any]:
        """What ``mm journal --json`` prints of it."""
        return {"at": self.at, "kind": self.kind.value, "subject": self.subject, "what": self.what} | {
            "detail": self.detail,
            "data": self.data,
        }


def of_grid(row: GridHistoryRow, *, is_first: bool) -> JournalLine:
    """A declaration, or that it vanished."""
    grid = row.grid
    gone = "removed" if row.retired_by is None else "retired"
    what = gone if grid is None else "declared" if is_first else "changed"
    detail = f"in force from {row.valid_from:%Y-%m-%d %H:%M}"
    if row.retired_by is not None:
        detail = f"by {row.retired_by}, {detail}"
    if grid is not None:
        watched = "for its exit" if grid.enabled else "for its entry"
        bounds = f"{price_text(grid.lower)} to {price_text(grid.upper)}, stop {stop_text(grid.stop_loss)}"
        detail = f"{grid.market} {bounds}, watched {watched}, {detail}"
    data = {"grid": row.grid_id, "version_hash": row.version_hash, "valid_from": row.valid_from} | {
        "definition": None if grid is None else grid.model_dump(mode="json")
    }
    return JournalLine(at=row.seen_at, kind=LineKind.GRID, subject=row.grid_id, what=what, detail=detail, data=data)


def of_notice(notice: Incident) -> JournalLine:
    """What was wrong with a market, a grid's file or a run."""
    subject = notice.market.removeprefix(GRID_NOTICE)
    return JournalLine(
        at=notice.tick_at,
        kind=LineKind.NOTICE,
        subject="watch" if subject == WATCH_NOTICE else subject,
        what=notice.code,
        detail=notice.message,
        data=asdict(notice),
    )


def of_evaluation(one: Evaluation, kind: LineKind) -> JournalLine:
    """A state, and what it rests on."""
    because = ", ".join(one.fired) or "; ".join(one.reasons)
    parts = [price_text(one.price) if one.price is not None else "", because, "" if one.is_live else "seen later"]
    return JournalLine(
        at=one.evaluated_at,
        kind=kind,
        subject=one.grid,
        what=one.state,
        detail="  ".join(part for part in parts if part),
        data=asdict(one),
    )


def of_decision(decided: DecisionRecord) -> JournalLine:
    """What was decided to tell, or held back."""
    decision = decided.decision
    held = "" if decision.is_told else f", held back ({decision.held_back})"
    number = f", page {decision.number} since {decision.episode_at:%m-%d %H:%M}" if decision.number > 1 else ""
    return JournalLine(
        at=decided.decided_at,
        kind=LineKind.DECISION,
        subject=decision.grid,
        what=decision.notice.value,
        detail=f"{decision.cause.value.replace('_', ' ')}{number}{held}",
        data=asdict(decision)
        | {name: getattr(decided, name) for name in ("grid_version", "settings_hash", "code_version", "decided_at")},
    )


def of_page(page: Page) -> JournalLine:
    """A page as it was written."""
    asked = "" if page.respond_by is None else f"  (answer by {page.respond_by:%H:%M})"
    data = {name: value for name, value in asdict(page).items() if name != "image"}
    return JournalLine(
        at=page.decided_at,
        kind=LineKind.PAGE,
        subject=_subject(page),
        what=page.notice,
        detail=f"{page.title}{asked}",
        data=data,
    )


def of_delivery(event: DeliveryEvent, page: Page) -> JournalLine:
    """What happened to a page on a channel."""
    attempt = f", attempt {event.attempt}" if event.attempt > 1 else ""
    where = f" on {event.channel}{attempt}" if event.channel else ""
    detail = f": {event.detail}" if event.detail and event.event is not DeliveryOutcome.SENT else ""
    return JournalLine(
        at=event.at,
        kind=LineKind.DELIVERY,
        subject=_subject(page),
        what=event.event.value,
        detail=f"{page.notice}{where}{detail}",
        data={name: value for name, value in asdict(event).items() if name != "receipt"}
        | {"grids": list(page.grids), "notice": page.notice},
    )


def of_answer(answer: ResponseRecord) -> JournalLine:
    """What an operator did, or did not."""
    response = answer.response
    by = f" by {answer.by_whom}" if answer.by_whom else ""
    about = f", page {response.page}" if response.page else ""
    return JournalLine(
        at=response.at,
        kind=LineKind.RESPONSE,
        subject=response.grid or "watch",
        what=response.kind.value,
        detail=f"{answer.source}{by}{about}",
        data=asdict(response)
        | {name: getattr(answer, name) for name in ("source", "by_whom", "settings_hash", "code_version")}
        | {"recorded_at": answer.recorded_at},
    )


def of_circuit(change: CircuitChange) -> JournalLine:
    """A circuit that failed, or is well again."""
    state = change.state
    is_well = state == HEALTHY
    until = "" if state.open_until_ms is None else f", left alone until {from_ms(state.open_until_ms):%H:%M:%S}"
    failures = f"{state.failures} failure{'s' * (state.failures != 1)} in a row"
    return JournalLine(
        at=change.at,
        kind=LineKind.CIRCUIT,
        subject=change.name,
        what="well again" if is_well else "failing" if state.open_until_ms is None else "left alone",
        detail="" if is_well else f"{failures}{until}: {state.problem}",
        data={"name": change.name, "settings_hash": change.settings_hash, "code_version": change.code_version}
        | asdict(state),
    )


def _subject(page: Page) -> str:
    return ", ".join(page.grids) or "watch"
