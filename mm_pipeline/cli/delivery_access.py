"""The delivery side of an installation for commands: channels, relay and answers over an open journal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from mm_pipeline.adapters.journal import Journal
    from mm_pipeline.application.opening.channels import Delivery
    from mm_pipeline.settings import Settings


def delivery_for(settings: Settings, journal: Journal, *, home: Path | None = None) -> Delivery:
    """What takes pages of this journal to the configured channels, and answers back.

    Parameters
    ----------
    home
        Where a relative file of a channel begins; default: the installation's.
    """
    from mm_pipeline.adapters.clock import SystemClock
    from mm_pipeline.adapters.config.home import data_home
    from mm_pipeline.application.opening.channels import ConfiguredChannels, delivery_of

    channels = ConfiguredChannels(home or data_home(is_paper=settings.is_paper)).open(settings)
    return delivery_of(journal, channels, settings=settings, clock=SystemClock(), written_by=written_by(settings))


def end_alarms(settings: Settings, journal: Journal, grids: Collection[str]) -> frozenset[str]:
    """End the alarms that need not ring any more, as far as the provider can be reached now.

    One about these grids that could not be ended here is told as a note; the receipts sensor ends it.

    Returns
    -------
    Grids of the alarms that were ended.
    """
    from mm_pipeline.adapters.clock import SystemClock
    from mm_pipeline.application.operator import answers

    ended = answers.end_alarms(journal, delivery_for(settings, journal).answers, grids, now=SystemClock().now())
    for note in ended.notes:
        click.echo(f"note: {note}", err=True)
    return ended.grids


def written_by(settings: Settings) -> Mapping[str, str]:
    """What stands beside everything that a command journals."""
    from mm_pipeline.application.provenance import code_version

    return {"settings_hash": settings.hash, "code_version": code_version()}
