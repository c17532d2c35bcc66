"""How long runs of the past are kept: settings key ``housekeeping``."""

from __future__ import annotations

from datetime import timedelta

from mm_pipeline.domain.policy import Duration, Policy, threshold

_HOUR = timedelta(hours=1)


class HousekeepingPolicy(Policy):
    """What of Dagster's own storage goes. Frames, journal and archive are no business of this."""

    keep_runs_for: Duration = threshold(
        unit="duration since a run was asked for",
        source="measured: a default home grows 54 MB a day; two days are some 110 MB",
        ge=_HOUR,
        le=timedelta(days=3650),
    )
    keep_failed_runs_for: Duration = threshold(
        unit="duration since a run was asked for",
        source="whoever looks into a failure may be away for two weeks",
        ge=_HOUR,
        le=timedelta(days=3650),
    )
    runs_a_pass: int = threshold(
        unit="runs", source="a day has some 130; a home that was never cleaned takes a week", ge=1, le=100_000
    )
