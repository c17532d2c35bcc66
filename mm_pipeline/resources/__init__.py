"""Dagster wrappers around adapters: clock, journal, candle sources, frames, and the watch that brings them together.

What is computed does not belong here.
"""

from mm_pipeline.resources.accounts import AccountFactory, ExchangeAccounts
from mm_pipeline.resources.candle_shelf import CandleShelf, MarketBars
from mm_pipeline.resources.channels import ChannelFactory, ConfiguredChannels, Delivery
from mm_pipeline.resources.clock import ClockResource
from mm_pipeline.resources.io_managers import FramesIOManager
from mm_pipeline.resources.journal import JournalResource
from mm_pipeline.resources.plan import Plan, WatchedGrid
from mm_pipeline.resources.sources import ExchangeSources, SourceFactory
from mm_pipeline.resources.watch import Watch

__all__ = [
    "AccountFactory",
    "CandleShelf",
    "ChannelFactory",
    "ClockResource",
    "ConfiguredChannels",
    "Delivery",
    "ExchangeAccounts",
    "ExchangeSources",
    "FramesIOManager",
    "JournalResource",
    "MarketBars",
    "Plan",
    "SourceFactory",
    "Watch",
    "WatchedGrid",
]
