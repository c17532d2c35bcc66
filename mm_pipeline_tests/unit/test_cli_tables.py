"""What an operator reads of an evaluation: tables, explanations, JSON and the report page say what the rows say."""

import io
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import polars as pl
import pytest
from rich.console import Console

from mm_pipeline.cli.output import iso, print_json
from mm_pipeline.domain.exit_state import TRIGGERS
from mm_pipeline.domain.grid import Grid
from mm_pipeline.rendering.html.report import html_report
from mm_pipeline.rendering.terminal.evaluation_tables import STATE_STYLES, evaluation_table, explanation, reason_text
from mm_pipeline.rendering.terminal.risk_cells import risk_cell, risk_facts
from mm_pipeline.reporting.grid_report import SEVERITY, GridReport, by_severity, report_of, state_since
from mm_pipeline.reporting.pages.limits import PageText
from mm_pipeline.reporting.price_words import age_text, price_text
from mm_pipeline.reporting.trigger_words import TRIGGER_WORDS, comparison_text, fires_at_text
from mm_pipeline_tests.page_samples import RISK, with_cost

NOW = datetime(2025, 3, 1, 12, 1, tzinfo=UTC)
AT = datetime(2025, 3, 1, 12, tzinfo=UTC)
GRID = Grid.model_validate(
    {
        "id": "eth",
        "exchange": "kucoin",
        "symbol": "ETH/USDT",
        "enabled": True,
        "lower": 3000.0,
        "upper": 3300.0,
        "levels": 6,
        "spacing": "arithmetic",
        "stop_loss": 2900.0,
        "capital": 1000.0,
        "fee": 0.001,
        "started_at": datetime(2025, 1, 1, tzinfo=UTC),
    }
)
QUIET = {"value": 0.5, "threshold": 1.0, "margin": -0.5, "fired": False, "since": None}
FIRED = {"value": 3.0, "threshold": 2.0, "margin": 1.0, "fired": True, "since": AT - timedelta(hours=2)}


def exit_row(state: str = "MANDATORY_EXIT", *, at: datetime = AT, fired: tuple[str, ...] = ("closes_outside",)) -> dict:  # type: ignore[type-arg]
    """A row of exit states."""
    return {
        "grid": "eth",
        "evaluated_at": at,
        "state": state,
        "price": 2987.5,
        "position_health": "BELOW_GRID",
        "distance_to_stop_atr": 3.4,
        "stop_loss_risk": "MEDIUM",
        **{name: FIRED if name in fired else QUIET for name in TRIGGERS},
        "counterfactual": [{"trigger": name, "state": "NORMAL"} for name in fired],
        "reasons": list(fired),
        "last_known_state": None,
        "policy": "seed",
        "verdict": "RANGE_WEAK",
        "confidence": 0.61,
    }


def report(state: str = "MANDATORY_EXIT", **options: object) -> GridReport:
    return report_of(GRID, pl.DataFrame([exit_row(state, **options)]))  # type: ignore[arg-type]


def printed(*parts: object, width: int = 160) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    for part in parts:
        console.print(part)
    return console.export_text()


def test_every_trigger_has_words_and_every_state_a_style() -> None:
    assert tuple(TRIGGER_WORDS) == TRIGGERS
    assert set(STATE_STYLES) == set(SEVERITY)


def test_table_tells_state_price_bounds_stop_verdict_and_why() -> None:
    text = printed(evaluation_table([report()], now=NOW))
    for told in (
        "eth",
        "kucoin:ETH/USDT",
        "MANDATORY_EXIT",
        "2,987.50",
        "3,000.00 to 3,300.00",
        "below the grid",
        "2,900.00",
        "3.4 ATR away",
        "RANGE_WEAK",
        "confidence 0.61",
        "closes_outside  3 >= 2 closes",
    ):
        assert told in text


@pytest.mark.parametrize("width", [60, 80, 100, 129])
def test_narrow_terminal_loses_nothing_that_matters(width: int) -> None:
    text = printed(evaluation_table([report()], now=NOW, width=width), width=width)
    for told in ("MANDATORY_EXIT", "eth", "2,987.50", "3,000.00 to 3,300.00", "RANGE_WEAK", "closes_outside  3 >= 2"):
        assert told in text
    whole = printed(explanation(report(), now=NOW, width=width), width=max(width, 80))
    assert "…" not in whole
    assert [line.split()[1] for line in whole.splitlines() if line.strip().startswith("!")] == ["closes_outside"]
    assert all(name in whole for name in TRIGGERS)


