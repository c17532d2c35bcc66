"""How long writers of frames wait for each other: settings key ``writing``."""

from __future__ import annotations

from datetime import timedelta

from mm_pipeline.domain.policy import Duration, Policy, threshold

_SECOND = timedelta(seconds=1)


class WritingPolicy(Policy):
    """Limits of waiting. None of them decides a state."""

    tick_wait: Duration = threshold(
        unit="duration",
        source="an eighth of the time between two ticks; the page is then out well within `notify.max_lateness`",
        ge=_SECOND,
        le=timedelta(minutes=10),
    )
    give_up_after: Duration = threshold(
        unit="duration",
        source="a third of the time between two ticks, which may be queued behind a run that waits",
        ge=_SECOND,
        le=timedelta(hours=1),
    )
    give_way: Duration = threshold(
        unit="duration",
        source="a queued tick begins within seconds; one that does not has no daemon to start it",
        ge=_SECOND,
        le=timedelta(minutes=30),
    )
