"""How much room is kept, and when an outage of the storage is told without it: settings key ``last_resort``."""

from __future__ import annotations

from datetime import timedelta

from mm_pipeline.domain.policy import Duration, Policy, threshold

_HOUR = timedelta(hours=1)


class LastResortPolicy(Policy):
    """Limits of the disk, and the times of the notice that needs neither journal nor disk."""

    reserve_mb: int = threshold(
        unit="MB (1e6 bytes)",
        source="a tick's journal rows, run records and rewritten months take a few MB; some ticks fit",
        ge=0,
        le=10_000,
    )
    warn_free_mb: int = threshold(
        unit="MB free (1e6 bytes)",
        source="a year of ten grids with Dagster's records: days are left to make room",
        ge=0,
        le=1_000_000,
    )
    fail_free_mb: int = threshold(
        unit="MB free (1e6 bytes)", source="an hour of a growing log; mm doctor fails below it", ge=0, le=1_000_000
    )
    grace: Duration = threshold(
        unit="duration of an outage before it is told",
        source="a database server restarts within a minute, and the next tick heals what that cost",
        ge=timedelta(0),
        le=timedelta(minutes=5),
    )
    quiet_for: Duration = threshold(
        unit="duration between two notices",
        source="a disk at its limit fails and recovers by turns; each hour is often enough to hear of it",
        ge=timedelta(minutes=1),
        le=12 * _HOUR,
    )
    repeat: Duration = threshold(
        unit="duration of an outage after which it is told again",
        source="once a day, as UNKNOWN is repeated",
        ge=_HOUR,
        le=168 * _HOUR,
    )
