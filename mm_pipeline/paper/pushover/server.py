"""The paper Pushover on loopback: the API's paths, faults on purpose, and ``/control/`` for another process."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from mm_pipeline.domain.errors import ConfigError
from mm_pipeline.paper.clock import PaperClock
from mm_pipeline.paper.http.faults import Fault, FaultPlan
from mm_pipeline.paper.http.http_server import HttpServer
from mm_pipeline.paper.http.wire import Answer
from mm_pipeline.paper.pushover.account import AcceptedMessage, Account
from mm_pipeline.paper.pushover.api import Api
from mm_pipeline.paper.pushover.forms import Form, read_form
from mm_pipeline.paper.pushover.misbehaviour import Misbehaviour, Refused

LOOPBACK = "127.0.0.1"
FREE_MONTHLY_MESSAGES = 10_000


@dataclass(frozen=True, kw_only=True)
class RequestRecord:
    """A request that arrived.

    Attributes
    ----------
    at
        By the server's clock.
    real_s
        Seconds of the machine's monotonic clock, for distances of real time.
    path
        Without the query, which may hold the token.
    status
        Of the answer, sent or not.
    """

    at: datetime
    real_s: float
    method: str
    path: str
    status: int


class PaperPushover(Misbehaviour):
    """A running paper Pushover; a context manager.

    Parameters
    ----------
    clock
        Its time: of messages, of expiry and of the quota. Settable while it runs.
    token, user
        The only application and user or group that exist; None for any that is well-formed.
    monthly_limit
        Messages it takes in a month.
    port, host
        Where it listens once started; the port stays the same over :meth:`stop` and :meth:`start`.

    Attributes
    ----------
    clock, faults
        Its time, and what it does wrong on purpose.
    on_accepted
        Called inside the handler after a message was taken and before it is answered.
    most_at_once
        Most requests of the API that were being handled at one time.
    """

    def __init__(
        self,
        *,
        clock: PaperClock | None = None,
        token: str | None = None,
        user: str | None = None,
        monthly_limit: int = FREE_MONTHLY_MESSAGES,
        port: int = 0,
        host: str = LOOPBACK,
    ) -> None:
        self.clock = clock or PaperClock.real()
        self.faults = FaultPlan()
        self.on_accepted: Callable[[AcceptedMessage], object] | None = None
        self.most_at_once = 0
        self.account = Account(clock=self.clock, monthly_limit=monthly_limit)
        self._api = Api(self.account, token=token, user=user, on_accepted=self._accepted)
        self._host, self._port = host, port
        self._server: HttpServer | None = None
        self._lock = threading.Lock()
        self._requests: list[RequestRecord] = []
        self._at_once = 0

    def start(self) -> Self:
        """Listen and serve from a thread."""
        if self._server is None:
            self._server = HttpServer(self._host, self._port, self._respond)
            self._port = self._server.server_port
            self._server.start()
        return self

    def stop(self) -> None:
        """Stop serving and end every connection; :meth:`start` brings it back on the same port."""
        if self._server is not None:
            self._server.stop()
            self._server = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Root of the server, without a trailing slash: a Pushover channel's ``api_url``."""
        if not self._port:
            raise ConfigError("the paper Pushover has no port yet.", "Start it first.")
        return f"http://{self._host}:{self._port}"

    @property
    def messages(self) -> tuple[AcceptedMessage, ...]:
        """Everything taken so far, oldest first."""
        return tuple(self.account.messages)

    @property
    def requests(self) -> tuple[RequestRecord, ...]:
        """Every request of the API so far, in the order in which they were answered."""
        with self._lock:
            return tuple(self._requests)

    def acknowledge(self, receipt: str, *, by: str | None = None, device: str = "phone") -> bool:
        """Acknowledge an emergency as the user ``by`` would; False when there is nothing left to acknowledge."""
        return self.account.acknowledge(receipt, by=by, device=device)

    def _accepted(self, message: AcceptedMessage) -> None:
        if self.on_accepted is not None:
            self.on_accepted(message)

    def _respond(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Answer:
        parts = urlsplit(target)
        if parts.path.startswith("/control/"):
            return self._control(method, parts.path, dict(parse_qsl(parts.query)))
        faults = self.faults.strike(target)
        arrived = RequestRecord(at=self.clock.now(), real_s=time.monotonic(), method=method, path=parts.path, status=0)
        with self._lock:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            answer = self._answer(method, parts.path, _form(parts.query, headers, body), faults)
        finally:
            with self._lock:
                self._at_once -= 1
        with self._lock:
            self._requests.append(replace(arrived, status=answer.status))
        return answer

    def _answer(self, method: str, path: str, form: Form | None, faults: tuple[Fault, ...]) -> Answer:
        request = str(uuid.uuid4())
        is_refused = any(isinstance(fault, Refused) for fault in faults)
        answer = Answer(payload={"request": request}) if is_refused else self._api.answer(method, path, form, request)
        for fault in faults:
            answer = fault.spoil(answer)
        return answer

    def _control(self, method: str, path: str, query: Mapping[str, str]) -> Answer:
        match method, path.split("/")[2:]:
            case "GET", ["messages"]:
                return Answer(payload=[_shown(message) for message in self.messages])
            case "GET", ["requests"]:
                shown = [{**vars(record), "at": record.at.isoformat()} for record in self.requests]
                return Answer(payload=shown)
            case "POST", ["acknowledge", receipt]:
                try:
                    is_done = self.acknowledge(
                        unquote(receipt), by=query.get("by"), device=query.get("device", "phone")
                    )
                except ConfigError as error:
                    return Answer(status=404, payload={"error": str(error)})
                return Answer(payload={"acknowledged": is_done})
        return Answer(status=404, payload={"error": "only messages, requests and acknowledge/RECEIPT are here"})


def _form(query: str, headers: Mapping[str, str], body: bytes) -> Form | None:
    """The fields of query and body together; None where the body cannot be read."""
    try:
        form = read_form(headers.get("content-type", ""), body)
    except (ValueError, KeyError):
        return None
    return replace(form, fields={**dict(parse_qsl(query, keep_blank_values=True)), **form.fields})


def _shown(message: AcceptedMessage) -> dict[str, Any]:
    return {
        "at": message.at.isoformat(),
        "request": message.request,
        "receipt": message.receipt,
        "title": message.title,
        "text": message.text,
        "priority": message.priority,
        "tags": list(message.tags),
        "fields": {name: value for name, value in message.fields.items() if name not in {"token", "user"}},
        "image_bytes": None if message.image is None else len(message.image),
    }
