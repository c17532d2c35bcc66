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
    from mm_pipeline.domain.notifications import ResponseKind

    now = SystemClock().now()
    heard = delivery_for(settings, journal).answers.follow()
    for problem in heard.problems:
        click.echo(f"note: an alarm rings on for now, the watch will end it: {problem}", err=True)
    ringing = {one.channel for one in journal.outbox.open_receipts(now=now) if set(one.page.grids) <= set(grids)}
    if ringing and not heard.problems:
        told = f"{', '.join(sorted(ringing))} cannot be asked from this shell (are its keys set?)"
        click.echo(f"note: an alarm may ring on for now, the watch will end it: {told}", err=True)
    ended = (one.response for one in heard.answers)
    return frozenset(one.grid for one in ended if one.kind is ResponseKind.CANCELLED)


def written_by(settings: Settings) -> Mapping[str, str]:
    """What stands beside everything that a command journals."""
    from mm_pipeline.application.provenance import code_version

    return {"settings_hash": settings.hash, "code_version": code_version()}
