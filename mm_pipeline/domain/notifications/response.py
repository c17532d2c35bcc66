"""What the operator did about a page, or did not do, as plain values."""

from __future__ import annotations

from collections.abc import Sequence
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
SEEN_OPEN = frozenset({ResponseKind.REOPENED, ResponseKind.CONTRADICTED})


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

    def closes(self, *, started_at: datetime | None, open_at: datetime | None) -> bool:
        """Whether it closes the position of a range, by when it happened; the moment it was known decides nothing.

        An exit before the range began was that of another range. One before the position was seen open is refuted.

        Parameters
        ----------
        started_at
            Start of the range; None where it is not known.
        open_at
            When the position was last reported or seen open, as far as that was known before; None where never.
        """
        is_of_range = started_at is None or self.at >= started_at
        return self.kind in FLATS and is_of_range and (open_at is None or self.at >= open_at)


def unrefuted(responses: Sequence[Response]) -> list[Response]:
    """Responses about one grid without reports of flat that were not true, in their order.

    A report is refuted by the account that contradicts it, and by the position seen open after the exit that it tells
    of, where that was known before. One that was only taken back later was true until then.
    """
    opened = sorted((one for one in responses if one.kind in SEEN_OPEN), key=lambda one: one.counts_from)
    return [one for one in responses if one.kind not in FLATS or not _is_refuted(one, opened)]


def _is_refuted(word: Response, opened: Sequence[Response]) -> bool:
    before = max((one.at for one in opened if one.counts_from < word.counts_from), default=None)
    after = [one for one in opened if one.counts_from >= word.counts_from]
    # An account that contradicts a word also reopens the grid, at the same moment.
    is_contradicted = any(one.kind is ResponseKind.CONTRADICTED and one.at == after[0].at for one in after)
    return is_contradicted or not word.closes(started_at=None, open_at=before)
