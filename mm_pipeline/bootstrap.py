"""The composition root: an installation of plain parts, for Dagster, commands and tests alike.

Here and in ``settings`` alone the environment is read.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from mm_pipeline.adapters.clock import FixedClock, SystemClock
from mm_pipeline.adapters.config.home import (
    JOURNAL_VARIABLE,
    archive_dir,
    data_home,
    frames_dir,
    journal_file,
    mm_home,
    studies_dir,
)
from mm_pipeline.adapters.journal import sqlite_url
from mm_pipeline.application.installation import Installation
from mm_pipeline.application.opening.accounts import AccountFactory, ExchangeAccounts
from mm_pipeline.application.opening.candle_sources import ExchangeSources, SourceFactory
from mm_pipeline.application.opening.channels import ChannelFactory, ConfiguredChannels
from mm_pipeline.domain.errors import ConfigError
from mm_pipeline.settings import Deployment, load_deployment


@dataclass(frozen=True, kw_only=True)
class Overrides:
    """What a caller replaces of the installation; None keeps it.

    Attributes
    ----------
    deployment
        Settings and grids.
    home
        Where frames and journal are kept.
    frames_root
        Path or URL of the frames alone.
    journal_url
        The journal's database.
    sources
        Where candles come from.
    channels
        How operators are reached.
    accounts
        Whose accounts are read.
    clock_at
        ISO 8601 instant at which the clock stands.
    """

    deployment: Deployment | None = None
    home: Path | None = None
    frames_root: str | None = None
    journal_url: str | None = None
    sources: SourceFactory | None = None
    channels: ChannelFactory | None = None
    accounts: AccountFactory | None = None
    clock_at: str | None = None


def variable(name: str) -> str:
    """An environment variable without blanks around it; empty where it is not set."""
    return os.environ.get(name, "").strip()


def journal_url(home: Path) -> str:
    """``$MM_JOURNAL_URL``, else the SQLite file of a home."""
    return variable(JOURNAL_VARIABLE) or sqlite_url(journal_file(home))


def installation(overrides: Overrides | None = None) -> Installation:
    """The installation that settings, home and environment declare.

    Raises
    ------
    ConfigError
        When the settings cannot be read, or the home cannot be found.
    """
    chosen = overrides or Overrides()
    deployment = chosen.deployment or load_deployment()
    home = chosen.home or data_home(is_paper=deployment.settings.is_paper)
    at = chosen.clock_at
    return Installation(
        deployment=deployment,
        clock=SystemClock() if at is None else FixedClock(datetime.fromisoformat(at)),
        journal_url=chosen.journal_url or journal_url(home),
        sources=chosen.sources or ExchangeSources(),
        channels=chosen.channels or ConfiguredChannels(home),
        accounts=chosen.accounts or ExchangeAccounts(),
        frames_root=chosen.frames_root or str(frames_dir(home)),
        studies_folder=studies_dir(chosen.home or mm_home()),
        studies_root=studies_dir(home),
        archive_folder=archive_dir(home),
        home=chosen.home or mm_home(),
        environment=os.environ,
    )


def following(overrides: Overrides | None = None) -> Callable[[], Installation]:
    """The installation by its settings file as it is whenever this is called.

    A process that lives on between runs, as that of the sensors, must not page by channels that were taken out. A file
    that cannot be read leaves the last settings in force: the runs say what is wrong with it.

    Raises
    ------
    ConfigError
        When it cannot be read at first.
    """
    chosen = overrides or Overrides()
    fixed = chosen.deployment
    deployment = following_deployment() if fixed is None else lambda: fixed
    made = installation(replace(chosen, deployment=deployment()))

    def current() -> Installation:
        nonlocal made
        if deployment() is not made.deployment:
            with suppress(ConfigError):
                made = installation(replace(chosen, deployment=deployment()))
        return made

    return current


def following_deployment(file: Path | None = None) -> Callable[[], Deployment]:
    """Settings by their file as it is whenever this is called; the last ones where it cannot be read any more.

    Raises
    ------
    ConfigError
        When it cannot be read at first.
    """
    made = load_deployment(file)
    seen = _stamp(made.file)

    def current() -> Deployment:
        nonlocal made, seen
        stamp = _stamp(made.file)
        if stamp != seen:
            seen = stamp
            with suppress(ConfigError):
                made = load_deployment(file)
        return made

    return current


def _stamp(file: Path | None) -> tuple[int, int] | None:
    """When a file was changed, and its length; None where there is none."""
    try:
        found = None if file is None else file.stat()
    except OSError:
        return None
    return None if found is None else (found.st_mtime_ns, found.st_size)
