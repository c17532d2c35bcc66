"""What a run shows an operator beside its frames: counts, newest bars, states, what fired, what went wrong."""

from __future__ import annotations

import base64
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import dagster as dg
import polars as pl

from mm_pipeline.adapters.candles.candle_store import MarketBars
from mm_pipeline.adapters.candles.stored import CandleUpdate
from mm_pipeline.adapters.journal import DecisionRecord, Evaluation, ResponseRecord
from mm_pipeline.application.delivery import DeliveryAttempt
from mm_pipeline.application.delivery.follow_up import FollowUp
from mm_pipeline.application.plan import WatchedGrid
from mm_pipeline.application.record_evaluations import fired_in
from mm_pipeline.domain.candles import DataPolicy, epoch_ms
from mm_pipeline.domain.instants import from_ms
from mm_pipeline.domain.market import Market, Timeframe
from mm_pipeline.domain.pipeline import Frames

if TYPE_CHECKING:
    from mm_pipeline.application.account_view import AccountView
    from mm_pipeline.application.decide_states import DecisionInputs

_logger = logging.getLogger(__name__)

MAX_CHARTS: Final = 3
"""Most pictures that one run draws; each costs a third of a second."""

Metadata = dict[str, Any]


@dataclass(frozen=True)
class Freshness:
    """How old a market's newest real bar is at the newest evaluation; None where it has none."""

    newest_close_at: datetime | None
    age_ms: int | None

    def is_fresh(self, policy: DataPolicy) -> bool:
        """Whether it is no older than ``data.max_age``."""
        return self.age_ms is not None and self.age_ms <= policy.max_age.total_seconds() * 1000


def freshness(bars: Mapping[Market, MarketBars], at_ms: int, policy: DataPolicy) -> dict[Market, Freshness]:
    """Freshness of each market."""
    found = {}
    for market, known in bars.items():
        real = known.bars.filter(~pl.col("is_synthetic"))
        close_ms = None if real.is_empty() else int(epoch_ms(real["close_time"])[-1])
        found[market] = Freshness(
            None if close_ms is None else from_ms(close_ms), None if close_ms is None else at_ms - close_ms
        )
    return found


def freshness_check(
    name: str, fresh: Mapping[Market, Freshness], problems: Mapping[Market, Exception], policy: DataPolicy
) -> dg.AssetCheckResult:
    """Warns of markets that are stale, or whose fetch failed although their bars are still young enough."""
    stale = [market for market, found in fresh.items() if not found.is_fresh(policy)]
    told = {str(market): str(problems.get(market, "the newest bar is older than data.max_age")) for market in stale}
    told |= {str(market): str(problem) for market, problem in problems.items()}
    return dg.AssetCheckResult(
        asset_key="candles", check_name=name, passed=not told, severity=dg.AssetCheckSeverity.WARN, metadata=told
    )


def of_candles(
    updates: Mapping[Market, CandleUpdate], problems: Mapping[Market, Exception], fresh: Mapping[Market, Freshness]
) -> Metadata:
    """Counts, requests, newest bars and problems, a row a market."""
    rows = [
        {
            "market": str(market),
            "rows": len(update.after.candles),
            "newest bar closed": _time(fresh[market].newest_close_at) if market in fresh else "",
            "quarantined": len(update.refused),
            "covered": _covered(update),
            "revised": len(update.revisions),
            "revisions waiting": update.after.waiting_ms.size,
            "requests": update.requests_made,
            "problem": str(problems.get(market, "")),
        }
        for market, update in updates.items()
    ]
    return {
        "requests_made": sum(update.requests_made for update in updates.values()),
        "quarantined_rows": sum(len(update.refused) for update in updates.values()),
        "covered_bars": sum(len(update.made) for update in updates.values()),
        "markets": table(rows),
        "problems": len(problems),
    }


