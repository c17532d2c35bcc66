"""The operator's page over real HTTP: who is let in, what every answer carries, and what the front says."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from datetime import timedelta

import pytest
from click.testing import CliRunner

from mm_pipeline.adapters.journal import Journal
from mm_pipeline.adapters.page.sessions import PageKeys
from mm_pipeline.cli import main
from mm_pipeline.domain.notifications import Notice, ResponseKind
from mm_pipeline_tests.operator_samples import OperatedHome, answer, commit, decision, send
from mm_pipeline_tests.page_client import FORM, HOSTILE, TOKEN, PageBrowser, no_inline, served_page, text_of
from mm_pipeline_tests.page_home import AT, BAR, MINUTE, NOW, declared, judged
from mm_pipeline_tests.page_samples import RISK, a_report, with_cost
from mm_pipeline_tests.up_process import MM, unused_port


@pytest.fixture
def journal(home: OperatedHome) -> Iterator[Journal]:
    with home.journal() as opened:
        declared(home, opened, "eth", at=AT)
        yield opened


@pytest.fixture
def browser(home: OperatedHome) -> Iterator[PageBrowser]:
    with served_page(home.settings_file) as opened:
        yield opened


def test_page_without_a_token_refuses_to_start_and_says_what_to_set(
    home: OperatedHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MM_PAGE_TOKEN")
    result = CliRunner().invoke(main, ["page", "--port", "0", "--settings", str(home.settings_file)])
    assert result.exit_code == 2
    assert "MM_PAGE_TOKEN is not set" in result.stderr
    assert "Set it to a secret of 16 letters or more" in result.stderr


def test_command_listens_on_the_port_of_the_settings_and_ctrl_c_says_what_runs_on(
    home: OperatedHome, journal: Journal
) -> None:
    port = unused_port()
    home.settings_file.write_text(home.settings_file.read_text() + f"page: {{port: {port}}}\n")
    command = [str(MM), "page", "--settings", str(home.settings_file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"page        http://127.0.0.1:{port}\n"
        assert process.stdout.readline().startswith(f"read only   http://127.0.0.1:{port}/link/")
        browser = PageBrowser(f"http://127.0.0.1:{port}")
        assert browser.get("/alive").status == 200
        process.send_signal(signal.SIGINT)
        assert "The watch itself runs on where it was started." in process.stdout.read()
    assert process.returncode == 0


def test_nothing_is_shown_without_a_login(journal: Journal, browser: PageBrowser) -> None:
    judged(journal, "MANDATORY_EXIT", at=AT)
    front = browser.get()
    assert (front.status, front.headers["location"]) == (303, "/login")
    assert browser.get("/json").status == 401
    assert "MANDATORY" not in browser.get("/json").body + front.body
    assert browser.get("/login").status == 200
    assert browser.get("/alive").body == "alive\n"


def test_wrong_token_is_told_and_opens_nothing(journal: Journal, browser: PageBrowser) -> None:
    wrong = browser.login("another-horse-battery")
    assert (wrong.status, "This is not the token." in wrong.body) == (403, True)
    assert "set-cookie" not in wrong.headers
    assert browser.get().status == 303


def test_cookie_is_kept_from_scripts_and_from_other_sites(journal: Journal, browser: PageBrowser) -> None:
    cookie = browser.login().headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert f"max-age={30 * 86400}" in cookie
    assert browser.get().status == 200


def test_session_ends_when_the_settings_say_so(home: OperatedHome, journal: Journal) -> None:
    home.settings_file.write_text(home.settings_file.read_text() + "page: {session: 1h}\n")
    cookie = PageKeys(TOKEN).begin(TOKEN, name="ann", now=NOW - 2 * timedelta(hours=1))
    fresh = PageKeys(TOKEN).begin(TOKEN, name="ann", now=NOW - timedelta(minutes=1))
    assert cookie is not None
    assert fresh is not None
    with served_page(home.settings_file) as browser:
        browser.cookies["mm_page"] = cookie
        assert browser.get().status == 303
        browser.cookies["mm_page"] = fresh
        assert browser.get().status == 200


def test_link_opens_the_page_for_reading(journal: Journal, browser: PageBrowser) -> None:
    judged(journal, "MANDATORY_EXIT", at=AT)
    commit(journal, decision(Notice.MANDATORY_EXIT, AT), decided_at=AT + MINUTE)
    assert browser.get("/link/0123456789abcdef").headers["location"] == "/login"
    assert browser.get(f"/link/{PageKeys(TOKEN).link}").headers["location"] == "/"
    front = browser.get()
    assert "MANDATORY EXIT" in front.body
    assert "reading only" in front.body


def test_program_reads_json_by_the_token(journal: Journal, browser: PageBrowser) -> None:
    judged(journal, "NORMAL", at=AT)
    reply = browser.ask("GET", "/json", {"Authorization": f"Bearer {TOKEN}"})
    (one,) = json.loads(reply.body)["grids"]
    assert (reply.status, one["grid"], one["state"]) == (200, "eth", "NORMAL")
    assert browser.ask("GET", "/json", {"Authorization": "Bearer wrong"}).status == 401


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("GET", {"Host": "evil.example"}),
        ("GET", {"Host": "127.0.0.1"}),
        ("GET", {"Origin": "http://evil.example"}),
        ("GET", {"Sec-Fetch-Site": "cross-site"}),
        ("POST", {"Origin": "http://evil.example", "Content-Type": FORM}),
        ("POST", {"Origin": "null", "Content-Type": FORM}),
        ("POST", {"Content-Type": FORM}),
    ],
)
def test_request_of_another_site_is_refused_although_the_cookie_came_along(
    method: str, headers: dict[str, str], journal: Journal, browser: PageBrowser
) -> None:
    browser.login()
    path = "/" if method == "GET" else "/logout"
    assert browser.ask(method, path, headers, body=None if method == "GET" else "token=a").status == 403


def test_every_answer_forbids_what_is_inline_or_from_elsewhere(journal: Journal, browser: PageBrowser) -> None:
    judged(journal, "NORMAL", at=AT)
    browser.login()
    for path in ("/", "/json", "/login", "/static/page.css", "/static/page.js", "/static/none", "/nothing"):
        headers = browser.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'self'; "), path
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert headers["cache-control"] == ("max-age=300" if path.startswith("/static/") else "no-store")


def test_front_has_nothing_inline_and_loads_itself_again_without_javascript(
    journal: Journal, browser: PageBrowser
) -> None:
    judged(journal, "NORMAL", at=AT)
    browser.login()
    body = browser.get().body
    no_inline(body)
    assert '<noscript><meta http-equiv="refresh" content="15"></noscript>' in body
    assert "After 20 min without an evaluation a state counts as UNKNOWN" in body


def test_front_says_worst_state_cost_and_what_is_due(
    home: OperatedHome, journal: Journal, browser: PageBrowser
) -> None:
    declared(home, journal, "eth", "btc", at=AT)
    risk = dict(with_cost(a_report("WARNING"), RISK).risk or {}) | {"level": "HIGH"}
    trigger = {"value": 3.0, "threshold": 2.0, "margin": 1.0, "fired": True, "since": AT}
    judged(journal, "MANDATORY_EXIT", at=AT, fired=("closes_outside",), triggers={"closes_outside": trigger}, risk=risk)
    judged(journal, "NORMAL", at=AT, name="btc")
    page = commit(journal, decision(Notice.MANDATORY_EXIT, AT), decided_at=AT + MINUTE)
    send(journal, page, AT + 2 * MINUTE)
    browser.login()
    front = browser.get()
    seen = text_of(front)
    assert "MANDATORY EXIT: eth Exit: stop the bot and sell what it holds." in seen
    assert "Nothing to do. Nothing that asks to leave has fired." in seen
    assert re.search(r"(Answer by|ANSWER OVERDUE since) .* UTC.*: eth", seen)
    assert "ETH closed outside your grid 3 h in a row." in seen
    assert "Stopping the bot and selling its ETH now leaves about -31.60 USDT" in seen
    assert "At risk in 1 h 25.30 USDT" in seen
    assert "Stop touched within 24 h 62%" in seen
    assert "PnL since the start -31.60 USDT" in seen
    assert f"Sent: phone {AT + 2 * MINUTE:%H:%M:%S}." in seen
    assert "above the stop" in seen
    assert "The watch is alive" in seen
    assert front.body.index(">eth</a>") < front.body.index(">btc</a>")
    assert front.body.count("<svg") == 2


def test_blind_grid_shows_no_figure_of_cost_or_risk(journal: Journal, browser: PageBrowser) -> None:
    risk = dict(with_cost(a_report("WARNING"), RISK).risk or {}) | {"level": "HIGH"}
    judged(journal, "UNKNOWN", at=AT, risk=risk, reasons=("newest bar closed 47 min ago",))
    browser.login()
    seen = text_of(browser.get())
    assert "UNKNOWN: eth" in seen
    assert "Look at the exchange yourself. Nobody knows how it stands." in seen
    assert "newest bar closed 47 min ago" in seen
    for figure in ("PnL", "At risk", "Stop touched", "31.60", "25.30"):
        assert figure not in seen


@pytest.mark.parametrize("state", ["NORMAL", "WARNING", "UNKNOWN"])
def test_emergency_that_was_paged_leads_although_it_looks_milder_now(
    state: str, home: OperatedHome, journal: Journal, browser: PageBrowser
) -> None:
    declared(home, journal, "eth", "ada", at=AT)
    judged(journal, "WARNING", at=AT, name="ada")
    began = AT - 2 * BAR
    judged(journal, "MANDATORY_EXIT", at=began)
    commit(journal, decision(Notice.MANDATORY_EXIT, began), decided_at=began + MINUTE)
    judged(journal, state, at=AT)
    browser.login()
    seen = text_of(browser.get())
    assert "MANDATORY EXIT STANDS: eth Exit: stop the bot and sell what it holds." in seen
    assert f"now {state}" in seen
    assert "stands until the watch says NORMAL" in seen
    assert "Nothing to do." not in seen
    assert seen.index("eth kucoin") < seen.index("ada kucoin")


def test_flat_grid_hides_no_open_one(home: OperatedHome, journal: Journal, browser: PageBrowser) -> None:
    declared(home, journal, "eth", "sol", at=AT)
    judged(journal, "MANDATORY_EXIT", at=AT)
    judged(journal, "WARNING", at=AT, name="sol")
    answer(journal, ResponseKind.FLAT, AT + MINUTE)
    browser.login()
    seen = text_of(browser.get())
    assert "WARNING: sol Prepare to exit, decide." in seen
    assert seen.index("sol kucoin") < seen.index("eth kucoin")
    assert "You reported flat." in seen


def test_emergency_ends_with_the_page_that_tells_normal(
    home: OperatedHome, journal: Journal, browser: PageBrowser
) -> None:
    for notice, bars in ((Notice.MANDATORY_EXIT, 3), (Notice.NORMAL, 1)):
        commit(journal, decision(notice, AT - bars * BAR), decided_at=AT - bars * BAR + MINUTE)
    judged(journal, "NORMAL", at=AT)
    browser.login()
    assert "NORMAL: eth Nothing to do." in text_of(browser.get())


def test_silent_watch_is_the_headline_and_no_state_is_believed(journal: Journal, browser: PageBrowser) -> None:
    judged(journal, "NORMAL", at=AT - 3 * BAR)
    browser.login()
    seen = text_of(browser.get())
    assert "THE WATCH IS SILENT" in seen
    assert "more than 20min (notify.max_lateness)" in seen
    assert 'data-state="NORMAL"' not in browser.get().body


def test_journal_that_cannot_be_read_is_unknown_and_no_older_page(home: OperatedHome, browser: PageBrowser) -> None:
    browser.login()
    front = browser.get()
    assert front.status == 503
    assert 'data-state="UNKNOWN"' in front.body
    assert "nobody knows how any grid stands" in front.body
    assert "there is no journal" in front.body
    reply = browser.get("/json")
    assert (reply.status, json.loads(reply.body)["state"]) == (503, "UNKNOWN")


def test_hostile_text_from_files_and_answers_appears_as_text(
    home: OperatedHome, journal: Journal, browser: PageBrowser
) -> None:
    (home.folder / "grids" / "<img src=x onerror=alert(1)>.yaml").write_text(f"id: {json.dumps(HOSTILE)}\n")
    (home.folder / "grids" / "odd.yaml").write_text(
        f"id: odd\nsymbol: {json.dumps(HOSTILE)}\nlower: .nan\nupper: -1e999\n"
    )
    judged(journal, "UNKNOWN", at=AT, reasons=(HOSTILE,))
    page = commit(journal, decision(Notice.WARNING, AT), decided_at=AT + MINUTE)
    send(journal, page, AT + 2 * MINUTE)
    browser.login(name=HOSTILE[:40])
    body = browser.get().body
    no_inline(body)
    assert "{{ 7*7 }}" in body
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in body
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&#34;" in body.split("</header>")[0]


@pytest.mark.parametrize("refresh", ["2s", "1min"])
def test_pace_of_an_open_page_is_a_setting(refresh: str, home: OperatedHome, journal: Journal) -> None:
    judged(journal, "NORMAL", at=AT)
    home.settings_file.write_text(home.settings_file.read_text() + f"page: {{refresh: {refresh}}}\n")
    with served_page(home.settings_file) as browser:
        browser.login()
        body = browser.get().body
    assert f'data-refresh-s="{ {"2s": 2, "1min": 60}[refresh] }"' in body


def test_settings_that_change_are_followed(home: OperatedHome, journal: Journal, browser: PageBrowser) -> None:
    judged(journal, "NORMAL", at=AT)
    browser.login()
    assert 'data-refresh-s="15"' in browser.get().body
    home.settings_file.write_text(home.settings_file.read_text() + "page: {refresh: 30s}\n")
    assert 'data-refresh-s="30"' in browser.get().body


def test_form_that_is_too_long_is_refused(journal: Journal, browser: PageBrowser) -> None:
    assert browser.post("/login", token="a" * 20_000).status == 413


def test_fifty_grids_are_small_over_the_wire(home: OperatedHome, journal: Journal, browser: PageBrowser) -> None:
    names = [f"grid-{number:02d}" for number in range(50)]
    declared(home, journal, "eth", *names, at=AT)
    risk = dict(with_cost(a_report("WARNING"), RISK).risk or {}) | {"level": "HIGH"}
    for name in names:
        judged(journal, "WARNING", at=AT, name=name, risk=risk)
        commit(journal, decision(Notice.WARNING, AT, grid=name), decided_at=AT + MINUTE)
    browser.login()
    sizes = []
    for path in ("/", "/static/page.css", "/static/page.js", "/static/icon.svg"):
        reply = browser.ask("GET", path, {"Accept-Encoding": "gzip"})
        sizes.append(int(reply.headers["content-length"]))
    assert browser.ask("GET", "/", {"Accept-Encoding": "gzip"}).headers["content-encoding"] == "gzip"
    assert sum(sizes) <= 150_000
    assert browser.get().body.count("<article") == 51


def test_logout_takes_the_token_of_the_form(journal: Journal, browser: PageBrowser) -> None:
    judged(journal, "NORMAL", at=AT)
    browser.login()
    front = browser.get()
    assert browser.post("/logout", token="0" * 64).status == 403
    assert browser.get("/logout").status == 405
    assert browser.post("/logout", token=front.form_token).headers["location"] == "/login"
    assert browser.get().status == 303
