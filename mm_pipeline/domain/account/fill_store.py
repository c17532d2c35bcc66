"""The port through which fills and flows that were read are kept, so that no exchange is asked for them twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from mm_pipeline.domain.account.values import AccountFill, AccountFlow
from mm_pipeline.domain.market import Market


class ReadSpan(NamedTuple):
    """The stretch of time whose fills or flows are kept in full: ``start_ms <= time < end_ms``, epoch milliseconds."""

    start_ms: int
    end_ms: int

    def until(self, end_ms: int) -> ReadSpan:
        """What of it lies before ``end_ms``."""
        return ReadSpan(min(self.start_ms, end_ms), min(self.end_ms, end_ms))


class FillStore(Protocol):
    """Keeps fills by account and market and flows by account, append-only by trade id and ledger id."""

    def fills(self, account: str, market: Market) -> list[AccountFill]:
        """Every fill kept, as :func:`~mm_pipeline.domain.account.values.in_order` sorts them."""
        ...

    def span(self, account: str, market: Market) -> ReadSpan | None:
        """What was read in full so far; None where nothing was."""
        ...

    def append(self, account: str, market: Market, fills: Sequence[AccountFill], *, span: ReadSpan | None) -> int:
        """Keep fills that are not kept yet, and then note what was read; the number of new ones.

        A process that dies in between leaves fills without their span: they are read again and found known.

        Raises
        ------
        ConflictingFills
            When a kept fill bears the same trade id and differs; nothing is changed.
        """
        ...

    def flows(self, account: str) -> list[AccountFlow]:
        """Every flow kept, as :func:`~mm_pipeline.domain.account.values.flows_in_order` sorts them."""
        ...

    def flow_span(self, account: str) -> ReadSpan | None:
        """Of what the flows were read in full so far; None where of nothing. Flows kept may lie before it."""
        ...

    def append_flows(self, account: str, flows: Sequence[AccountFlow], *, span: ReadSpan | None) -> int:
        """Keep flows that are not kept yet, and then note what was read; otherwise like :meth:`append`.

        Raises
        ------
        ConflictingFlows
            When a kept flow bears the same ledger id and differs; nothing is changed.
        """
        ...
