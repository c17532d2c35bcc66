"""Decisions and reports for the tests of pages, and every kind of page they make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from mm_pipeline.domain.exit_state import TRIGGERS
from mm_pipeline.domain.grid import Grid
from mm_pipeline.domain.notifications.decision import Cause, Decision, Notice
from mm_pipeline.domain.notifications.delay_risk import DelayRisk
from mm_pipeline.domain.notifications.policy import NotifyPolicy
from mm_pipeline.reporting.grid_report import GridReport, TriggerReading
from mm_pipeline.reporting.pages.text import PageText, marked, page_text

AT = datetime(2024, 5, 1, 3, 0, tzinfo=UTC)
M15 = timedelta(minutes=15)
POLICY = NotifyPolicy.model_validate(
    {
        "max_lateness": "20min",
        "decided_after": "1min",
        "mandatory_exit": {
            "priority": 2,
            "window": "15min",
            "retry": "60s",
            "expire": "3h",
            "quick_reissues": 4,
            "then_every": "6h",
            "episode_ends_after": "24h",
        },
        "latest_acceptable_exit": {"priority": 1, "window": "60min", "repeat": "60min"},
        "warning": {"push": True, "priority": 0, "window": "4h", "min_interval": "4h"},
        "normal": {"priority": -1, "after_evaluations": 2},
        "unknown": {
            "priority": 1,
            "after_evaluations": 2,
            "flapping_count": 4,
            "flapping_of": 8,
            "second_after": "4h",
            "third_after": "12h",
            "then_every": "1d",
        },
        "sold_out": {"priority": 0, "dust_share": 0.1},
        "reminder": {"priority": 0, "first_after": "4h", "then_every": "24h"},
        "still_enabled": {"priority": -1, "after": "24h"},
        "enter": {"priority": 0, "min_interval": "4h"},
        "budget": {"pages": 12, "per": "1d"},
    }
)
READINGS = {
    "regime_trend": (1.0, 1.0),
    "range_invalidated": (0.81, 0.5),
    "closes_outside": (3.0, 2.0),
    "stop_loss_breached": (2981.4, 2990.0),
    "transition_persists": (5.0, 4.0),
    "half_life_doubled": (0.41, 0.5),
    "volatility_expanded": (1.31, 1.25),
    "transition_likely": (0.47, 0.4),
    "confidence_declining": (0.15, 0.1),
    "efficiency_rising": (0.51, 0.42),
    "reversion_slowing": (0.6, 0.67),
}
RISK = DelayRisk(
    capital_at_risk_quote={"15m": 12.1, "1h": 25.3, "4h": 51.0, "24h": 88.0},
    giveback_p50_quote={"15m": 0.4, "1h": 1.1, "4h": 3.2, "24h": 6.1},
    giveback_p90_quote={"15m": 7.9, "1h": 16.4, "4h": 33.5, "24h": 61.7},
    worst_case_quote=153.0,
    source="modelled",
    stop_probability={"4h": 0.12, "24h": 0.62},
)
STALE = "newest bar closed 47 min ago, more than 35 min (data.max_age)"


def a_grid(**changes: Any) -> Grid:
    declared: dict[str, Any] = {
        "id": "eth-main",
        "exchange": "kucoin",
        "symbol": "ETH/USDT",
        "enabled": True,
        "lower": 3070.0,
        "upper": 3185.0,
        "levels": 6,
        "spacing": "arithmetic",
        "stop_loss": 2990.0,
        "capital": 1000.0,
        "fee": 0.001,
        "started_at": datetime(2024, 4, 20, tzinfo=UTC),
    }
    return Grid.model_validate(declared | changes)


def fired(*names: str, since: datetime = AT) -> tuple[TriggerReading, ...]:
    """Every trigger; those named have fired."""
    return tuple(
        TriggerReading(name, value, threshold, None, name in names, since if name in names else None)
        for name, (value, threshold) in READINGS.items()
    )


def a_report(state: str, *on: str, **changes: Any) -> GridReport:
    values: dict[str, Any] = {
        "grid_id": "eth-main",
        "grid": a_grid(),
        "evaluated_at": AT,
        "state": state,
        "since": AT,
        "price": 3061.25,
        "position_health": "BELOW_GRID",
        "distance_to_stop_atr": 2.6,
        "stop_loss_risk": "MEDIUM",
        "verdict": "TRANSITION",
        "confidence": 0.41,
        "triggers": fired(*on),
        "reasons": on,
        "policy": "calibrated",
    }
    return GridReport(**values | changes)


def decided(notice: Notice, cause: Cause = Cause.CHANGE, *, number: int = 1, **changes: Any) -> Decision:
    """A decision whose episode began 15 minutes before each further page."""
    values: dict[str, Any] = {
        "grid": "eth-main",
        "evaluated_at": AT,
        "kind": "entry" if notice is Notice.ENTER else "exit",
        "notice": notice,
        "state": "MANDATORY_EXIT" if notice is Notice.SOLD_OUT else notice.value,
        "cause": cause,
        "episode_at": AT - (number - 1) * M15,
        "number": number,
        "triggers": (),
        "page": "page-1",
    }
    return Decision(**values | changes)


def with_cost(report: GridReport, risk: DelayRisk) -> GridReport:
    """The report of a grid that holds something, with what waiting may cost."""
    held = {
        "source": "exchange",
        "inventory_base": 0.2517,
        "equity_quote": 968.4,
        "total_pnl_quote": -31.6,
        "grid_profit_quote": 6.24,
        "unrealised_quote": -37.07,
        "capital_utilization": 0.98,
        "worst_case_quote": risk.worst_case_quote,
        "risk_unknown": None,
    }
    for name in ("capital_at_risk", "giveback_p50", "giveback_p90"):
        by_delay = getattr(risk, f"{name}_quote")
        held |= {f"{name}_{delay}_quote": amount for delay, amount in by_delay.items()}
    held |= {f"p_stop_{horizon}": share for horizon, share in risk.stop_probability.items()}
    return replace(report, risk=held)


def _nothing_held(report: GridReport) -> dict[str, Any]:
    return {**(with_cost(report, RISK).risk or {}), "inventory_base": 0.0, "source": "modelled"}


def said(decision: Decision, report: GridReport, risk: DelayRisk | None = RISK) -> PageText:
    return page_text([decision], {decision.grid: with_cost(report, risk) if risk else report}, POLICY)


def blind(*ids_and_states: tuple[str, str | None], number: int = 1, **changes: Any) -> PageText:
    """A page of grids that share a cause."""
    cause = Cause.CHANGE if number == 1 else Cause.REPEAT
    decisions = [decided(Notice.UNKNOWN, cause, number=number, grid=name) for name, _ in ids_and_states]
    reports = {
        name: a_report(
            "UNKNOWN",
            **{"grid_id": name, "grid": a_grid(id=name), "reasons": (STALE,), "last_known_state": state} | changes,
        )
        for name, state in ids_and_states
    }
    return page_text(decisions, reports, POLICY)


PROPOSAL = {"lower": 2590.0, "upper": 2760.0, "levels": 12, "stop_loss": 2510.0}
STOP = ("closes_outside", "stop_loss_breached")


def pages() -> dict[str, PageText]:
    """Every notice in its main variants."""
    exit_, latest, warning = Notice.MANDATORY_EXIT, Notice.LATEST_ACCEPTABLE_EXIT, Notice.WARNING
    breached = a_report(
        exit_, *STOP, "volatility_expanded", price=2958.1, distance_to_stop_atr=-1.06, stop_loss_risk="BREACHED"
    )
    standing = a_report(
        exit_, *STOP, since=AT - timedelta(hours=3), price=2993.0, distance_to_stop_atr=0.1, stop_loss_risk="CRITICAL"
    )
    two = a_report(
        latest,
        *("transition_persists", "volatility_expanded", "transition_likely"),
        price=3101.5,
        position_health="IN_GRID",
        reasons=("transition_persists", "no baseline of reversion speed"),
    )
    warned = a_report(warning, "transition_likely", "confidence_declining", "half_life_doubled")
    calm: dict[str, Any] = {"price": 3120.0, "position_health": "IN_GRID", "verdict": "RANGE_OK", "confidence": 0.71}
    entering = a_report(
        "ENTER", grid=a_grid(enabled=False), triggers=(), reasons=(), proposal=PROPOSAL, **calm | {"price": 2680.11}
    )
    coin = a_grid(symbol="PEPE/BTC", lower=1.1e-7, upper=1.4e-7, stop_loss=9e-8)
    return {
        "mandatory exit, change": said(decided(exit_), breached),
        "mandatory exit, all triggers on": said(decided(exit_), a_report(exit_, *TRIGGERS)),
        "mandatory exit, new trigger": said(
            decided(exit_, Cause.NEW_TRIGGER, number=2),
            a_report(
                exit_, since=AT - M15, triggers=fired("regime_trend", since=AT - M15)[:1] + fired("closes_outside")[1:]
            ),
        ),
        "mandatory exit, reissued": said(
            decided(exit_, Cause.REISSUE, number=2, episode_at=AT - timedelta(hours=3)), standing
        ),
        "mandatory exit, stopped out": page_text(
            [decided(exit_)], {"eth-main": replace(with_cost(breached, RISK), risk=_nothing_held(breached))}, POLICY
        ),
        "mandatory exit, reissued in a milder state": said(
            decided(
                exit_,
                Cause.REISSUE,
                number=6,
                state="WARNING",
                triggers=("closes_outside",),
                episode_at=AT - timedelta(hours=18),
            ),
            warned,
        ),
        "reminder": said(decided(Notice.REMINDER, Cause.REPEAT, number=2, state="MANDATORY_EXIT"), standing),
        "still enabled": said(decided(Notice.STILL_ENABLED, state="MANDATORY_EXIT"), standing),
        "mandatory exit, no risk known": said(decided(exit_), breached, None),
        "mandatory exit, nothing known": page_text([decided(exit_)], {}, POLICY),
        "mandatory exit, tiny prices": said(
            decided(exit_), a_report(exit_, "regime_trend", grid=coin, price=1.0732e-7), None
        ),
        "latest acceptable exit, change": said(decided(latest), two),
        "latest acceptable exit, still unacknowledged": said(
            decided(latest, Cause.REPEAT, number=5), replace(two, since=AT - 4 * M15)
        ),
        "warning, change": said(decided(warning), warned),
        "normal": said(decided(Notice.NORMAL), a_report("NORMAL", "volatility_expanded", since=AT - M15, **calm)),
        "unknown, one grid": blind(("eth-main", "NORMAL")),
        "unknown, never evaluated": blind(
            ("eth-main", None), price=None, grid=None, reasons=("eth-main.yaml: bad key",)
        ),
        "unknown, standing exit": blind(("eth-main", "MANDATORY_EXIT"), number=2),
        "unknown, several grids": blind(("eth-main", "WARNING"), ("eth-wide", "NORMAL"), ("eth-low", None), number=3),
        "unknown, several grids, standing exit": blind(("eth-main", "NORMAL"), ("eth-wide", "MANDATORY_EXIT")),
        "sold out": said(
            decided(Notice.SOLD_OUT),
            a_report("MANDATORY_EXIT", "closes_outside", price=3230.0, position_health="ABOVE_GRID"),
        ),
        "enter": said(decided(Notice.ENTER), entering),
        "late": marked_page(said(decided(exit_), breached), late_by=timedelta(minutes=45)),
        "late, perhaps twice, a test": marked_page(
            said(decided(latest), two), late_by=timedelta(hours=7, minutes=5), may_be_duplicate=True, is_test=True
        ),
    }


def marked_page(page: PageText, **marks: Any) -> PageText:
    return marked(page.title, page.text, **{"late_by": None, "may_be_duplicate": False} | marks)


def rendered(named: Mapping[str, PageText]) -> str:
    parts = (f"=== {name}\n[{page.title}]\n{page.text}\n" for name, page in named.items())
    return "\n".join(parts)
