"""What the paper Pushover can be told to do wrong, before it takes a message or after."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from mm_pipeline.paper.http.faults import ConnectionLost, Delayed, DrippedBody, Fault, FaultPlan
from mm_pipeline.paper.http.wire import Answer

MESSAGES = "/1/messages.json"


@dataclass(frozen=True, kw_only=True)
class Refused(Fault):
    """The request is not handled at all: nothing is taken, and this is the answer.

    ``body`` may be text as it is, or a mapping, to which ``request`` is added.
    """

    status: int
    body: str | Mapping[str, Any]

    def spoil(self, answer: Answer) -> Answer:
        if isinstance(self.body, str):
            return replace(answer, status=self.status, raw=self.body.encode(), content_type="text/html; charset=utf-8")
        return replace(answer, status=self.status, raw=json.dumps({**answer.payload, **self.body}).encode())


class Misbehaviour:
    """Shorthands over a fault plan; each holds for the next requests whose target contains ``path``."""

    faults: FaultPlan

    def fail_next(
        self, times: int = 1, *, status: int = 500, body: str | Mapping[str, Any] | None = None, path: str = MESSAGES
    ) -> None:
        """Refuse requests without taking anything; the body is an error of Pushover's form unless told."""
        said = {"status": 0, "errors": ["made to fail"]} if body is None else body
        self.faults.add(Refused(status=status, body=said), path_contains=path, times=times)

    def hang_up_next(self, times: int = 1, *, is_reset: bool = False, path: str = MESSAGES) -> None:
        """Handle requests and never send the answers: the connection is closed."""
        self.faults.add(ConnectionLost(is_reset=is_reset), path_contains=path, times=times)

    def hang_next(self, times: int = 1, *, for_s: float = 3600.0, path: str = MESSAGES) -> None:
        """Handle requests and stay silent for ``for_s`` seconds of real time before each answer."""
        self.faults.add(Delayed(delay_s=for_s), path_contains=path, times=times)

    def drip_next(self, times: int = 1, *, chunk_bytes: int = 1, pause_s: float = 0.2, path: str = MESSAGES) -> None:
        """Handle requests and send the answers in small chunks."""
        fault = DrippedBody(chunk_bytes=chunk_bytes, pause_s=pause_s)
        self.faults.add(fault, path_contains=path, times=times)
