"""What a backfill is expected to cost, and when it asks first: settings key ``backfill``."""

from __future__ import annotations

from datetime import timedelta

from mm_pipeline.domain.policy import Duration, Policy, threshold


class BackfillPolicy(Policy):
    """The pace of a home that has made no month yet, and how long a backfill may be without a question."""

    rows_per_s: float = threshold(
        unit="rows per second, of all datasets",
        source="measured: 700 to 1,200, months of one grid on the paper exchange, two busy cores of 2026",
        gt=0,
        le=10_000_000,
    )
    bytes_per_row: float = threshold(
        unit="bytes of a stored row",
        source="measured on the same months: 120 to 136",
        gt=0,
        le=100_000,
    )
    ask_after: Duration = threshold(
        unit="duration",
        source="the time between two ticks: a backfill that is longer gives way to one at least",
        ge=timedelta(seconds=1),
        le=timedelta(days=30),
    )
