"""Logins of the operator's page: what opens it, for how long, and what a forged or foreign cookie comes to."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest

from mm_pipeline.adapters.page.sessions import PageKeys
from mm_pipeline.domain.errors import ConfigError

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)
MONTH = timedelta(days=30)
OFFERED = "correct-horse-battery"
KEYS = PageKeys(OFFERED)


def began(name: str = "ann") -> str:
    cookie = KEYS.begin(OFFERED, name=name, now=AT)
    assert cookie is not None
    return cookie


@pytest.mark.parametrize("token", ["", "short", "a" * 15])
def test_token_that_could_be_guessed_is_refused_with_what_to_set(token: str) -> None:
    with pytest.raises(
        ConfigError, match=r"MM_PAGE_TOKEN .*\. Set it to a secret of 16 letters or more\. Make one with"
    ):
        PageKeys(token)


def test_token_opens_the_page_for_as_long_as_a_session_lasts() -> None:
    session = KEYS.session(began(), now=AT, lasts=MONTH)
    assert session is not None
    assert (session.name, session.may_answer) == ("ann", True)
    assert KEYS.session(began(), now=AT + MONTH, lasts=MONTH) is None
    assert KEYS.session(began(), now=AT - timedelta(days=1), lasts=MONTH) is None


@pytest.mark.parametrize("offered", ["", OFFERED[:-1], OFFERED + "x", KEYS.link, "\u00e4" * 20])
def test_other_token_opens_nothing(offered: str) -> None:
    assert KEYS.begin(offered, name="ann", now=AT) is None


def test_link_opens_the_page_for_reading_alone() -> None:
    cookie = KEYS.begin_reading(KEYS.link, now=AT)
    assert cookie is not None
    session = KEYS.session(cookie, now=AT, lasts=MONTH)
    assert session is not None
    assert not session.may_answer
    assert KEYS.begin_reading(OFFERED, now=AT) is None


def test_cookie_that_was_changed_is_nobody_s() -> None:
    content, signature = began().split(".")
    claimed = json.loads(base64.urlsafe_b64decode(content)) | {"name": "bob"}
    forged = base64.urlsafe_b64encode(json.dumps(claimed).encode()).decode()
    for cookie in (f"{forged}.{signature}", content, "", ".", f"{content}.", "a.b", f"{content}.{signature[:-1]}0x"):
        assert KEYS.session(cookie, now=AT, lasts=MONTH) is None
    assert PageKeys("another-token-altogether").session(began(), now=AT, lasts=MONTH) is None


def test_form_token_is_of_one_session() -> None:
    first, second = began(), began()
    assert first != second
    assert KEYS.is_form_token(KEYS.form_token(first), first)
    assert not KEYS.is_form_token(KEYS.form_token(first), second)
    assert not KEYS.is_form_token("", first)


def test_name_is_short_plain_text() -> None:
    session = KEYS.session(began("\x1b[2J" + "a" * 100), now=AT, lasts=MONTH)
    assert session is not None
    assert session.name.startswith("\\x1b[2J")
    assert len(session.name) == 40
