"""What one plain (unquoted) YAML scalar means: one reading each, and a refusal where readers differ.

YAML 1.1 and 1.2 disagree on ``yes``, ``12:30``, ``0123`` and ``1e5``; an operator who writes one of them would be
guessing. Collections, files and limits do not belong here (``strict_yaml``).
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime

Scalar = str | int | float | bool | datetime | None

_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"[-+]?((0|[1-9][0-9]{0,17})(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]{1,4})?")
_TIME_LIKE = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt\s].*)?")
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?(Z|[-+][0-9]{2}:[0-9]{2})"
)
_NULLS = {"", "~", "null", "Null", "NULL"}
_BOOLEANS = {"true": True, "false": False}

_QUOTE_IT = "put it in quotes if text is meant"
_AMBIGUOUS = [
    (re.compile(r"(?i)true|yes|on|y"), f"reads differently in YAML 1.1 and 1.2; write true, or {_QUOTE_IT}"),
    (re.compile(r"(?i)false|no|off|n"), f"reads differently in YAML 1.1 and 1.2; write false, or {_QUOTE_IT}"),
    (re.compile(r"(?i)[-+]?\.?(nan|inf|infinity)"), f"is not a finite number; write a finite one, or {_QUOTE_IT}"),
    (
        re.compile(r"[-+]?[0-9]+(:[0-9]{1,2})+(\.[0-9]*)?"),
        f"is a number to base 60 in YAML 1.1; write a plain number, or {_QUOTE_IT}",
    ),
    (re.compile(r"[-+]?0[0-9][0-9_.]*"), f"has a leading zero (octal in YAML 1.1); drop the zero, or {_QUOTE_IT}"),
    (re.compile(r"(?i)[-+]?0[xob][0-9a-f_]+"), f"is not decimal; write a decimal number, or {_QUOTE_IT}"),
    (
        re.compile(r"[-+]?[0-9]{1,}([_,][0-9_,]*)(\.[0-9_]*)?"),
        f"has separators between digits; write the digits alone, or {_QUOTE_IT}",
    ),
    (re.compile(r"[-+]?[0-9.]{1,}([eE][-+]?[0-9]+)?"), f"is not a number of usual size; shorten it, or {_QUOTE_IT}"),
]


def read_plain_scalar(text: str) -> Scalar:
    """Read a plain scalar.

    Returns
    -------
    ``None`` (empty, ``~``, ``null``), ``bool`` (``true`` and ``false`` alone), ``int``, finite ``float``
    (``1e5`` included), aware UTC ``datetime`` (ISO 8601 with an explicit offset), or the text itself.

    Raises
    ------
    ValueError
        Where YAML versions read the scalar differently, or a number or time cannot be used.
        The message is ``problem; hint``.
    """
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return _finite(text)
    if _TIME_LIKE.fullmatch(text):
        return _instant(text)
    for pattern, complaint in _AMBIGUOUS:
        if pattern.fullmatch(text):
            raise ValueError(f"{text[:40]!r} {complaint}")
    return text


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text!r} is too large for a number; write a finite one, or {_QUOTE_IT}")
    return number


def _instant(text: str) -> datetime:
    hint = f"write it like 2025-01-31T00:00:00Z, or {_QUOTE_IT}"
    if not _TIME.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is not an ISO 8601 time with a UTC offset; {hint}")
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{text!r} is not a time that exists; {hint}") from error
