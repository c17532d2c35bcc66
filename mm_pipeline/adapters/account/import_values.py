"""An import, and what came of it, as plain values. How they are kept does not belong here."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from mm_pipeline.domain.account import AccountFill, Telling
from mm_pipeline.domain.market import Market


@dataclass(frozen=True, kw_only=True)
class ImportRecord:
    """One import.

    Attributes
    ----------
    number
        Counts imports of all markets; by it one is forgotten.
    at
        When it was imported; None for what an earlier version imported.
    file
        The file's name without its folder.
    form
        As :class:`~mm_pipeline.adapters.account.ImportedFills` names it.
    digest
        Of what the rows tell: the same file is recorded once.
    tellings
        The rows of the market, fees in base or quote.
    """

    number: int
    at: datetime | None
    file: str
    form: str
    market: Market
    digest: str
    tellings: tuple[Telling, ...]


@dataclass(frozen=True, kw_only=True)
class ListedImport:
    """An import, and the fills that are kept of it: those that its rows tell.

    ``problem`` is what does not fit among the imports of its market, as earlier versions let in; mostly empty.
    """

    record: ImportRecord
    kept: tuple[AccountFill, ...]
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class ImportOutcome:
    """What an import, or taking one out, changed.

    Attributes
    ----------
    record
        The import; an earlier one where the file was imported before.
    is_known
        Whether it was imported before.
    mine
        Fills that its rows tell.
    added, removed
        Fills that are kept now and were not before, and the reverse.
    two_fees
        How many of ``mine`` are told with two fees.
    """

    record: ImportRecord
    is_known: bool
    mine: tuple[AccountFill, ...]
    added: tuple[AccountFill, ...]
    removed: tuple[AccountFill, ...]
    two_fees: int


def digest_of(tellings: Iterable[Telling]) -> str:
    """Of what rows tell, whatever their order and place in the file."""
    told = sorted(repr(replace(telling, source=0, place="")) for telling in tellings)
    return hashlib.sha256("\n".join(told).encode()).hexdigest()
