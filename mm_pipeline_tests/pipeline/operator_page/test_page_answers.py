"""Answers given on the operator's page, over real HTTP: who may, what is noted, and what is not."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import pytest

from mm_pipeline.adapters.clock import SystemClock
from mm_pipeline.adapters.journal import Journal
from mm_pipeline.adapters.page.sessions import PageKeys
from mm_pipeline.domain.instants import to_ms
from mm_pipeline.domain.notifications import Notice
from mm_pipeline_tests.journal_samples import grid as sample_grid
from mm_pipeline_tests.operator_samples import OperatedHome, commit, decision, send
from mm_pipeline_tests.page_client import FORM, TOKEN, PageBrowser, served_page
from mm_pipeline_tests.page_home import AT, BAR, MINUTE, NOW, declared, judged

ACKNOWLEDGE, FLAT = "/grid/eth/acknowledge", "/grid/eth/flat"


@pytest.fixture
def journal(home: OperatedHome) -> Iterator[Journal]:
    """The journal, with an emergency of one grid that was sent."""
    with home.journal() as opened:
        declared(home, opened, "eth", at=AT)
        judged(opened, "MANDATORY_EXIT", at=AT)
        send(opened, told(opened, Notice.MANDATORY_EXIT, AT), AT + 2 * MINUTE)
        yield opened


@pytest.fixture
def browser(home: OperatedHome, journal: Journal) -> Iterator[PageBrowser]:
    with served_page(home.settings_file) as opened:
        opened.login()
        yield opened


def told(journal: Journal, notice: Notice, at: datetime) -> str:
    return commit(journal, decision(notice, at), decided_at=at + MINUTE)


def noted(journal: Journal) -> list[tuple[str, str, str]]:
    return [(one.response.kind.value, one.source, one.by_whom) for one in journal.responses.select("eth")]


def test_acknowledgement_is_noted_with_name_and_shown_on_the_front(journal: Journal, browser: PageBrowser) -> None:
    front = browser.get()
    assert front.pages("eth") == [f"mandatory_exit-eth-{AT:%d%H%M}"]
    reply = browser.post(ACKNOWLEDGE, token=front.form_token, page=front.pages("eth"))
    assert (reply.status, "eth: acknowledged" in reply.body) == (200, True)
    assert "MANDATORY EXIT of 2026-03-02 12:00 UTC acknowledged." in reply.body
    assert noted(journal) == [("acknowledged", "mm page", "ann")]
    after = browser.get()
    assert "Acknowledged by ann after 2 min." in after.body
    assert ACKNOWLEDGE not in after.body
    assert "no answer is due" in after.body


def test_page_that_came_since_is_named_and_not_answered(journal: Journal, browser: PageBrowser) -> None:
    front = browser.get()
    told(journal, Notice.UNKNOWN, AT + MINUTE)
    reply = browser.post(ACKNOWLEDGE, token=front.form_token, page=front.pages("eth"))
    assert (reply.status, "NOT ALL ANSWERED" in reply.body) == (409, True)
    assert "NOT answered, for it is newer than what you saw: UNKNOWN of 2026-03-02 12:01 UTC" in reply.body
    (answer,) = journal.responses.select("eth")
    assert answer.response.page == front.pages("eth")[0]


def test_flat_is_noted_and_the_front_says_so(journal: Journal, browser: PageBrowser) -> None:
    front = browser.get()
    reply = browser.post(FLAT, token=front.form_token, page=front.pages("eth"))
    assert (reply.status, "Flat since 2026-03-02 12:04 UTC, noted." in reply.body) == (200, True)
    assert noted(journal) == [("flat", "mm page", "ann")]
    after = browser.get()
    assert "said ann" in after.body
    assert FLAT not in after.body


def test_flat_is_refused_while_something_newer_stands(journal: Journal, browser: PageBrowser) -> None:
    front = browser.get()
    told(journal, Notice.UNKNOWN, AT + MINUTE)
    reply = browser.post(FLAT, token=front.form_token, page=front.pages("eth"))
    assert (reply.status, "NOTHING WAS NOTED" in reply.body) == (409, True)
    assert "UNKNOWN of 2026-03-02 12:01 UTC is newer than what you saw" in reply.body
    assert noted(journal) == []


def test_flat_of_a_range_in_which_nothing_was_paged_is_asked_for_by_name(
    home: OperatedHome, journal: Journal, browser: PageBrowser
) -> None:
    later = AT + 2 * MINUTE
    ranged_anew = sample_grid("eth", started_at=later)
    home.declare(ranged_anew)
    journal.observe_grids([ranged_anew], later)
    front = browser.get()
    fields = {"token": front.form_token, "page": [f"mandatory_exit-eth-{AT:%d%H%M}"]}
    assert "NOTHING WAS NOTED" in browser.post(FLAT, **fields).body
    assert noted(journal) == []
    assert browser.post(FLAT, **fields, new_range="yes").status == 200
    assert noted(journal) == [("flat", "mm page", "ann")]


@pytest.mark.parametrize("path", [ACKNOWLEDGE, FLAT])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_looking_never_answers(method: str, path: str, journal: Journal, browser: PageBrowser) -> None:
    front = browser.get()
    query = f"?token={front.form_token}&page={front.pages('eth')[0]}"
    assert browser.ask(method, path + query).status == 405
    assert noted(journal) == []


@pytest.mark.parametrize("path", [ACKNOWLEDGE, FLAT])
def test_form_of_no_login_or_of_another_notes_nothing(path: str, journal: Journal, browser: PageBrowser) -> None:
    front = browser.get()
    pages = front.pages("eth")
    other = PageBrowser(browser.url)
    assert other.post(path, token=front.form_token, page=pages).status == 403
    other.login()
    assert other.post(path, token=front.form_token, page=pages).status == 403
    assert browser.post(path, page=pages).status == 403
    reader = PageBrowser(browser.url)
    reader.get(f"/link/{PageKeys(TOKEN).link}")
    assert "/acknowledge" not in reader.get().body
    refused = reader.post(path, token=reader.get().form_token, page=pages)
    assert (refused.status, "may read alone" in refused.body) == (403, True)
    bearer = {"Authorization": f"Bearer {TOKEN}", "Origin": browser.url, "Content-Type": FORM}
    assert PageBrowser(browser.url).ask("POST", path, bearer, f"token={front.form_token}").status == 403
    assert noted(journal) == []


@pytest.mark.parametrize("origin", ["http://evil.example", "null", None])
def test_form_on_another_site_notes_nothing_although_it_knows_the_token(
    origin: str | None, journal: Journal, browser: PageBrowser
) -> None:
    front = browser.get()
    headers = {"Content-Type": FORM} | ({} if origin is None else {"Origin": origin})
    body = f"token={front.form_token}&page={front.pages('eth')[0]}"
    assert browser.ask("POST", ACKNOWLEDGE, headers, body).status == 403
    assert noted(journal) == []


def test_grid_that_there_is_not_is_named_as_text(journal: Journal, browser: PageBrowser) -> None:
    reply = browser.post("/grid/%3Cimg%20src=x%3E/flat", token=browser.get().form_token)
    assert reply.status == 409
    assert "<img" not in reply.body
    assert "the journal knows no grid &lt;img src=x&gt;" in reply.body


def test_acknowledging_twice_says_so_and_notes_one(journal: Journal, browser: PageBrowser) -> None:
    front = browser.get()
    fields = {"token": front.form_token, "page": front.pages("eth")}
    browser.post(ACKNOWLEDGE, **fields)
    assert "had been acknowledged before" in browser.post(ACKNOWLEDGE, **fields).body
    assert len(noted(journal)) == 1


def test_answer_that_came_a_bar_ago_stands_where_the_next_evaluation_says_the_same(
    home: OperatedHome, journal: Journal, browser: PageBrowser, monkeypatch: pytest.MonkeyPatch
) -> None:
    front = browser.get()
    browser.post(ACKNOWLEDGE, token=front.form_token, page=front.pages("eth"))
    monkeypatch.setattr(SystemClock, "now_ms", lambda _self: to_ms(NOW + BAR))
    judged(journal, "MANDATORY_EXIT", at=AT + BAR)
    after = browser.get()
    assert "Acknowledged by ann" in after.body
    assert "for 19 min" in after.body
