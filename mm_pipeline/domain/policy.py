"""How a threshold is declared: bounds, unit and source beside the field, the value in the settings file only.

Policies are frozen, refuse unknown keys and have no defaults in code: ``settings/defaults.yaml`` holds every value.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

_DURATION = re.compile(r"(\d+)(s|min|h|d)")
_MOST_DIGITS = 12
_LONGEST = timedelta(days=3650)
"""Of any duration in a settings file; each has a bound of its own beside it."""
_SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86_400}


def _parse_duration(value: object) -> timedelta:
    if isinstance(value, timedelta):
        return value
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is not a duration; write it like 90s, 35min, 4h or 7d")
    seconds = int(match[1][:_MOST_DIGITS]) * _SECONDS[match[2]]
    if len(match[1]) > _MOST_DIGITS or seconds > _LONGEST.total_seconds():
        raise ValueError(f"it is longer than {print_duration(_LONGEST)}; write a shorter duration, like 35min or 7d")
    return timedelta(seconds=seconds)


def print_duration(value: timedelta) -> str:
    """A length of time in whole units, as it is written in settings files."""
    seconds = int(value.total_seconds())
    unit = next(unit for unit in ("d", "h", "min", "s") if seconds % _SECONDS[unit] == 0)
    return f"{seconds // _SECONDS[unit]}{unit}"


Duration = Annotated[timedelta, BeforeValidator(_parse_duration), PlainSerializer(print_duration)]
"""A length of time written ``35min``, ``4h``, ``7d`` in settings files."""


class Policy(BaseModel):
    """Base of all thresholds and settings: frozen, strict, unknown keys refused."""

    # Inputs are hidden from errors: a key that was written into a settings file by mistake must not reach a log.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, hide_input_in_errors=True)


def threshold(*, unit: str, source: str, **bounds: Any) -> Any:
    """Declare a policy field.

    Parameters
    ----------
    unit
        Unit of the value: ``bars``, ``ATR``, ``ratio``, ``0..1``, ``duration`` ...
    source
        Where the default comes from: a publication, the founding review, a study command.
    **bounds
        pydantic bounds: ``ge``, ``gt``, ``le``, ``lt``.
    """
    return Field(json_schema_extra={"unit": unit, "source": source}, **bounds)
