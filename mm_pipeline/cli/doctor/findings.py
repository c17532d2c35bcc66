"""One line of ``mm doctor``, as its checks give it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Finding:
    """What was looked at, what was seen, and what to do about it."""

    check: str
    status: Status
    seen: str
    hint: str = ""


Findings = Iterator[Finding]
