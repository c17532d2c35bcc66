"""What an installation consists of: plain parts, given once by the composition root."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mm_pipeline.adapters.clock import Clock
from mm_pipeline.adapters.journal import Journal
from mm_pipeline.application.opening.accounts import AccountFactory
from mm_pipeline.application.opening.candle_sources import SourceFactory
from mm_pipeline.application.opening.channels import ChannelFactory
from mm_pipeline.application.provenance import code_version
from mm_pipeline.application.storage_guard import StorageGuard, storage_guard
from mm_pipeline.settings import Deployment, Settings


@dataclass(frozen=True, kw_only=True)
class Installation:
    """Settings, and the ways to candles, accounts, channels, frames and journal.

    Attributes
    ----------
    deployment
        Settings and the folder of grids.
    clock
        This machine's, or one that stands still.
    journal_url
        SQLAlchemy URL of the journal's database.
    sources
        Where candles come from.
    channels
        How operators are reached.
    accounts
        Whose accounts are read.
    frames_root
        Path or URL of the frames.
    studies_folder
        Where study files lie.
    studies_root
        Folder of the studies' own frames.
    archive_folder
        Clone of the evaluation archive.
    home
        Of Dagster's storage and the reserve of disk space.
    environment
        Variables that settings name: the heartbeat's URL, the archive's remote.
    """

    deployment: Deployment
    clock: Clock
    journal_url: str
    sources: SourceFactory
    channels: ChannelFactory
    accounts: AccountFactory
    frames_root: str
    studies_folder: Path
    studies_root: Path
    archive_folder: Path
    home: Path
    environment: Mapping[str, str]

    @property
    def settings(self) -> Settings:
        """Every threshold and choice."""
        return self.deployment.settings

    @property
    def written_by(self) -> Mapping[str, str]:
        """What decides a state beside bars and grids: kept with every frame and journal row."""
        return {"settings_hash": self.settings.hash, "code_version": code_version()}

    def variable(self, name: str) -> str:
        """An environment variable that the settings name; empty where it is not set."""
        return self.environment.get(name, "").strip()

    def open_journal(self) -> Journal:
        """The journal, newly opened: whoever opens it closes it.

        Raises
        ------
        StorageError
            When the database fails.
        """
        return Journal(self.journal_url)

    def storage_guard(self) -> StorageGuard:
        """What tells of a failing journal or disk without either."""
        return storage_guard(
            self.deployment,
            self.channels,
            home=self.home,
            frames_root=self.frames_root,
            journal_url=self.journal_url,
            clock=self.clock,
        )
