"""One grid's newest evaluation as every table, page and message reads it: a plain value, made from a row of states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import polars as pl

from mm_pipeline.domain.entry_state import ENTRY_STATES
from mm_pipeline.domain.exit_state import STATES, TRIGGERS
from mm_pipeline.domain.grid import Grid
from mm_pipeline.domain.market import Timeframe
from mm_pipeline.domain.notifications.delay_risk import HORIZONS, DelayRisk
from mm_pipeline.domain.risk import STOP_HORIZONS
from mm_pipeline.domain.risk.columns import figures_told

MODELLED: Final = "modelled"
"""What waiting may cost is always estimated along the modelled grid."""

_UNKNOWN: Final = "UNKNOWN"

SEVERITY: Final = ("MANDATORY_EXIT", "UNKNOWN", "LATEST_ACCEPTABLE_EXIT", "WARNING", "NORMAL", "AVOID", "WAIT", "ENTER")
"""States from what needs an operator first to what needs one last."""

if set(SEVERITY) != {*STATES, *ENTRY_STATES}:
    raise AssertionError("every state has its place in SEVERITY")


@dataclass(frozen=True)
class TriggerReading:
    """One trigger at one evaluation; ``without`` is the state that would stand had it not fired."""

    name: str
    value: float | None
    threshold: float | None
    margin: float | None
    fired: bool
    since: datetime | None
    without: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The struct of the exit states, with its counterfactual where it fired."""
        return {name: value for name, value in vars(self).items() if name != "name"}


@dataclass(frozen=True, kw_only=True)
class GridReport:
    """What is known of one grid at one evaluation.

    Attributes
    ----------
    grid
        Its declaration; None where its file cannot be read.
    since
        Evaluation that began the present run of this state, as far as was looked back.
    price, as_of
        Close of the newest bar that was used (quote), and when it closed; None where none was known.
    verdict, confidence
        Shown 1h verdict and its confidence.
    triggers
        All of them for an enabled grid; empty for a disabled one and where nothing could be evaluated.
    proposal
        ``lower, upper, levels, stop_loss`` proposed to a disabled grid (quote; prices).
    risk_level, risk
        LOW to HIGH; position and cost of waiting (``RISK_STRUCT``), None where nothing is known.
    """

    grid_id: str
    grid: Grid | None
    evaluated_at: datetime
    state: str
    since: datetime | None = None
    price: float | None = None
    as_of: datetime | None = None
    position_health: str | None = None
    distance_to_stop_atr: float | None = None
    stop_loss_risk: str | None = None
    verdict: str | None = None
    confidence: float | None = None
    triggers: tuple[TriggerReading, ...] = ()
    proposal: Mapping[str, float | None] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()
    last_known_state: str | None = None
    policy: str | None = None
    risk_level: str | None = None
    risk: Mapping[str, Any] | None = None

    @property
    def fired(self) -> tuple[TriggerReading, ...]:
        """The triggers that fired, in the order of the table of triggers."""
        return tuple(trigger for trigger in self.triggers if trigger.fired)

    @property
    def other_reasons(self) -> tuple[str, ...]:
        """Reasons that are not the name of a fired trigger."""
        names = {trigger.name for trigger in self.fired}
        return tuple(reason for reason in self.reasons if reason not in names)

    @property
    def is_late(self) -> bool:
        """Whether the bar that closed at the evaluation was not there yet: the state is one of an earlier moment."""
        return self.as_of is not None and self.as_of < self.evaluated_at

    @property
    def shown_state(self) -> str:
        """The state as it is shown: ``NORMAL as of 16:30`` where the newest bar was missing."""
        if not self.is_late or self.as_of is None or self.state == _UNKNOWN:
            return self.state
        is_same_day = self.as_of.date() == self.evaluated_at.date()
        return f"{self.state} as of {self.as_of:{'%H:%M' if is_same_day else '%m-%d %H:%M'}}"

    @property
    def severity(self) -> int:
        """Place in ``SEVERITY``."""
        return SEVERITY.index(self.state)

    def as_json(self, *, now: datetime) -> dict[str, Any]:
        """What ``mm evaluate --json`` prints of a grid; ``risk`` is null where nothing is known of its position."""
        return {
            "grid": self.grid_id,
            "state": self.state,
            "shown_state": self.shown_state,
            "since": self.since,
            "price": self.price,
            "as_of": self.as_of,
            "price_age_s": None if self.as_of is None else max(0, round((now - self.as_of).total_seconds())),
            "triggers": {trigger.name: trigger.as_json() for trigger in self.triggers},
            "risk": self._risk_as_json(),
            "age_s": max(0, round((now - self.evaluated_at).total_seconds())),
            "reasons": list(self.reasons),
            "verdict": self.verdict,
            "confidence": self.confidence,
            "position_health": self.position_health,
            "stop_loss_risk": self.stop_loss_risk,
            "last_known_state": self.last_known_state,
            "proposal": dict(self.proposal) or None,
            "policy": self.policy,
        }

    def _risk_as_json(self) -> dict[str, Any] | None:
        if self.risk is None and self.risk_level is None:
            return None
        return {"level": self.risk_level, **(self.risk or {})}

    @property
    def delay_risk(self) -> DelayRisk | None:
        """What waiting may cost; None where it is not known."""
        if self.risk is None or not figures_told(self.risk):
            return None
        told = self.risk
        return DelayRisk(
            capital_at_risk_quote={horizon: told[f"capital_at_risk_{horizon}_quote"] for horizon in HORIZONS},
            giveback_p50_quote={horizon: told[f"giveback_p50_{horizon}_quote"] for horizon in HORIZONS},
            giveback_p90_quote={horizon: told[f"giveback_p90_{horizon}_quote"] for horizon in HORIZONS},
            worst_case_quote=told["worst_case_quote"],
            source=MODELLED,
            stop_probability={
                horizon: told[f"p_stop_{horizon}"]
                for horizon in STOP_HORIZONS
                if told.get(f"p_stop_{horizon}") is not None
            },
        )


