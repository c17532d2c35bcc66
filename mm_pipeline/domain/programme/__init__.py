"""Grids placed one after the other along a market's history, and left when a policy says so (SPEC 10).

What a programme is worth beside others does not belong here.
"""

from mm_pipeline.domain.programme.engine import Ending, Programme, Rules, run_programme
from mm_pipeline.domain.programme.market import ProgrammeMarket
from mm_pipeline.domain.programme.offers import GridOffers, centred_offers, proposed_offers
from mm_pipeline.domain.programme.signals import Signals, StudiedPolicy, signals_of

__all__ = [
    "Ending",
    "GridOffers",
    "Programme",
    "ProgrammeMarket",
    "Rules",
    "Signals",
    "StudiedPolicy",
    "centred_offers",
    "proposed_offers",
    "run_programme",
    "signals_of",
]
