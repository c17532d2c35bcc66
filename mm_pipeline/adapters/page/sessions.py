"""Logins of the operator's page: cookies and form tokens that one secret signs, so that nothing need be stored.

A new secret ends every session. What a session may do is part of what is signed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Final

from mm_pipeline.domain.errors import ConfigError
from mm_pipeline.domain.instants import from_ms, to_ms
from mm_pipeline.domain.plain_text import plain_text

TOKEN_VARIABLE: Final = "MM_PAGE_TOKEN"  # noqa: S105 - the name of a variable
_LEAST_LETTERS: Final = 16
"""64 bits where they are hexadecimal digits: nobody guesses that over HTTP."""
_LONGEST_NAME: Final = 40
_MAKE_ONE: Final = 'Make one with: python -c "import secrets; print(secrets.token_urlsafe(24))"'


@dataclass(frozen=True, kw_only=True)
class Session:
    """A login.

    Attributes
    ----------
    name
        Who logged in, as kept with each answer; may be empty.
    may_answer
        Whether it may acknowledge and report; that of a read-only link may not.
    begun_ms
        When, in epoch milliseconds.
    nonce
        Makes it another than any before.
    """

    name: str
    may_answer: bool
    begun_ms: int
    nonce: str


class PageKeys:
    """What opens the page: the operator's token, the read-only link, cookies, and tokens of forms.

    Parameters
    ----------
    token
        The operator's, from ``$MM_PAGE_TOKEN``.

    Raises
    ------
    ConfigError
        When it is missing, or short enough to be guessed.
    """

    def __init__(self, token: str) -> None:
        if len(token) < _LEAST_LETTERS:
            said = "is not set" if not token else f"has {len(token)} letters"
            problem = f"{TOKEN_VARIABLE} {said}, so anybody on this machine could answer for you."
            raise ConfigError(problem, f"Set it to a secret of {_LEAST_LETTERS} letters or more. {_MAKE_ONE}")
        self._token = token

    @property
    def link(self) -> str:
        """What the address of the read-only link ends in."""
        return self._signature("link", "read")[:32]

    def begin(self, offered: str, *, name: str, now: datetime) -> str | None:
        """Cookie for whoever offers the token; None where it is another."""
        return self._cookie(name, now, may_answer=True) if _is_same(offered, self._token) else None

    def begin_reading(self, offered: str, *, now: datetime) -> str | None:
        """Cookie that may read alone, for whoever came by the link; None where it is another."""
        return self._cookie("", now, may_answer=False) if _is_same(offered, self.link) else None

    def session(self, cookie: str, *, now: datetime, lasts: timedelta) -> Session | None:
        """The login that a cookie is of; None where it is forged, damaged, or over."""
        content, _, signature = cookie.partition(".")
        if not _is_same(signature, self._signature("session", content)):
            return None
        try:
            found = Session(**json.loads(base64.urlsafe_b64decode(content)))
        except (ValueError, TypeError, binascii.Error):  # of another version of this program
            return None
        begun = from_ms(found.begun_ms)
        return found if begun <= now < begun + lasts else None

    def form_token(self, cookie: str) -> str:
        """What a form of this session has to bring back."""
        return self._signature("form", cookie)

    def is_form_token(self, offered: str, cookie: str) -> bool:
        """Whether a form is one that this session was given."""
        return _is_same(offered, self.form_token(cookie))

    def _cookie(self, name: str, now: datetime, *, may_answer: bool) -> str:
        shown = plain_text(name).strip()[:_LONGEST_NAME]
        session = Session(name=shown, may_answer=may_answer, begun_ms=to_ms(now), nonce=secrets.token_hex(8))
        content = base64.urlsafe_b64encode(json.dumps(asdict(session)).encode()).decode()
        return f"{content}.{self._signature('session', content)}"

    def _signature(self, use: str, content: str) -> str:
        return hmac.new(self._token.encode(), f"{use}:{content}".encode(), hashlib.sha256).hexdigest()


def _is_same(offered: str, expected: str) -> bool:
    return hmac.compare_digest(offered.encode(), expected.encode())
