"""Faults by rule: what the paper exchange does wrong on purpose, so that the watchdog's guarantees can be shown.

A fault changes the request before the dialect sees it (:meth:`Fault.prepare`), or the answer before it is
sent (:meth:`Fault.spoil`). A new kind is a new frozen class here; the server and the dialects do not know them.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mm_pipeline.paper.http.wire import Answer, BarEdit, Drip, Request

PAGE_1015 = (
    "<!DOCTYPE html><html><head><title>Access denied | api.kucoin.com used Cloudflare to restrict access</title></head>"
    "<body><h1>Error 1015</h1><p>Please enable cookies.</p><h2>You are being rate limited</h2>"
    "<p>The owner of this website (api.kucoin.com) has banned you temporarily from accessing this website.</p>"
    "</body></html>"
)
PAGE_MAINTENANCE = "<!DOCTYPE html><html><head><title>Maintenance</title></head><body>We will be back.</body></html>"
PAGE_BAD_GATEWAY = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
PAGE_GATEWAY_TIMEOUT = "<html><head><title>504 Gateway Time-out</title></head><body><h1>504</h1></body></html>"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Base of all kinds; does nothing itself."""

    def prepare(self, request: Request) -> Request:
        """The request that the dialect is to answer."""
        return request

    def spoil(self, answer: Answer) -> Answer:
        """The answer that the client is to get."""
        return answer


@dataclass(frozen=True, kw_only=True)
class ErrorStatus(Fault):
    """A status with a JSON body, for example 500 with ``{"code": "500000", ...}``."""

    status: int
    payload: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)

    def spoil(self, answer: Answer) -> Answer:
        headers = {**answer.headers, **self.headers}
        return replace(answer, status=self.status, payload=dict(self.payload), raw=None, headers=headers)


def kucoin_too_many_requests(*, reset_ms: int) -> ErrorStatus:
    """KuCoin's 429 / 429000; the window ends after ``reset_ms``."""
    headers = {"gw-ratelimit-remaining": "0", "gw-ratelimit-reset": str(reset_ms)}
    return ErrorStatus(status=429, payload={"code": "429000", "msg": "Too Many Requests"}, headers=headers)


def kucoin_internal_error() -> ErrorStatus:
    """KuCoin's 500 / 500000."""
    return ErrorStatus(status=500, payload={"code": "500000", "msg": "Internal Server Error"})


@dataclass(frozen=True, kw_only=True)
class HtmlPage(Fault):
    """An HTML page where JSON was promised; status 200 unless told (502 and 504 of a gateway are such pages)."""

    page: str = PAGE_MAINTENANCE
    status: int = 200

    def spoil(self, answer: Answer) -> Answer:
        return replace(answer, status=self.status, raw=self.page.encode(), content_type="text/html; charset=UTF-8")


@dataclass(frozen=True, kw_only=True)
class NullData(Fault):
    """Status 200 with ``null`` where the data should be."""

    def spoil(self, answer: Answer) -> Answer:
        is_envelope = isinstance(answer.payload, dict) and "data" in answer.payload
        return replace(answer, payload={**answer.payload, "data": None} if is_envelope else None, raw=None)


@dataclass(frozen=True, kw_only=True)
class TruncatedJson(Fault):
    """Only the first ``kept_share`` of the body, with a matching length header: the transfer looks complete."""

    kept_share: float = 0.5

    def spoil(self, answer: Answer) -> Answer:
        body = answer.body()
        return replace(answer, raw=body[: int(len(body) * self.kept_share)])


@dataclass(frozen=True, kw_only=True)
class DrippedBody(Fault):
    """The body in small chunks, each soon enough for a per-read timeout never to notice."""

    chunk_bytes: int = 16
    pause_s: float = 0.2

    def spoil(self, answer: Answer) -> Answer:
        return replace(answer, drip=Drip(chunk_bytes=self.chunk_bytes, pause_s=self.pause_s))


@dataclass(frozen=True, kw_only=True)
class Delayed(Fault):
    """The whole answer after ``delay_s`` seconds of real time."""

    delay_s: float

    def spoil(self, answer: Answer) -> Answer:
        return replace(answer, delay_s=answer.delay_s + self.delay_s)


@dataclass(frozen=True, kw_only=True)
class ConnectionLost(Fault):
    """No answer: the connection is reset (RST), or closed in good order when ``is_reset`` is False."""

    is_reset: bool = True

    def spoil(self, answer: Answer) -> Answer:
        return replace(answer, hang_up=True, is_reset=self.is_reset)


@dataclass(frozen=True, kw_only=True)
class EditedBars(Fault):
    """Candle rows changed by ``edit``; see :mod:`mm_pipeline.paper.http.bar_edits`."""

    edit: BarEdit

    def prepare(self, request: Request) -> Request:
        return replace(request, bar_edits=(*request.bar_edits, self.edit))


@dataclass(frozen=True, kw_only=True)
class RemovedSymbol(Fault):
    """The exchange no longer lists ``symbol`` (``ETH/USDT``): gone from the symbols, refused everywhere else."""

    symbol: str

    def prepare(self, request: Request) -> Request:
        return replace(request, removed_symbols=request.removed_symbols | {self.symbol})


@dataclass(frozen=True, kw_only=True)
class ClockOffset(Fault):
    """The server's time is off by ``offset_ms``."""

    offset_ms: int

    def prepare(self, request: Request) -> Request:
        return replace(request, now_ms=request.now_ms + self.offset_ms)


@dataclass(eq=False)
class Rule:
    """A fault for requests whose target contains ``path_contains``; ``remaining`` None means without end."""

    path_contains: str
    kind: Fault
    remaining: int | None
    hits: int = 0


class FaultPlan:
    """The rules in force, in the order in which they were added. Thread-safe; settable while the server runs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rules: list[Rule] = []

    def add(self, kind: Fault, *, path_contains: str = "", times: int | None = None) -> Rule:
        """Put the fault ``kind`` on the next ``times`` requests (None: all) whose path and query contain the text."""
        rule = Rule(path_contains, kind, times)
        with self._lock:
            self._rules.append(rule)
        return rule

    def remove(self, rule: Rule) -> None:
        """End a rule; one that has ended already is left in peace."""
        with self._lock:
            self._rules = [other for other in self._rules if other is not rule]

    def clear(self) -> None:
        """End all rules."""
        with self._lock:
            self._rules = []

    def strike(self, target: str) -> tuple[Fault, ...]:
        """The faults that hit a request for ``target``; each counts it, and ends when it has had its times."""
        with self._lock:
            struck = [rule for rule in self._rules if rule.path_contains in target]
            for rule in struck:
                rule.hits += 1
                rule.remaining = None if rule.remaining is None else rule.remaining - 1
            self._rules = [rule for rule in self._rules if rule.remaining != 0]
            return tuple(rule.kind for rule in struck)

    def names(self) -> list[str]:
        """The kinds of the rules in force, for the state page."""
        with self._lock:
            return [type(rule.kind).__name__ for rule in self._rules]
