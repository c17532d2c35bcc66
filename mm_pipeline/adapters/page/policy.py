"""Where the operator's page listens, and how often it looks: settings key ``page``.

When its cards turn UNKNOWN is ``notify.max_lateness``, as everywhere: page and ``mm status`` never disagree.
"""

from __future__ import annotations

from datetime import timedelta

from mm_pipeline.domain.policy import Duration, Policy, threshold

_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)


class PagePolicy(Policy):
    """Port, pace and memory of the page."""

    port: int = threshold(
        unit="TCP port on loopback; 0 takes a free one",
        source="the one after Dagster's usual 3000",
        ge=0,
        le=65_535,
    )
    refresh: Duration = threshold(
        unit="duration between two looks of an open page",
        source="a page is due within a minute; four looks of some 50 ms in it cost the machine nothing",
        ge=timedelta(seconds=2),
        le=timedelta(minutes=5),
    )
    session: Duration = threshold(
        unit="duration for which a login counts",
        source="nobody types a token at three in the morning; a phone that is lost is out within a month",
        ge=_HOUR,
        le=365 * _DAY,
    )
    history: Duration = threshold(
        unit="duration that the page of a grid looks back",
        source="mm history shows a week too; its quarter hours are as many as a phone has pixels",
        ge=_HOUR,
        le=31 * _DAY,
    )