def _covered(update: CandleUpdate) -> str:
    """What became of the bars that were refused: how many are made of which finer candles, or why none is."""
    counts = update.made["made_of"].value_counts().sort("made_of").rows()
    told = [f"{count} made of {name} candles" for name, count in counts]
    return ", ".join([*told, *([] if update.not_covered is None else [str(update.not_covered)])])


def of_markets(made: Mapping[Market, Frames], problems: Mapping[Market, Exception]) -> Metadata:
    """Rows and newest bar of each market and timeframe."""
    rows = [
        {"market": str(market), "timeframe": timeframe.value, "rows": len(frame), "newest bar": _newest(frame)}
        for market, frames in made.items()
        for timeframe, frame in frames.items()
    ]
    return {
        "markets": table(rows),
        "problems": table([{"market": str(market), "problem": str(error)} for market, error in problems.items()]),
    }


def of_grids(made: Mapping[str, pl.DataFrame], problems: Mapping[str, Exception]) -> Metadata:
    """Rows and newest analysis of each grid."""
    names = ("evaluated_at", "price", "position_health", "stop_loss_risk")
    rows = [{"grid": grid, **_last(frame, names)} for grid, frame in made.items()]
    return {
        "grids": table(rows),
        "problems": table([{"grid": grid, "problem": str(error)} for grid, error in problems.items()]),
    }


def of_states(
    frames: Mapping[str, pl.DataFrame],
    problems: Mapping[str, Exception],
    journalled: Mapping[str, list[Evaluation]],
    known: DecisionInputs,
) -> Metadata:
    """Newest state of each grid with what fired, and what was journalled; some pictures."""
    newest = {grid: frame.row(-1, named=True) for grid, frame in frames.items() if frame.height}
    rows = [
        {
            "grid": grid,
            "evaluated": _time(row["evaluated_at"]),
            "state": row["state"],
            "price": row["price"],
            "fired": ", ".join(fired_in(row)),
            "reasons": "; ".join(row["reasons"]),
        }
        for grid, row in newest.items()
    ]
    recorded = [evaluation for grid in frames for evaluation in journalled.get(grid, ())]
    return {
        "grids": table(rows),
        "journalled": len(recorded),
        "journalled_live": sum(evaluation.is_live for evaluation in recorded),
        "problems": table([{"grid": grid, "problem": str(error)} for grid, error in problems.items()]),
        **_charts(frames, known),
    }


def of_positions(
    asset: str, frames: Mapping[str, pl.DataFrame], seen: Mapping[str, AccountView], verified: Sequence[str]
) -> Metadata:
    """Each grid's newest row; which account shows it, and which exits it proves."""
    names = _SHOWN_OF[asset]
    rows = [{"grid": grid, **_last(frame, names)} for grid, frame in frames.items()]
    accounts = [
        {"grid": grid, "source": one.source.value, "known until": _time(one.at), "fills": one.position.fills}
        for grid, one in seen.items()
    ]
    told = {"accounts": table(accounts), "verified_flat": ", ".join(verified) or "none"}
    return {
        "grids": table(rows),
        **(told if asset == "positions" else {}),
    }


_SHOWN_OF: Final = {
    "positions": ("evaluated_at", "source", "inventory_base", "equity_quote", "total_pnl_quote", "capital_utilization"),
    "risk": ("evaluated_at", "worst_case_quote", "capital_at_risk_1h_quote", "giveback_p90_1h_quote", "risk_unknown"),
}


def of_notifications(frames: Mapping[str, pl.DataFrame], told: Sequence[DecisionRecord]) -> Metadata:
    """How often each notice was told and held back in these months, and what this run decided."""
    everything = pl.concat(frames.values()) if frames else None
    counts = (
        []
        if everything is None
        else everything.group_by("notice")
        .agg(told=pl.col("held_back").is_null().sum(), held_back=pl.col("held_back").is_not_null().sum())
        .sort("notice")
        .rows(named=True)
    )
    rows = [
        {
            "grid": one.decision.grid,
            "evaluated": _time(one.decision.evaluated_at),
            "notice": one.decision.notice.value,
            "cause": one.decision.cause.value,
            "held back": "" if one.decision.held_back is None else one.decision.held_back.value,
        }
        for one in told
    ]
    return {
        "notices": table([dict(row) for row in counts]),
        "decided_now": table(rows),
    }


