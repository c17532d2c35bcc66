"""How hard a decided page is tried: settings key ``delivery``, and the waiting between attempts. Pure."""

from __future__ import annotations

from datetime import timedelta

from mm_pipeline.domain.policy import Duration, Policy, threshold

_SECOND = timedelta(seconds=1)
_MINUTE = timedelta(minutes=1)


class DeliveryPolicy(Policy):
    """Limits on attempts, waiting and claims; the same for every channel."""

    lease: Duration = threshold(
        unit="duration",
        source="renewed at a third of it while a send lasts; a process that died blocks a page no longer than this",
        ge=timedelta(seconds=3),
        le=timedelta(minutes=15),
    )
    backoff_initial: Duration = threshold(
        unit="duration",
        source="Pushover: wait at least 5 s; doubles each time",
        ge=5 * _SECOND,
        le=_MINUTE,
    )
    backoff_max: Duration = threshold(unit="duration", source="a third of a tick", ge=5 * _SECOND, le=15 * _MINUTE)
    escalate_after_attempts: int = threshold(
        unit="failed attempts", source="5, 10, 20 s: the next channel is tried within a minute", ge=1, le=100
    )
    run_for: Duration = threshold(
        unit="duration of one relay run", source="well within a sensor's limit of 60 s", ge=_SECOND, le=50 * _SECOND
    )
    overdue_after: Duration = threshold(
        unit="duration",
        source="one tick: a page that is older and unsent silences the heartbeat; longer than an hour would disarm it",
        ge=_SECOND,
        le=60 * _MINUTE,
    )
    refused_again_after: Duration = threshold(
        unit="duration",
        source="a refusal is final until somebody puts the key right; a page that reached nobody asks again",
        ge=timedelta(minutes=5),
        le=timedelta(days=1),
    )
    breaker_failures: int = threshold(
        unit="failed sends in a row", source="two pages that failed after escalating", ge=1, le=1000
    )
    breaker_cool_down: Duration = threshold(
        unit="duration", source="as long as backoff_max: one attempt each time", ge=5 * _SECOND, le=15 * _MINUTE
    )
    min_quota_share: float = threshold(
        unit="0..1 of the provider's quota", source="three days of a month's messages", ge=0.0, le=1.0
    )


def backoff(policy: DeliveryPolicy, *, failed_attempts: int, retry_after_s: float = 0.0) -> timedelta:
    """How long to wait after the n-th failed attempt, at least as long as the provider asks for."""
    doubled = policy.backoff_initial * (1 << min(failed_attempts - 1, 20))
    return max(min(doubled, policy.backoff_max), timedelta(seconds=retry_after_s))
