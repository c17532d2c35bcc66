"""What a folder of frames should hold: the names written there, so that a deleted file is missed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Final

NAME: Final = ".written.json"
"""Beside the files; all of them bear a checksum then."""


def printed(names: Iterable[str]) -> bytes:
    """The list as it is written, with a checksum of its own."""
    ordered = sorted(set(names))
    return json.dumps({"files": ordered, "sha256": _digest(ordered)}).encode()


def parsed(content: bytes | None) -> frozenset[str] | None:
    """The names; None where there is no list, or a damaged one (it is made anew at the next write)."""
    if content is None:
        return None
    try:
        found = json.loads(content)
        names = found["files"]
        is_right = isinstance(names, list) and found["sha256"] == _digest(names)
    except (ValueError, KeyError, TypeError):
        return None
    return frozenset(str(name) for name in names) if is_right else None


def _digest(names: list[str]) -> str:
    return hashlib.sha256(json.dumps(names).encode()).hexdigest()
