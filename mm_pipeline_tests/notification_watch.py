"""A watch over scripted states: its journal, deciding, pages and delivery are real; there is no run and no network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import polars as pl

from mm_pipeline.adapters.journal import DecisionRecord, Journal
from mm_pipeline.application.notify import decide_and_page
from mm_pipeline.application.opening.channels import Delivery, delivery_of
from mm_pipeline.application.plan import Plan
from mm_pipeline.application.record_evaluations import journal_decisions
from mm_pipeline.application.watch import Watch
from mm_pipeline.contracts import states as contracts
from mm_pipeline.domain.advice import Advice
from mm_pipeline.domain.evaluation_kind import EvaluationKind
from mm_pipeline.domain.exit_state import TRIGGERS
from mm_pipeline.domain.grid import Grid
from mm_pipeline.domain.instants import to_ms
from mm_pipeline.domain.notifications import (
    EMERGENCY,
    Accepted,
    Channel,
    ChannelError,
    Message,
    ReceiptState,
    ReceiptStatus,
)
from mm_pipeline.reporting.notification_frame import GridStates
from mm_pipeline.settings import Settings
from mm_pipeline_tests.notification_stories import BAR, LETTERS, NOON

FIRED: Mapping[str, tuple[str, ...]] = {
    "W": ("transition_likely", "confidence_declining"),
    "L": ("volatility_expanded",),
    "M": ("closes_outside",),
    "X": ("regime_trend", "closes_outside"),
    "S": ("closes_outside",),
    "T": ("closes_outside", "stop_loss_breached"),
    "H": ("closes_outside", "stop_loss_breached"),
}
"""Triggers of a letter of ``notification_stories``."""
WRITTEN_BY = {"settings_hash": "c3d4", "code_version": "0.1.0"}


@dataclass
class MovingClock:
    """A clock that goes where it is told to."""

    at: datetime = NOON

    def now(self) -> datetime:
        return self.at

    def now_ms(self) -> int:
        return to_ms(self.at)


@dataclass(frozen=True)
class ScriptedRow:
    """What was said of a grid at an evaluation: a letter, under a declaration, from bars of this hash."""

    at: datetime
    letter: str
    grid: Grid
    input_hash: str = "first"
    last_known: str | None = None
    reason: str = "newest bar closed 47 min ago, more than 35 min (data.max_age)"

    @property
    def kind(self) -> EvaluationKind:
        return EvaluationKind(str(LETTERS[self.letter].get("kind", "exit")))

    def as_row(self) -> dict[str, Any]:
        """As the exit or entry states have it."""
        state = LETTERS[self.letter]["state"]
        row = {
            "grid": self.grid.id,
            "evaluated_at": self.at,
            "state": state,
            "price": 3200.0 if self.letter == "S" else 3100.0,
            "reasons": [self.reason] if state in ("UNKNOWN", "AVOID", "WAIT") else list(FIRED.get(self.letter, ())),
            "policy": "seed",
            "grid_version": self.grid.version_hash,
            "verdict": "TREND",
            "confidence": 0.41,
            "input_hash": self.input_hash,
        }
        return row | (self._entry() if self.kind is EvaluationKind.ENTRY else self._exit())

    def _exit(self) -> dict[str, Any]:
        fired = {
            name: {"value": 2.0, "threshold": 1.0, "margin": 1.0, "fired": name in FIRED.get(self.letter, ())}
            for name in TRIGGERS
        }
        return fired | {
            "position_health": "ABOVE_GRID" if self.letter == "S" else "IN_GRID",
            "distance_to_stop_atr": 2.6,
            "stop_loss_risk": "MEDIUM",
            "risk_level": "UNKNOWN" if self.letter == "U" else "LOW",
            "counterfactual": [],
            "last_known_state": self.last_known if self.letter == "U" else None,
            "lower": self.grid.lower,
            "upper": self.grid.upper,
            "stop_loss": self.grid.stop_loss,
        }

    def _entry(self) -> dict[str, Any]:
        return {"proposed_lower": 3000.0, "proposed_upper": 3300.0, "proposed_levels": 8, "proposed_stop_loss": 2900.0}


def frame_of(rows: list[ScriptedRow], kind: EvaluationKind) -> pl.DataFrame:
    """Exit or entry states; see their contracts."""
    contract = contracts.EXIT if kind is EvaluationKind.EXIT else contracts.ENTRY
    return pl.DataFrame([row.as_row() for row in rows if row.kind is kind], schema=dict(contract.columns))


@dataclass
class ScriptedWatch:
    """What notifying asks of a :class:`~mm_pipeline.application.watch.Watch`, and a live run in its steps."""

    journal: Journal
    channels: Mapping[str, Channel]
    settings: Settings
    clock: MovingClock
    written_by: Mapping[str, str] = field(default_factory=lambda: WRITTEN_BY)

    def decisions(self) -> Journal:
        return self.journal

    def now(self) -> datetime:
        return self.clock.now()

    def delivery(self) -> Delivery:
        return delivery_of(
            self.journal, self.channels, settings=self.settings, clock=self.clock, written_by=self.written_by
        )

    def bars(self, _plan: object) -> dict[object, object]:
        raise LookupError("there are no candles to draw")

    def record(self, at: datetime, rows: Mapping[str, list[ScriptedRow]]) -> None:
        """Journal the evaluations that are due."""
        for grid, known in rows.items():
            advice = Advice(*(frame_of(known, kind) for kind in (EvaluationKind.EXIT, EvaluationKind.ENTRY)))
            journal_decisions(cast("Watch", self), _plan(at), grid, advice)

    def tell(self, at: datetime, rows: Mapping[str, list[ScriptedRow]]) -> list[DecisionRecord]:
        """Decide about what is live, and commit its pages."""
        states = {
            (grid, kind): GridStates(
                rows=frame, grids={row.grid.version_hash: row.grid for row in known}, kind=kind.value
            )
            for grid, known in rows.items()
            for kind in EvaluationKind
            if (frame := frame_of(known, kind)).height
        }
        made = decide_and_page(cast("Watch", self), _plan(at), states)
        assert made.problems == {}
        return made.decided


def _plan(at: datetime) -> Plan:
    return cast("Plan", SimpleNamespace(is_live=True, evaluated_at=at, grids=()))


class Killed(BaseException):
    """The process ends here: nothing below the operating system may catch it."""


@dataclass
class Emergency:
    """An alarm at the provider."""

    message: Message
    sent_at: datetime
    acknowledged_at: datetime | None = None
    cancelled_at: datetime | None = None

    def expires_at(self) -> datetime:
        assert self.message.expire_s is not None
        return self.sent_at + timedelta(seconds=self.message.expire_s)

    def status(self, now: datetime) -> ReceiptStatus:
        if self.acknowledged_at is not None:
            return ReceiptStatus(state=ReceiptState.ACKNOWLEDGED, at=self.acknowledged_at, by="phone")
        ended_at = min(filter(None, (self.cancelled_at, self.expires_at())))
        if now >= ended_at:
            return ReceiptStatus(state=ReceiptState.EXPIRED, at=ended_at)
        return ReceiptStatus(state=ReceiptState.OPEN)


@dataclass
class ScriptedProvider:
    """A channel in memory, with emergencies; ``answers`` are what it does next, and then it is healthy.

    ``ok``; ``busy`` (5xx, not taken); ``lost`` (taken, the answer did not come); ``refused`` (4xx, or status 0);
    ``broken`` (an error that nobody foresaw); ``killed`` before it is taken, ``killed_after`` it is.
    """

    name: str
    clock: MovingClock
    answers: list[str] = field(default_factory=list)
    is_spent: bool = False
    is_mute: bool = False
    accepted: list[Message] = field(default_factory=list)
    emergencies: dict[str, Emergency] = field(default_factory=dict)

    def send(self, message: Message) -> Accepted:
        answer = self.answers.pop(0) if self.answers else "ok"
        if answer == "killed":
            raise Killed
        if answer == "busy":
            raise ChannelError("the provider answered 503.", is_final=False, retry_after_s=5)
        if answer == "broken":
            raise RuntimeError("a fault of the program")
        if answer == "refused" or self.is_spent:
            raise ChannelError("the provider answered 400.", "Check the key.", is_final=True)
        receipt = self._take(message)
        if answer == "lost":
            raise ChannelError("the provider's answer did not come.", is_final=False, is_unclear=True)
        if answer == "killed_after":
            raise Killed
        return Accepted(request="r", receipt=receipt, quota_remaining=9_000, quota_limit=10_000)

    def _take(self, message: Message) -> str | None:
        self.accepted.append(message)
        if message.priority != EMERGENCY:
            return None
        receipt = f"{self.name}-{len(self.emergencies)}"
        self.emergencies[receipt] = Emergency(message, self.clock.now())
        return receipt

    def receipt(self, receipt: str) -> ReceiptStatus:
        self._answer()
        return self.emergencies[receipt].status(self.clock.now())

    def cancel(self, tag: str) -> None:
        self._answer()
        for emergency in self.ringing().values():
            if tag in emergency.message.tags:
                emergency.cancelled_at = self.clock.now()

    def ringing(self) -> dict[str, Emergency]:
        """By receipt, what nobody has acknowledged or ended, and that has not expired."""
        now = self.clock.now()
        return {receipt: one for receipt, one in self.emergencies.items() if one.status(now).state is ReceiptState.OPEN}

    def _answer(self) -> None:
        if self.is_mute:
            raise ChannelError("the provider does not answer.", is_final=False)


def at_bar(bar: int) -> datetime:
    """Evaluation of a bar."""
    return NOON + bar * BAR
