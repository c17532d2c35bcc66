"""One study of an installation: its settings by policy, its own frames, and its turn to write them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Final

from mm_pipeline.adapters.config.study_files import StudyFile
from mm_pipeline.adapters.frames.store import FrameStore
from mm_pipeline.adapters.frames.study_frames import StudyFrames
from mm_pipeline.adapters.writing import Turns, turns_of
from mm_pipeline.application.installation import Installation
from mm_pipeline.domain.exit_state import STATES
from mm_pipeline.domain.months import next_month, parse_month
from mm_pipeline.domain.notifications import Notice, NotifyPolicy
from mm_pipeline.domain.study import StudyDeclaration, StudySpan, spans_of
from mm_pipeline.reporting.notification_frame import window_of
from mm_pipeline.settings import Settings, load_settings

GRIDS: Final = "study_grids"
GRID_STATES: Final = "study_states"
OUTCOMES: Final = "signal_outcomes"
DATASETS: Final = (GRIDS, GRID_STATES, OUTCOMES)
"""What a study keeps, each made of the one before."""


class Study:
    """A declared study in an installation.

    Parameters
    ----------
    file
        The study as it is declared.
    installation
        Whose settings, clock and sources it uses; its journal and frames stay closed.
    """

    def __init__(self, file: StudyFile, installation: Installation) -> None:
        self.file = file
        self.installation = installation
        self._settings: dict[str, Settings] = {}

    @property
    def name(self) -> str:
        """Of the study, and of its namespace."""
        return self.file.name

    @property
    def declaration(self) -> StudyDeclaration:
        """What its file says."""
        return self.file.declaration

    @property
    def root(self) -> Path:
        """Folder of everything that the study keeps."""
        return self.installation.studies_root / self.name

    @cached_property
    def frames(self) -> StudyFrames:
        """Its frames."""
        return StudyFrames(str(self.root / "frames"))

    @property
    def candles(self) -> FrameStore:
        """Candles that it asked exchanges for."""
        return FrameStore(str(self.root / "candles"))

    def turns(self) -> Turns:
        """Its order of writers, which no writer of the watch's frames waits for."""
        return turns_of(str(self.root), self.installation.journal_url, self.installation.settings.writing)

    def settings(self, policy: str) -> Settings:
        """The installation's settings under one of the study's policies.

        Raises
        ------
        ConfigError
            When the policy's file cannot be used.
        """
        if policy not in self._settings:
            own = self.file.policies[policy]
            named = {"policy": policy} if own is None else {}
            self._settings[policy] = load_settings(self.installation.deployment.file, policy_file=own, **named)
        return self._settings[policy]

    def spans(self, month: datetime) -> list[StudySpan]:
        """Dates of a month; none before the study's first month."""
        is_before = month < parse_month(self.declaration.first_month)
        return [] if is_before else spans_of(month, self.declaration.placed)

    def months(self, until: datetime) -> list[datetime]:
        """Months from the study's first to the one before an instant."""
        months = [parse_month(self.declaration.first_month)]
        while next_month(months[-1]) < until:
            months.append(next_month(months[-1]))
        return months

    def lookback(self, settings: Settings) -> timedelta:
        """How far before a grid's start its candles reach: for its states, and for P(stop) at each of them."""
        since = settings.exit_state.since_window
        warm_up = timedelta(days=settings.data.warm_up_days + 1)
        return since + max(warm_up, timedelta(milliseconds=settings.risk.lookback_ms))


def answer_within(policy: NotifyPolicy) -> Mapping[str, timedelta]:
    """By state, how long after an evaluation a page of it asks for an answer."""
    windows = {state: window_of(Notice(state), policy) for state in STATES}
    return {state: policy.decided_after + window for state, window in windows.items() if window is not None}
