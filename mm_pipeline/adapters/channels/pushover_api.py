"""One request to Pushover's API: bounded in time, judged by Pushover's rules, its secrets in no text that leaves.

What a page looks like does not belong here.
"""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import requests

from mm_pipeline.adapters.exchange.deadline import Deadline, run_within
from mm_pipeline.domain.errors import DeadlineExceeded
from mm_pipeline.domain.notifications.channel import ChannelError

RETRY_AFTER_S = 5.0
"""No sooner may a failed request be repeated (Pushover's API)."""
MAX_CONNECTIONS = 2
"""At one time, from one client (Pushover's API)."""
_MAX_BODY_BYTES = 1 << 16
_QUOTED_CHARACTERS = 200
_UNKNOWN = "It may have been taken all the same."
_AWAY = "Check this machine's connection; it is tried again."
_AGAIN = "It is tried again."
_GATEWAYS = frozenset({502, 504})
"""Statuses of a server in front of Pushover that did not hear its answer."""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """An answer that says that all is well; header names in lower case."""

    body: Mapping[str, Any]
    headers: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class _Outcome:
    """What came back: ``status`` None where nothing did.

    Then ``problem`` says why, and ``is_sent`` whether anything of the request may have arrived.
    """

    status: int | None = None
    content: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""
    is_sent: bool = True


