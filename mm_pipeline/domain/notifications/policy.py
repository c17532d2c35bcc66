"""When an operator is told what: settings key ``notify``. Priorities are Pushover's: -1 quiet to 2 emergency."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from pydantic import Field, model_validator

from mm_pipeline.domain.policy import Duration, Policy, threshold

_SPEC = "SPEC 8's table"
_ZERO = timedelta(0)
_DAY = timedelta(days=1)
LONGEST_FLAPPING: Final = 32
"""Evaluations that a history remembers singly."""


def _priority(lowest: int, highest: int) -> Any:
    return threshold(unit="Pushover priority", source=_SPEC, ge=lowest, le=highest)


def _span(source: str = _SPEC, *, ge: timedelta = _ZERO, le: timedelta = 7 * _DAY) -> Any:
    return threshold(unit="duration", source=source, ge=ge, le=le)


def _evaluations(most: int = 96) -> Any:
    return threshold(unit="evaluations in a row", source=_SPEC, ge=1, le=most)


class MandatoryExitNotice(Policy):
    """An emergency: rings until it is acknowledged, and is issued anew when it expires unanswered."""

    priority: int = _priority(1, 2)
    window: Duration = _span(ge=timedelta(minutes=1))
    retry: Duration = _span(f"{_SPEC}; Pushover allows no less than 30 s", ge=timedelta(seconds=30))
    expire: Duration = _span(
        f"{_SPEC}; Pushover allows no more than 3 h", ge=timedelta(minutes=15), le=timedelta(hours=3)
    )
    quick_reissues: int = threshold(
        unit="reissues, each after expire", source=f"{_SPEC}: after the fourth every 6 h", ge=0, le=100
    )
    then_every: Duration = _span(ge=timedelta(minutes=15))
    episode_ends_after: Duration = _span("a day without a mandatory trigger is a new episode", ge=timedelta(hours=1))


class LatestExitNotice(Policy):
    """Told on change, and again while nobody acknowledges."""

    priority: int = _priority(0, 2)
    window: Duration = _span(ge=timedelta(minutes=1))
    repeat: Duration = _span(ge=timedelta(minutes=15))


class WarningNotice(Policy):
    """Told on change, not too often, where the policy's WARNING has earned it."""

    push: bool = Field(
        json_schema_extra={
            "unit": "true or false",
            "source": "SPEC 8: seed true; calibrated false until its study supports it (lift 0.96 [0.91, 1.02])",
        }
    )
    priority: int = _priority(-1, 1)
    window: Duration = _span(ge=timedelta(minutes=1))
    min_interval: Duration = _span()


class NormalNotice(Policy):
    """That all is well again, once it has lasted."""

    priority: int = _priority(-1, 0)
    after_evaluations: int = _evaluations()


class UnknownNotice(Policy):
    """That the watch is blind, once it has lasted, and ever more seldom."""

    priority: int = _priority(0, 2)
    after_evaluations: int = _evaluations(most=8)  # a watch that is blind for more than two hours must say so
    flapping_count: int = threshold(
        unit="UNKNOWN evaluations", source="half of two hours unseen is no watch", ge=2, le=LONGEST_FLAPPING
    )
    flapping_of: int = threshold(
        unit="evaluations",
        source="two hours, as long as an outage may last untold; so long nothing must fail for one of runs to be over",
        ge=2,
        le=LONGEST_FLAPPING,
    )
    second_after: Duration = _span(ge=timedelta(minutes=15))
    third_after: Duration = _span(ge=timedelta(minutes=15))
    then_every: Duration = _span(ge=timedelta(hours=1))

    @model_validator(mode="after")
    def _flapping_can_be_seen(self) -> UnknownNotice:
        if self.flapping_count > self.flapping_of:
            raise ValueError(
                f"flapping_count is {self.flapping_count}, more than flapping_of: {self.flapping_of} evaluations, "
                f"and would never fire; write flapping_count: {self.flapping_of} or less, or a larger flapping_of"
            )
        return self


class SoldOutNotice(Policy):
    """Price is above the grid and all is sold: there is nothing to exit, but a range to set anew."""

    priority: int = _priority(-1, 1)
    dust_share: float = threshold(
        unit="share of the smallest interval's quantity",
        source="rounding and fees in base leave thousandths of an interval in an account",
        ge=0.0,
        le=0.5,
    )


class ReminderNotice(Policy):
    """That an acknowledged emergency still stands, while the position is neither flat nor verified."""

    priority: int = _priority(-1, 1)
    first_after: Duration = _span(f"{_SPEC}, from the acknowledgement on", ge=timedelta(minutes=15))
    then_every: Duration = _span(ge=timedelta(hours=1))


class StillEnabledNotice(Policy):
    """That a grid reported flat is still enabled; told once."""

    priority: int = _priority(-1, 0)
    after: Duration = _span("SPEC 8: one quiet reminder after 24 h", ge=timedelta(minutes=15))


class EnterNotice(Policy):
    """A range that is proposed to a disabled grid, not too often."""

    priority: int = _priority(-1, 1)
    min_interval: Duration = _span()


class PageBudget(Policy):
    """Most pages about one grid in a stretch of time; binds WARNING and below, never a page that asks for an exit."""

    pages: int = threshold(unit="pages", source="six warnings and the six times that all is well again", ge=1, le=1000)
    per: Duration = _span("a day of an operator", ge=timedelta(hours=1))


class NotifyPolicy(Policy):
    """What is live, and so may be paged, and the rules of each notice."""

    max_lateness: Duration = threshold(
        unit="duration", source="SPEC 8: one tick and five minutes", ge=timedelta(minutes=1), le=timedelta(hours=2)
    )
    decided_after: Duration = threshold(
        unit="duration",
        source="the schedule runs a minute after each close; a replay takes what was answered until then",
        ge=_ZERO,
        le=timedelta(minutes=15),
    )
    mandatory_exit: MandatoryExitNotice
    latest_acceptable_exit: LatestExitNotice
    warning: WarningNotice
    normal: NormalNotice
    unknown: UnknownNotice
    sold_out: SoldOutNotice
    reminder: ReminderNotice
    still_enabled: StillEnabledNotice
    enter: EnterNotice
    budget: PageBudget
