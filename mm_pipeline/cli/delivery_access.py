"""The delivery side of an installation for commands: channels, relay and answers over an open journal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mm_pipeline.adapters.journal import Journal
    from mm_pipeline.resources import Delivery
    from mm_pipeline.settings import Settings


def delivery_for(settings: Settings, journal: Journal, *, home: Path | None = None) -> Delivery:
    """What takes pages of this journal to the configured channels, and answers back.

    Parameters
    ----------
    home
        Where a relative file of a channel begins; default: the installation's.
    """
    from mm_pipeline.adapters.clock import SystemClock
    from mm_pipeline.adapters.home import data_home
    from mm_pipeline.resources.channels import ConfiguredChannels, delivery_of

    channels = ConfiguredChannels(home or data_home(is_paper=settings.is_paper)).open(settings)
    return delivery_of(journal, channels, settings=settings, clock=SystemClock(), written_by=written_by(settings))


def written_by(settings: Settings) -> Mapping[str, str]:
    """What stands beside everything that a command journals."""
    from mm_pipeline.resources.watch import code_version

    return {"settings_hash": settings.hash, "code_version": code_version()}
