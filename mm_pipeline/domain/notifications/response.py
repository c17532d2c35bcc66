"""What the operator did about a page, or did not do, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class ResponseKind(StrEnum):
    """An acknowledgement is not an exit: somebody knows of the page; flat says that nothing is held any more.

    Reopened voids a report of flat: an account shows that the grid trades again, or still holds. Contradicted stands
    beside it where the account shows on two readings that a report of flat is not true.
    """

    ACKNOWLEDGED = "acknowledged"
    FLAT = "flat"
    VERIFIED_FLAT = "verified_flat"
    REOPENED = "reopened"
    CONTRADICTED = "contradicted"
    MISSED = "missed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


FLATS = frozenset({ResponseKind.FLAT, ResponseKind.VERIFIED_FLAT})


@dataclass(frozen=True, kw_only=True)
class Response:
    """One response about one grid.

    Attributes
    ----------
    at
        When it happened, which may be before it was known.
    known_at
        When it was known, where that was later; decisions before then were made without it.
    page
        The page that is answered; empty: the newest told until then (and what stood
        before an UNKNOWN was told), or the position as a whole.
    """

    grid: str
    at: datetime
    kind: ResponseKind
    page: str = ""
    known_at: datetime | None = None

    @property
    def counts_from(self) -> datetime:
        """From when on decisions take it into account."""
        return self.at if self.known_at is None else max(self.at, self.known_at)
