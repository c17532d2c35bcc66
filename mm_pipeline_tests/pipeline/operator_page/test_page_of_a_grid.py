"""The page of one grid over real HTTP: its past, a moment of it with every trigger, and PnL that adds up."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from mm_pipeline.adapters.clock import SystemClock
from mm_pipeline.adapters.journal import Journal
from mm_pipeline.domain.instants import to_ms
from mm_pipeline.domain.notifications import Notice, ResponseKind
from mm_pipeline_tests.operator_samples import OperatedHome, answer, commit, decision, send
from mm_pipeline_tests.page_client import HOSTILE, PageBrowser, no_inline, served_page, text_of
from mm_pipeline_tests.page_home import AT, BAR, MINUTE, NOW, declared, judged
from mm_pipeline_tests.page_samples import RISK, a_report, with_cost

HELD = dict(with_cost(a_report("WARNING"), RISK).risk or {}) | {"level": "HIGH"}


def trigger(value: float, threshold: float, *, fired: bool) -> dict[str, Any]:
    margin = value - threshold
    return {"value": value, "threshold": threshold, "margin": margin, "fired": fired, "since": AT if fired else None}


@pytest.fixture
def journal(home: OperatedHome) -> Iterator[Journal]:
    """Two hours of calm, two of warning that was acknowledged, and an emergency."""
    with home.journal() as opened:
        declared(home, opened, "eth", at=AT)
        for bars in range(16, 0, -1):
            state = "NORMAL" if bars > 8 else "WARNING"
            triggers = {"transition_likely": trigger(0.3 if bars > 8 else 0.47, 0.4, fired=bars <= 8)}
            fired = ("transition_likely",) if bars <= 8 else ()
            judged(opened, state, at=AT - bars * BAR, price=3100.0 + bars, triggers=triggers, fired=fired)
        triggers = {
            "closes_outside": trigger(3.0, 2.0, fired=True),
            "transition_likely": trigger(0.2, 0.4, fired=False),
        }
        judged(opened, "MANDATORY_EXIT", at=AT, price=3061.25, triggers=triggers, fired=("closes_outside",), risk=HELD)
        began = AT - 8 * BAR
        page = commit(opened, decision(Notice.WARNING, began), decided_at=began + MINUTE)
        send(opened, page, began + 2 * MINUTE)
        answer(opened, ResponseKind.ACKNOWLEDGED, began + 5 * MINUTE, page=page)
        yield opened


@pytest.fixture
def browser(home: OperatedHome, journal: Journal) -> Iterator[PageBrowser]:
    with served_page(home.settings_file) as opened:
        opened.login()
        yield opened


def test_page_tells_states_pages_and_answers_newest_first(browser: PageBrowser) -> None:
    page = browser.get("/grid/eth")
    assert page.status == 200
    no_inline(page.body)
    seen = text_of(page)
    states = seen.split("Price and states")[1].split("What happened")[0]
    assert re.search(r"MANDATORY EXIT 03-02 12:00 .* WARNING 03-02 10:00 .* NORMAL 03-02 08:00", states)
    assert "3,108.00 to 3,101.00, low 3,101.00" in states
    happened = seen.split("What happened")[1]
    assert "response: acknowledged" in happened
    assert "page: WARNING" in happened
    assert happened.index("change: MANDATORY EXIT") < happened.index("change: WARNING")


def test_chart_shows_price_states_pages_and_answers(browser: PageBrowser) -> None:
    chart = browser.get("/grid/eth").body.split('class="chart"')[1].split("</svg>")[0]
    assert chart.count('class="band"') == 3
    assert len(re.findall(r'<circle class="paged"', chart)) == 1
    assert len(re.findall(r'<circle class="answered"', chart)) == 1
    (points,) = re.findall(r'<polyline points="([^"]+)"', chart)
    assert len(points.split()) == 17
    assert "lower 3,070.00" in chart


def test_moment_opens_with_every_trigger_against_its_threshold(browser: PageBrowser) -> None:
    body = browser.get("/grid/eth?at=2026-03-02T10:07:00Z").body
    moment = body.split('id="moment"')[1].split("Price and states")[0]
    assert "2026-03-02 10:00 UTC" in moment
    assert "WARNING" in moment
    assert '<tr class="fired"><td>transition_likely' in moment
    assert "0.47" in moment
    assert "&gt;= 0.40" in moment
    assert '<rect x="0" y="2" width="70.5" height="8"/>' in moment
    newest = browser.get("/grid/eth").body.split('id="moment"')[1].split("Price and states")[0]
    assert '<tr class="fired"><td>closes_outside' in newest


@pytest.mark.parametrize(
    ("at", "status", "told"),
    [
        ("2025-01-01", 200, "eth was not evaluated in the day before 2025-01-01 00:00 UTC."),
        ("yesterday", 400, "is not a time; write 2025-01-31"),
        ("%3Cscript%3E", 400, "is not a time"),
    ],
)
def test_moment_that_cannot_be_opened_is_told(at: str, status: int, told: str, browser: PageBrowser) -> None:
    page = browser.get(f"/grid/eth?at={at}")
    assert page.status == status
    assert told in page.body
    if status == 400:
        assert page.headers["content-type"].startswith("text/plain")


def test_pnl_adds_up(browser: PageBrowser) -> None:
    seen = text_of(browser.get("/grid/eth"))
    table = seen.split("PnL since the start")[2].split("Price and states")[0]
    amounts = [float(amount) for amount in re.findall(r"([+-]?\d+\.\d+) USDT", table)]
    *parts, total = amounts
    assert len(parts) == 3
    assert total == -31.6
    assert abs(sum(parts) - total) < 0.005


def test_blind_grid_has_no_pnl(journal: Journal, browser: PageBrowser) -> None:
    judged(journal, "UNKNOWN", at=AT + MINUTE, risk=HELD)
    assert "PnL" not in browser.get("/grid/eth").body


def test_history_is_as_long_as_the_settings_say(home: OperatedHome, journal: Journal) -> None:
    home.settings_file.write_text(home.settings_file.read_text() + "page: {history: 1h}\n")
    with served_page(home.settings_file) as browser:
        browser.login()
        chart = browser.get("/grid/eth").body.split('class="chart"')[1].split("</svg>")[0]
    assert chart.count('class="band"') == 2


def test_program_reads_the_same_as_json(browser: PageBrowser) -> None:
    data = json.loads(browser.get("/grid/eth/json?at=2026-03-02T10:00:00Z").body)
    assert [run["state"] for run in data["states"]] == ["NORMAL", "WARNING", "MANDATORY_EXIT"]
    assert (data["status"]["state"], data["moment"]["state"]) == ("MANDATORY_EXIT", "WARNING")
    assert len(data["prices"]) == 17
    assert data["moment"]["triggers"]["transition_likely"]["fired"]
    assert {"page", "response", "change"} <= {line["kind"] for line in data["lines"]}


def test_grid_that_there_is_not_is_404_and_named_as_text(browser: PageBrowser) -> None:
    page = browser.get("/grid/%3Cimg%20src=x%3E")
    assert (page.status, "the journal knows no grid" in page.body) == (404, True)
    assert page.headers["content-type"].startswith("text/plain")


def test_retired_grid_keeps_its_past(home: OperatedHome, journal: Journal, browser: PageBrowser) -> None:
    (home.folder / "grids" / "eth.yaml").unlink()
    journal.retire_grid("eth", NOW, by="ann")
    page = browser.get("/grid/eth")
    assert page.status == 200
    assert "It is not watched any more; this is its past." in page.body
    assert "/flat" not in page.body


def test_prices_that_are_no_numbers_are_left_out_of_the_chart(journal: Journal, browser: PageBrowser) -> None:
    judged(journal, "UNKNOWN", at=AT + MINUTE, price=None, reasons=(HOSTILE,))
    page = browser.get("/grid/eth")
    no_inline(page.body)
    assert "nan" not in page.body.split('class="chart"')[1].split("</svg>")[0].lower()
    assert "&lt;script&gt;" in page.body


def test_front_leads_to_the_page_of_each_grid(browser: PageBrowser) -> None:
    assert '<a href="/grid/eth">eth</a>' in browser.get().body


def test_page_of_a_grid_is_shown_to_nobody_without_a_login(browser: PageBrowser) -> None:
    stranger = PageBrowser(browser.url)
    assert stranger.get("/grid/eth").headers["location"] == "/login"
    assert stranger.get("/grid/eth/json").status == 401


def test_week_that_is_no_week_of_the_journal_is_empty(home: OperatedHome, monkeypatch: pytest.MonkeyPatch) -> None:
    with home.journal() as opened:
        declared(home, opened, "eth", at=AT)
        monkeypatch.setattr(SystemClock, "now_ms", lambda _self: to_ms(NOW + timedelta(days=20)))
        with served_page(home.settings_file) as browser:
            browser.login()
            page = browser.get("/grid/eth")
    assert page.status == 200
    assert "No price is known in this time." in page.body