class PushoverApi:
    """Pushover's API for one application and one user; thread-safe.

    Each request has a connection of its own: one kept alive may have died unseen, and then nobody knows whether the
    request arrived. Proxies and ``.netrc`` of the environment are not used.

    Parameters
    ----------
    channel
        The channel's name, for messages.
    api_url
        Without a trailing slash.
    secrets
        What must appear in no message or log.
    read_timeout_s
        Seconds to connect, and between two reads.
    deadline_s
        Seconds for the whole request on the wall clock.
    """

    def __init__(
        self, channel: str, *, api_url: str, secrets: tuple[str, ...], read_timeout_s: float, deadline_s: float
    ) -> None:
        self._channel = channel
        self._api_url = api_url
        self._secrets = secrets
        self._read_timeout_s = read_timeout_s
        self._deadline_s = deadline_s
        self._slots = threading.BoundedSemaphore(MAX_CONNECTIONS)
        # Its debug log prints every URL, and the URL of a receipt holds the token.
        logging.getLogger("urllib3.connectionpool").addFilter(_holds_no_token)

    def get(self, path: str, query: Mapping[str, str]) -> Reply:
        """Ask. Raises :class:`ChannelError`."""
        return self._judged(self._exchanged("GET", path, params=query))

    def post(self, path: str, fields: Mapping[str, str], image_png: bytes | None = None) -> Reply:
        """Send a form, with a PNG as its attachment where there is one. Raises :class:`ChannelError`."""
        files = None if image_png is None else {"attachment": ("chart.png", image_png, "image/png")}
        return self._judged(self._exchanged("POST", path, data=fields, files=files))

    def _exchanged(self, method: str, path: str, **parts: Any) -> _Outcome:
        end_s = time.monotonic() + self._deadline_s
        if not self._slots.acquire(timeout=self._deadline_s):
            raise self._transient(f"Pushover still holds {MAX_CONNECTIONS} earlier requests.", "")
        received: list[requests.Response] = []
        outcome: _Outcome | None = None
        with contextlib.suppress(DeadlineExceeded):
            outcome = run_within(
                max(0.0, end_s - time.monotonic()),
                lambda deadline: self._sent(deadline, method, path, parts, received),
            )
        if outcome is None:
            for response in received:  # a dripped body would hold its thread and its slot
                with contextlib.suppress(Exception):
                    response.raw.shutdown()
            return _Outcome(problem=f"did not answer in full within {self._deadline_s:g} s")
        return outcome

    def _sent(
        self,
        deadline: Deadline,
        method: str,
        path: str,
        parts: Mapping[str, Any],
        received: list[requests.Response],
    ) -> _Outcome:
        """Raises nothing that ``requests`` raises: its errors quote the URL."""
        try:
            deadline.check()
            with requests.Session() as session:
                session.trust_env = False
                session.headers["Connection"] = "close"
                with session.request(
                    method,
                    f"{self._api_url}{path}",
                    timeout=self._read_timeout_s,
                    allow_redirects=False,
                    stream=True,
                    **parts,
                ) as response:
                    received.append(response)
                    headers = {name.lower(): value for name, value in response.headers.items()}
                    return _Outcome(status=response.status_code, content=_content(response), headers=headers)
        except DeadlineExceeded:
            raise
        except Exception as error:
            return _Outcome(problem=f"could not be asked ({_cause(error)})", is_sent=not _is_unconnected(error))
        finally:
            self._slots.release()

    def _judged(self, outcome: _Outcome) -> Reply:
        if outcome.status is None:
            problem = f"Pushover {outcome.problem}."
            raise self._transient(problem, _UNKNOWN if outcome.is_sent else _AWAY, is_unclear=outcome.is_sent)
        body = _json_object(outcome.content)
        said = self._quoted(body, outcome.content)
        if outcome.status == 429:
            hint = "Wait for its reset, or buy more messages; another channel can take the page."
            raise self._final(f"Pushover's monthly quota is used up ({said}).", hint)
        if 400 <= outcome.status < 500:
            hint = "Check the token, the user key and the device."
            raise self._final(f"Pushover refused with status {outcome.status} ({said}).", hint)
        if outcome.status != 200:
            is_unclear = outcome.status in _GATEWAYS
            problem = f"Pushover answered with status {outcome.status} ({said})."
            raise self._transient(problem, _UNKNOWN if is_unclear else _AGAIN, is_unclear=is_unclear)
        if body.get("status") == 1:
            return Reply(body=body, headers=outcome.headers)
        if body.get("status") == 0:
            raise self._final(f"Pushover refused: its answer says status 0 ({said}).", "Mend what it names.")
        raise self._transient(f"Pushover's answer is not its own ({said}).", _UNKNOWN, is_unclear=True)

    def _quoted(self, body: Mapping[str, Any], content: bytes) -> str:
        """Pushover's reasons, or the beginning of the body, on one line and without secrets."""
        errors = body.get("errors")
        reasons = [str(error) for error in errors] if isinstance(errors, list) else []
        text = " ".join(("; ".join(reasons) or content.decode(errors="replace")).split())
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text[:_QUOTED_CHARACTERS] or "empty body"

    def _transient(self, problem: str, hint: str, *, is_unclear: bool = False) -> ChannelError:
        told = f"channel {self._channel}: {problem}"
        return ChannelError(told, hint, is_final=False, retry_after_s=RETRY_AFTER_S, is_unclear=is_unclear)

    def _final(self, problem: str, hint: str) -> ChannelError:
        return ChannelError(f"channel {self._channel}: {problem}", hint, is_final=True)


def _is_unconnected(error: Exception) -> bool:
    """Whether there was no connection over which anything could have been sent."""
    from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

    found: BaseException | None = error
    while found is not None:
        reasons = (found, getattr(found, "reason", None), *found.args)
        reasons += tuple(getattr(reason, "reason", None) for reason in reasons)
        if any(isinstance(one, NewConnectionError | ConnectTimeoutError | NameResolutionError) for one in reasons):
            return True
        found = found.__cause__ or found.__context__
    return False


def _holds_no_token(record: logging.LogRecord) -> bool:
    return "token=" not in record.getMessage()


def _content(response: requests.Response) -> bytes:
    content = b""
    for chunk in response.iter_content(_MAX_BODY_BYTES):
        content += chunk
        if len(content) > _MAX_BODY_BYTES:
            break
    return content


def _json_object(content: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _cause(error: BaseException) -> str:
    """The innermost error by its type, and by the system's own word for it: any other text may quote the URL."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    reason = error.strerror if isinstance(error, OSError) else None
    return f"{type(error).__name__}: {reason}" if reason else type(error).__name__