def test_most_urgent_grid_comes_first() -> None:
    states = ["NORMAL", "ENTER", "UNKNOWN", "WARNING", "MANDATORY_EXIT"]
    reports = [GridReport(grid_id=state.lower(), grid=None, evaluated_at=AT, state=state) for state in states]
    ordered = [one.state for one in by_severity(reports)]
    assert ordered == ["MANDATORY_EXIT", "UNKNOWN", "WARNING", "NORMAL", "ENTER"]
    text = printed(evaluation_table(reports, now=NOW))
    assert sorted(ordered, key=text.index) == ordered


def test_explanation_shows_every_trigger_and_the_state_without_it() -> None:
    text = printed(explanation(report(), now=NOW))
    lines = {name: next(line for line in text.splitlines() if f" {name} " in line) for name in TRIGGERS}
    assert [name for name, line in lines.items() if "FIRED" in line] == ["closes_outside"]
    assert "NORMAL" in lines["closes_outside"]
    assert "03-01 10:00" in lines["closes_outside"]
    assert ">= 2 closes" in lines["closes_outside"]


@pytest.mark.parametrize(
    ("name", "threshold", "said"),
    [
        ("stop_likely", 0.5, ">= 0.50"),
        ("stop_likely", None, "information"),
        ("regime_trend", 1.0, "yes"),
        ("regime_trend", None, "information"),
        ("stop_loss_breached", None, "<= - quote"),
    ],
)
def test_information_asks_for_nothing(name: str, threshold: float | None, said: str) -> None:
    assert fires_at_text(name, threshold) == said


def test_unreadable_grid_is_told_with_its_reason_and_standing_state() -> None:
    row = exit_row("UNKNOWN") | dict.fromkeys(TRIGGERS) | {"price": None, "last_known_state": "MANDATORY_EXIT"}
    row["reasons"] = ["eth.yaml: upper: is missing. Add the key with its value."]
    found = report_of(None, pl.DataFrame([row], strict=False))
    text = printed(evaluation_table([found], now=NOW))
    assert found.triggers == ()
    for told in ("UNKNOWN", "last known MANDATORY_EXIT", "file unreadable", "eth.yaml: upper"):
        assert told in text


@pytest.mark.parametrize("width", [80, 160])
def test_position_that_is_not_known_is_told_beside_the_reasons(width: int) -> None:
    found = replace(report("NORMAL"), risk={"position_unknown": "sells of 1 ETH rest, fills say 0"})
    assert "not known: sells of 1 ETH rest" in printed(reason_text(found), width=width)


def test_many_reasons_are_cut_and_the_explanation_has_them_all() -> None:
    found = GridReport(
        grid_id="eth", grid=GRID, evaluated_at=AT, state="UNKNOWN", reasons=tuple(f"cause {k}" for k in range(7))
    )
    table, whole = printed(evaluation_table([found], now=NOW)), printed(explanation(found, now=NOW))
    assert "and 4 more: mm evaluate --grid eth" in table
    assert [f"cause {k}" in table for k in range(7)] == [True] * 3 + [False] * 4
    assert all(f"cause {k}" in whole for k in range(7))


def test_disabled_grid_shows_no_stop_and_no_exit_words() -> None:
    disabled = GRID.model_copy(update={"enabled": False})
    row = {
        "grid": "eth",
        "evaluated_at": AT,
        "state": "ENTER",
        "price": 3100.0,
        "verdict": "RANGE_OK",
        "confidence": 0.7,
        "proposed_lower": 3050.0,
        "proposed_upper": 3150.0,
        "proposed_levels": 9,
        "proposed_stop_loss": 3000.0,
        "reasons": [],
        "policy": "seed",
    }
    found = report_of(disabled, pl.DataFrame([row]))
    text = printed(evaluation_table([found], now=NOW))
    assert "2,900.00" not in text
    assert "proposed 3,050.00 to 3,150.00, 9 levels, stop" in " ".join(text.split())
    assert found.as_json(now=NOW)["proposal"] == {"lower": 3050.0, "upper": 3150.0, "levels": 9, "stop_loss": 3000.0}
    assert found.as_json(now=NOW)["triggers"] == {}


def test_json_has_the_keys_of_the_contract(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"evaluated_at": AT, "grids": [report().as_json(now=NOW)]})
    data = json.loads(capsys.readouterr().out)
    [grid] = data["grids"]
    assert data["evaluated_at"] == "2025-03-01T12:00:00Z"
    assert {"grid", "state", "since", "price", "triggers", "risk", "age_s", "reasons"} <= set(grid)
    assert (grid["risk"], grid["age_s"]) == (None, 60)
    assert tuple(grid["triggers"]) == TRIGGERS
    assert grid["triggers"]["closes_outside"] == {
        "value": 3.0,
        "threshold": 2.0,
        "margin": 1.0,
        "fired": True,
        "since": "2025-03-01T10:00:00Z",
        "without": "NORMAL",
    }