def report_of(
    grid: Grid | None, rows: pl.DataFrame, *, verdict: str | None = None, confidence: float | None = None
) -> GridReport:
    """Report of the newest evaluation.

    Parameters
    ----------
    grid
        Its declaration; None where its file cannot be read.
    rows
        Exit or entry states of this grid, ascending, at least one; the newest is reported, those before it tell since
        when the state stands.
    verdict, confidence
        Of the market's newest 1h bar; taken from the row where it has them.
    """
    row = rows.row(-1, named=True)
    without = {entry["trigger"]: entry["state"] for entry in row.get("counterfactual") or ()}
    proposed = {name: row[f"proposed_{name}"] for name in _PROPOSED if f"proposed_{name}" in row}
    return GridReport(
        grid_id=row["grid"],
        grid=grid,
        evaluated_at=row["evaluated_at"],
        state=row["state"],
        since=state_since(rows),
        price=row["price"],
        as_of=row.get("as_of"),
        position_health=row.get("position_health"),
        distance_to_stop_atr=row.get("distance_to_stop_atr"),
        stop_loss_risk=row.get("stop_loss_risk"),
        verdict=row.get("verdict", verdict),
        confidence=row.get("confidence", confidence),
        triggers=tuple(
            TriggerReading(name, **row[name], without=without.get(name))
            for name in TRIGGERS
            if row.get(name) is not None
        ),
        proposal={name: value for name, value in proposed.items() if value is not None},
        reasons=tuple(row["reasons"]),
        last_known_state=row.get("last_known_state"),
        policy=row["policy"],
        risk_level=row.get("risk_level"),
        risk=row.get("risk"),
    )


def state_since(rows: pl.DataFrame) -> datetime:
    """Evaluation that began the unbroken run of the newest row's state, among these rows; a gap breaks a run."""
    changed = (pl.col("state") != pl.col("state").last()) | (
        pl.col("evaluated_at").diff().shift(-1) > pl.duration(milliseconds=Timeframe.M15.ms)
    ).fill_null(False)
    last_other = rows.select(pl.arg_where(changed)).to_series()
    first = 0 if last_other.is_empty() else int(last_other[-1]) + 1
    began: datetime = rows["evaluated_at"][first]
    return began


def by_severity(reports: Sequence[GridReport]) -> list[GridReport]:
    """What needs an operator first comes first."""
    return sorted(reports, key=lambda report: (report.severity, report.grid_id))


_PROPOSED = ("lower", "upper", "levels", "stop_loss")
