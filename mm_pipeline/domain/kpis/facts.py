"""What the KPIs are made of: decisions, deliveries, responses and evaluations, as plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import polars as pl

from mm_pipeline.domain.notifications import Decision, Response

EVALUATED_SCHEMA: Final[dict[str, pl.DataType]] = {
    "grid": pl.String(),
    "evaluated_at": pl.Datetime("ms", "UTC"),
    "kind": pl.String(),
    "state": pl.String(),
    "is_live": pl.Boolean(),
}
"""One row a grid and bar: where a bar was judged twice (a revised candle), as it was judged last."""


@dataclass(frozen=True, kw_only=True)
class Notified:
    """One decision about one grid, told or held back.

    Attributes
    ----------
    respond_by
        End of the recommended window of its page; None where nothing is asked for, or nothing was sent.
    started_at
        Start of the range that was judged; None where it is not known.
    """

    decision: Decision
    decided_at: datetime
    respond_by: datetime | None = None
    started_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class PageDelivery:
    """How a page left.

    Attributes
    ----------
    sent_at
        When the first channel took it; None where none did.
    escalated_at
        When it first went to a further channel, because one failed or nobody answered; None where it did not.
    """

    sent_at: datetime | None = None
    escalated_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class OperatorFacts:
    """Everything known of the pages of a stretch of time, and of what followed.

    Attributes
    ----------
    notified
        Decisions of the stretch and those after it, in any order.
    deliveries
        By page; a page without one was not sent.
    responses
        What operators did, in any order; the watch's own rows (missed, expired, cancelled) change nothing here.
    evaluations
        ``EVALUATED_SCHEMA``, of the stretch and to the end of the last window in it.
    """

    notified: Sequence[Notified]
    deliveries: Mapping[str, PageDelivery]
    responses: Sequence[Response]
    evaluations: pl.DataFrame
