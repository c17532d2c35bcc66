"""The operator's page in a real browser: news arrive, answers are given, and what is old turns UNKNOWN by itself."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from urllib.parse import urlsplit

import pytest

from mm_pipeline.adapters.clock import SystemClock
from mm_pipeline.adapters.journal import Journal
from mm_pipeline.domain.notifications import Notice
from mm_pipeline_tests.chromium import Page
from mm_pipeline_tests.operator_samples import OperatedHome, commit, decision, send
from mm_pipeline_tests.page_client import TOKEN, PageBrowser, served_page
from mm_pipeline_tests.page_home import BAR, MINUTE, declared, judged
from mm_pipeline_tests.page_samples import RISK, a_report, with_cost

HELD = dict(with_cost(a_report("WARNING"), RISK).risk or {}) | {"level": "HIGH"}
CLOSES = {"closes_outside": {"value": 3.0, "threshold": 2.0, "margin": 1.0, "fired": True, "since": None}}
WIDTHS = (390, 1280)


@pytest.fixture
def journal(home: OperatedHome, at: datetime) -> Iterator[Journal]:
    with home.journal() as opened:
        declared(home, opened, "eth", at=at)
        for bars in range(8, -1, -1):
            judged(opened, "NORMAL", at=at - bars * BAR, price=3100.0 + bars, risk=HELD)
        yield opened


def emergency(journal: Journal, at: datetime) -> str:
    """One that was paged and sent, a moment after the newest evaluation."""
    judged(journal, "MANDATORY_EXIT", at=at, price=3061.25, fired=("closes_outside",), triggers=CLOSES, risk=HELD)
    page = commit(journal, decision(Notice.MANDATORY_EXIT, at), decided_at=at + MINUTE)
    send(journal, page, at + 2 * MINUTE)
    return page


def log_in(page: Page, server: PageBrowser) -> None:
    """By the form, as a person does."""
    page.open(server.url, shows="Your name")
    page.write("input[name=token]", TOKEN)
    page.write("input[name=name]", "ann")
    page.click("Log in", "button")
    page.wait_for("All grids")


def sized(page: Page, width: int, *, scheme: str = "light") -> None:
    page.call(
        "Emulation.setDeviceMetricsOverride", width=width, height=844, deviceScaleFactor=1, mobile=width == WIDTHS[0]
    )
    page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])


def complaints(page: Page) -> list[str]:
    """Errors of the console, exceptions, and requests that leave loopback."""
    page.value("1")
    found = []
    for event in page.events:
        told = event["params"]
        if event["method"] == "Log.entryAdded" and told["entry"]["level"] == "error":
            found.append(f"{told['entry']['text']} {told['entry'].get('url', '')}")
        if event["method"] == "Runtime.exceptionThrown":
            found.append(str(told["exceptionDetails"]))
        if event["method"] == "Network.requestWillBeSent":
            host = urlsplit(told["request"]["url"]).hostname
            found += [] if host == "127.0.0.1" else [f"asks {told['request']['url']}"]
    return found


@pytest.mark.parametrize("width", WIDTHS)
def test_state_change_arrives_and_is_acknowledged_and_reported_flat(
    width: int, chromium: Page, home: OperatedHome, journal: Journal, at: datetime
) -> None:
    sized(chromium, width)
    with served_page(home.settings_file) as server:
        log_in(chromium, server)
        chromium.wait_for("NORMAL: eth")
        emergency(journal, at + MINUTE)
        chromium.wait_for("MANDATORY EXIT: eth")
        chromium.click("Acknowledge", "button")
        chromium.wait_for("acknowledged. This closes no position")
        chromium.click("Back", "a")
        chromium.wait_for("Acknowledged by ann")
        chromium.click("I am flat …", "summary")
        chromium.click("Report flat", "button")
        chromium.wait_for("Flat since")
        assert complaints(chromium) == []
    kinds = [answer.response.kind.value for answer in journal.responses.select("eth")]
    assert kinds == ["acknowledged", "flat"]


def test_open_form_is_not_taken_away_by_news(
    chromium: Page, home: OperatedHome, journal: Journal, at: datetime
) -> None:
    shown = emergency(journal, at)
    with served_page(home.settings_file) as server:
        log_in(chromium, server)
        chromium.click("I am flat …", "summary")
        later = at + MINUTE
        commit(journal, decision(Notice.UNKNOWN, later), decided_at=later + MINUTE)
        asked = len([one for one in chromium.events if one["method"] == "Network.requestWillBeSent"])
        while len([one for one in chromium.events if one["method"] == "Network.requestWillBeSent"]) < asked + 2:
            chromium.value("1")
        chromium.click("Report flat", "button")
        chromium.wait_for("is newer than what you saw")
    assert shown
    assert journal.responses.select("eth") == []


@pytest.mark.slow
@pytest.mark.parametrize("width", WIDTHS)
def test_page_turns_unknown_by_itself_when_the_server_is_dead(
    width: int, chromium: Page, home: OperatedHome, journal: Journal
) -> None:
    sized(chromium, width)
    old = SystemClock().now().replace(microsecond=0) - timedelta(minutes=20) + timedelta(seconds=25)
    with home.journal() as opened:
        declared(home, opened, "eth", "btc", at=old)
        judged(opened, "NORMAL", at=old, name="btc", risk=HELD)
    with served_page(home.settings_file) as server:
        log_in(chromium, server)
        chromium.open(f"{server.url}/grid/btc", shows="PnL since the start")
        assert chromium.value("document.querySelector('.card').dataset.state") == "NORMAL"
    chromium.wait_for("No connection to the page's server")
    chromium.wait_for("nobody knows how it stands")
    assert chromium.value("document.querySelector('.card').dataset.state") == "UNKNOWN"
    assert chromium.value("document.querySelector('.card .state').innerText.trim()") == "UNKNOWN"
    seen = chromium.value("document.querySelector('.card').innerText")
    for figure in ("PnL", "At risk", "Stop touched", "31.60", "25.30"):
        assert figure not in seen
    assert "What you would have gained" not in chromium.value("document.body.innerText")
    assert chromium.value("document.title") == "UNKNOWN"


@pytest.mark.slow
def test_headline_turns_unknown_with_the_oldest_card(chromium: Page, home: OperatedHome, journal: Journal) -> None:
    old = SystemClock().now().replace(microsecond=0) - timedelta(minutes=20) + timedelta(seconds=25)
    with home.journal() as opened:
        declared(home, opened, "eth", "btc", at=old)
        judged(opened, "NORMAL", at=old, name="btc", risk=HELD)
    with served_page(home.settings_file) as server:
        log_in(chromium, server)
        chromium.wait_for("NORMAL: btc and 1 more")
    chromium.wait_for("Last known: NORMAL: btc and 1 more")
    assert chromium.value("document.querySelector('h1').innerText") == "UNKNOWN"
    states = chromium.value("[...document.querySelectorAll('.card')].map(one => one.dataset.state).join()")
    assert states == "UNKNOWN,NORMAL"


def test_past_moment_opens(chromium: Page, home: OperatedHome, journal: Journal, at: datetime) -> None:
    emergency(journal, at + MINUTE)
    with served_page(home.settings_file) as server:
        log_in(chromium, server)
        chromium.click("eth", "a")
        chromium.wait_for("What happened")
        began = at - 8 * BAR
        chromium.click(f"{began:%m-%d %H:%M}", "a")
        chromium.wait_for(f"{began:%Y-%m-%d %H:%M} UTC")
        assert complaints(chromium) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_page_fits_its_width_and_asks_nobody_else(
    width: int, scheme: str, *, chromium: Page, home: OperatedHome, journal: Journal, at: datetime
) -> None:
    emergency(journal, at + MINUTE)
    sized(chromium, width, scheme=scheme)
    with served_page(home.settings_file) as server:
        log_in(chromium, server)
        for path in ("/", "/grid/eth", "/login"):
            chromium.open(f"{server.url}{path}", shows="All grids")
            assert chromium.value("document.documentElement.scrollWidth") <= width, path
            assert chromium.value("[...document.querySelectorAll('button')].every(b => b.offsetHeight >= 30)"), path
        assert complaints(chromium) == []


def test_keyboard_alone_reaches_every_control(
    chromium: Page, home: OperatedHome, journal: Journal, at: datetime
) -> None:
    emergency(journal, at + MINUTE)
    with served_page(home.settings_file) as server:
        log_in(chromium, server)
        chromium.wait_for("Acknowledge")
        reached = []
        for _ in range(6):
            for kind in ("keyDown", "keyUp"):
                chromium.call("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
            reached.append(chromium.value("document.activeElement.innerText.trim()"))
    assert reached[:5] == ["All grids", "Log out", "eth", "Acknowledge", "I am flat …"]


def test_everything_acts_without_javascript(chromium: Page, home: OperatedHome, journal: Journal, at: datetime) -> None:
    emergency(journal, at + MINUTE)
    chromium.call("Emulation.setScriptExecutionDisabled", value=True)
    with served_page(home.settings_file) as server:
        log_in(chromium, server)
        chromium.wait_for("Without JavaScript the page loads itself again every 2 s")
        chromium.click("Acknowledge", "button")
        chromium.wait_for("acknowledged. This closes no position")
        chromium.click("Back", "a")
        chromium.wait_for("Acknowledged by ann")
        judged(journal, "UNKNOWN", at=at + 2 * MINUTE)
        chromium.wait_for("now UNKNOWN")
    kinds = [answer.response.kind.value for answer in journal.responses.select("eth")]
    assert kinds == ["acknowledged"]
