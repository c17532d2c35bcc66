"""What a live run adds to the journal: the evaluations since the last, and those whose candles have changed since."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import polars as pl

from mm_pipeline.adapters.journal import Evaluation
from mm_pipeline.application.plan import Plan
from mm_pipeline.application.watch import Watch
from mm_pipeline.domain.advice import Advice
from mm_pipeline.domain.evaluation_kind import EvaluationKind
from mm_pipeline.domain.exit_state import TRIGGERS
from mm_pipeline.domain.market import Timeframe


def journal_decisions(watch: Watch, plan: Plan, grid_id: str, advice: Advice) -> list[Evaluation]:
    """Journal a grid's evaluations that are due; those that were new, oldest first.

    Due is what came after the last one journalled. The first ever is the newest alone: nobody watched before. Within
    the bars that are asked for again, an evaluation whose inputs have changed is journalled a second time; so is the
    run's own where it says something else than the run before (an error that ended).
    """
    if not plan.is_live:
        return []
    due = [
        *_due(watch, plan, grid_id, advice.exit_states, EvaluationKind.EXIT),
        *_due(watch, plan, grid_id, advice.entry_states, EvaluationKind.ENTRY),
    ]
    watch.decisions().record_evaluations(due, again_at=plan.evaluated_at)
    return sorted(due, key=lambda evaluation: evaluation.evaluated_at)


def _due(watch: Watch, plan: Plan, grid_id: str, states: pl.DataFrame, kind: EvaluationKind) -> list[Evaluation]:
    journal, at = watch.decisions(), pl.col("evaluated_at")
    last = journal.last_evaluation(grid_id)
    if last is None:
        return _evaluations(states.filter(at == plan.evaluated_at), kind, watch)
    asked_again = timedelta(milliseconds=watch.settings.exchange_access.reask_bars * Timeframe.M15.ms)
    known = journal.evaluations(grid_id, kind=kind, since=plan.evaluated_at - asked_again)
    newest = {row.evaluated_at: row for row in known}
    recent = states.filter((at > last.evaluated_at) | (at >= plan.evaluated_at - asked_again))
    return [
        row
        for row in _evaluations(recent, kind, watch)
        if row.evaluated_at > last.evaluated_at or _is_changed(row, newest.get(row.evaluated_at), plan)
    ]


def _is_changed(row: Evaluation, known: Evaluation | None, plan: Plan) -> bool:
    """Whether an evaluation is another than the one that was journalled last about its bar."""
    if known is None:
        return False
    is_own = row.evaluated_at == plan.evaluated_at
    return row.input_hash != known.input_hash or (is_own and _words(row) != _words(known))


def _words(one: Evaluation) -> tuple[object, ...]:
    return one.state, one.fired, one.reasons


def _evaluations(states: pl.DataFrame, kind: EvaluationKind, watch: Watch) -> list[Evaluation]:
    now, written_by, max_lateness = watch.now(), watch.written_by, watch.settings.notify.max_lateness
    return [
        Evaluation(
            grid=row["grid"],
            evaluated_at=row["evaluated_at"],
            kind=kind,
            input_hash=row["input_hash"],
            state=row["state"],
            price=row["price"],
            fired=fired_in(row),
            triggers={name: row[name] for name in TRIGGERS if row.get(name) is not None},
            reasons=tuple(row["reasons"]),
            grid_version=row["grid_version"] or "",
            settings_hash=written_by["settings_hash"],
            code_version=written_by["code_version"],
            is_live=now - row["evaluated_at"] <= max_lateness,
            recorded_at=now,
            risk=_risk_in(row),
            as_of=row["as_of"],
        )
        for row in states.iter_rows(named=True)
    ]


def _risk_in(row: dict[str, Any]) -> dict[str, Any] | None:
    if "risk_level" not in row:
        return None
    known = {name: value for name, value in (row.get("risk") or {}).items() if value is not None}
    return {"level": row["risk_level"], **known}


def fired_in(row: dict[str, Any]) -> tuple[str, ...]:
    """Names of the triggers that fired in a row of exit states; none in one of entry states."""
    return tuple(name for name in TRIGGERS if (row.get(name) or {}).get("fired"))