def rows(*states: str, skip: int | None = None) -> pl.DataFrame:
    """Evaluations a quarter of an hour apart, one left out where asked."""
    every = [(AT + timedelta(minutes=15 * k), state) for k, state in enumerate(states) if k != skip]
    return pl.DataFrame(every, schema={"evaluated_at": pl.Datetime("ms", "UTC"), "state": pl.String}, orient="row")


@pytest.mark.parametrize(
    ("states", "skip", "began"),
    [
        (("NORMAL",), None, 0),
        (("NORMAL", "NORMAL"), None, 0),
        (("WARNING", "NORMAL", "NORMAL"), None, 1),
        (("NORMAL", "WARNING", "NORMAL"), None, 2),
        (("NORMAL", "NORMAL", "NORMAL", "NORMAL"), 1, 2),
    ],
)
def test_state_stands_since_its_unbroken_run_began(states: tuple[str, ...], skip: int | None, began: int) -> None:
    assert state_since(rows(*states, skip=skip)) == AT + timedelta(minutes=15 * began)


@pytest.mark.parametrize(
    ("minutes", "text"), [(0, "0 min"), (59, "59 min"), (61, "1 h 1 min"), (1500, "1 d 1 h"), (-5, "0 min")]
)
def test_age_is_told_in_its_two_largest_units(minutes: int, text: str) -> None:
    assert age_text(NOW - timedelta(minutes=minutes), NOW) == text


@pytest.mark.parametrize(
    ("price", "text"),
    [(60123.456, "60,123.46"), (0.52341, "0.5234"), (0.00001234, "0.00001234"), (3.8e-7, "0.0000003800"), (None, "-")],
)
def test_price_has_as_many_digits_as_it_needs(price: float | None, text: str) -> None:
    assert price_text(price) == text


def test_comparison_names_value_sign_threshold_and_unit() -> None:
    assert comparison_text("volatility_expanded", 1.309, 1.25) == "1.31 > 1.25 ratio"
    assert comparison_text("regime_trend", 1.0, 1.0) == "yes"
    assert comparison_text("half_life_doubled", None, 0.5) == "- <= 0.50 ratio"


class _Tags(HTMLParser):
    """Open tags that must be closed, and where pictures and links point."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in {"meta", "img"}:
            self.open.append(tag)
        self.sources += [value or "" for name, value in attrs if name in {"src", "href"}]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_report_page_is_well_formed_and_needs_nothing_from_outside() -> None:
    hostile = GridReport(
        grid_id="eth-2", grid=None, evaluated_at=AT, state="UNKNOWN", reasons=("<script>alert(1)</script> & more",)
    )
    page = html_report([report(), hostile], title="a <b>", now=NOW, charts={"eth": b"png"}, notes={"eth": "Fell out."})
    tags = _Tags()
    tags.feed(page)
    assert tags.open == []
    assert all(source.startswith(("#", "data:image/png;base64,")) for source in tags.sources)
    assert "<script>" not in page
    for told in ("MANDATORY EXIT", "Fell out.", "closes_outside", "&gt;= 2 closes", "2,987.50"):
        assert told in page


def test_report_tells_money_and_pages_and_fits_a_phone() -> None:
    known = replace(with_cost(report(), RISK), risk_level="HIGH")
    page = PageText("MANDATORY EXIT <i>eth</i>", "ETH touched your stop.\nStop the bot.")
    text = html_report([known], title="now", now=NOW, charts={}, pages={"eth": [page]})
    tags = _Tags()
    tags.feed(text)
    assert tags.open == []
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in text
    for told in (
        "Risk HIGH.",
        "PnL -31.60 USDT",
        "MANDATORY EXIT &lt;i&gt;eth&lt;/i&gt;",
        "ETH touched your stop.\nStop",
    ):
        assert told in text


def test_times_are_printed_in_utc_with_z() -> None:
    assert iso(AT) == "2025-03-01T12:00:00Z"
    assert iso(None) is None


@pytest.mark.parametrize(("state", "is_told"), [("NORMAL", True), ("UNKNOWN", False)])
def test_blind_grid_has_no_cost_of_waiting(state: str, *, is_told: bool) -> None:
    known = replace(with_cost(report(state=state), RISK), risk_level="LOW")
    lines = risk_facts(known)
    assert any("touched within 24 h: 62%" in line for line in lines) == is_told
    assert any("not known while the watch is blind" in line for line in lines) != is_told
    assert ("25.30" in risk_cell(known).plain) == is_told
    assert any("PnL -31.60" in line for line in lines), "what was earned is dated by its price"