def of_deliveries(
    frames: Mapping[str, pl.DataFrame],
    sent: Sequence[DeliveryAttempt],
    heard: FollowUp | None,
    *,
    heartbeat: str | None,
) -> Metadata:
    """What this run sent and heard, and whether the external heartbeat was beaten."""
    return {
        "attempts": table([{name: str(value) for name, value in vars(one).items()} for one in sent]),
        "answers": table([] if heard is None else [_answer(one) for one in heard.answers]),
        "problems": table([] if heard is None else [{"problem": problem} for problem in heard.problems]),
        "heartbeat": heartbeat or "none: not a live run",
    }


def _answer(one: ResponseRecord) -> dict[str, Any]:
    response = one.response
    return {"grid": response.grid, "answer": response.kind.value, "at": _time(response.at), "by": one.by_whom}


def table(rows: list[dict[str, Any]]) -> dg.MetadataValue[Any]:
    """Rows as a Markdown table."""
    if not rows:
        return dg.MetadataValue.md("none")
    lines = [" | ".join(rows[0]), " | ".join("---" for _ in rows[0])]
    lines += [" | ".join(_cell(value) for value in row.values()) for row in rows]
    return dg.MetadataValue.md("\n".join(f"| {line} |" for line in lines))


def _charts(frames: Mapping[str, pl.DataFrame], known: DecisionInputs) -> dict[str, dg.MetadataValue[Any]]:
    """Price over states: of grids whose state has just changed, and at a full hour or after a backfill of the others.

    Drawing costs a tick a second, so the ticks between draw only what is news.
    """
    is_due = not known.plan.is_live or known.plan.last_ms % Timeframe.H1.ms == 0
    told = [grid for grid in known.plan.grids if grid.versions and _has_price(frames.get(grid.grid_id))]
    changed = [grid for grid in told if _has_changed(frames[grid.grid_id])]
    others = [grid for grid in told if grid not in changed] if is_due else []
    charts: dict[str, dg.MetadataValue[Any]] = {}
    for grid in [*changed, *others][:MAX_CHARTS]:
        try:
            charts[f"chart {grid.grid_id}"] = _chart(grid, frames[grid.grid_id], known)
        except Exception:  # a picture for the UI must not delay a page
            _logger.exception("no chart of %s", grid.grid_id)
    return charts


def _chart(grid: WatchedGrid, rows: pl.DataFrame, known: DecisionInputs) -> dg.MetadataValue[Any]:
    from mm_pipeline.reporting.charts import state_chart_png

    declaration = grid.versions[-1].grid
    png = state_chart_png(known.views[declaration.market].bars.frame, rows, grid=declaration)
    picture = base64.b64encode(png).decode()
    return dg.MetadataValue.md(f"![{grid.grid_id}](data:image/png;base64,{picture})")


def _has_price(rows: pl.DataFrame | None) -> bool:
    return rows is not None and rows.height > 1 and rows["price"][-1] is not None


def _has_changed(rows: pl.DataFrame) -> bool:
    return bool(rows["state"][-1] != rows["state"][-2])


def _last(frame: pl.DataFrame, names: tuple[str, ...]) -> dict[str, Any]:
    row = frame.row(-1, named=True) if frame.height else {}
    return {name: _time(row[name]) if isinstance(row.get(name), datetime) else row.get(name) for name in names}


def _newest(frame: pl.DataFrame) -> str:
    return _time(frame["close_time"][-1]) if frame.height else ""


def _time(at: datetime | None) -> str:
    return "" if at is None else f"{at:%Y-%m-%d %H:%M}"


def _cell(value: object) -> str:
    text = "" if value is None else f"{value:,.6g}" if isinstance(value, float) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")
