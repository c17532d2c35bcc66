"""The studies of an installation, and the runs of theirs that one process has under way."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from mm_pipeline.adapters.config.study_files import StudyFolder, load_studies
from mm_pipeline.application.installation import Installation
from mm_pipeline.application.study_grids.run import Partition, StudyRun
from mm_pipeline.application.study_grids.study import Study
from mm_pipeline.domain.errors import ConfigError
from mm_pipeline.settings import policy_names


def study_folder(installation: Installation) -> StudyFolder:
    """The study files as they are now."""
    return load_studies(installation.studies_folder, policy_names())


class OpenStudies:
    """Studies by name; the candles of a month are read once for all stages of it."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._runs: dict[tuple[str, datetime], StudyRun] = {}
        self._made_by: dict[tuple[str, Partition], Mapping[str, str]] = {}

    def study(self, name: str) -> Study:
        """A study as its file declares it now.

        Raises
        ------
        ConfigError
            When its file is gone, or cannot be used.
        """
        folder = study_folder(self._installation)
        found = next((file for file in folder.studies if file.name == name), None)
        if found is None:
            hint = " ".join(str(problem.error) for problem in folder.problems) or "Put it back."
            raise ConfigError(f"the study {name} cannot be read from {self._installation.studies_folder}.", hint)
        return Study(found, self._installation)

    def run(self, name: str, month: datetime) -> StudyRun:
        """A run over one month of a study."""
        if (name, month) not in self._runs:
            self._runs[name, month] = StudyRun(self.study(name), [month])
        return self._runs[name, month]

    def made_by(self, name: str, partition: Partition) -> Mapping[str, str]:
        """What decides the rows of a partition, found once."""
        if (name, partition) not in self._made_by:
            self._made_by[name, partition] = self.run(name, partition.month).made_by(partition)
        return self._made_by[name, partition]
