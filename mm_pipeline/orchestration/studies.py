"""What a code location has of the study files: their assets. A file that cannot be used keeps nothing from loading."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from mm_pipeline.application.installation import Installation
from mm_pipeline.domain.errors import PipelineError

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StudyDefinitions:
    """Assets of every study that can be used, and what they are given."""

    assets: list[dg.AssetsDefinition] = field(default_factory=list)
    resources: Mapping[str, Any] = field(default_factory=dict)


def is_study(key: dg.AssetKey) -> bool:
    """Whether an asset is one of a study: those of the watch stand under no name."""
    return len(key.path) > 1


def is_study_run(run: dg.DagsterRun) -> bool:
    """Whether a run makes assets of studies alone: that it failed is no incident of the watch."""
    return bool(run.asset_selection) and all(is_study(key) for key in run.asset_selection or ())


def study_definitions(current: Callable[[], Installation]) -> StudyDefinitions:
    """Declare the studies of an installation; a fault in one is logged, and shown by ``mm doctor``.

    Nothing is imported for an installation without studies: its ticks pay nothing for them.
    """
    try:
        return _declared(current) if current().studies_folder.is_dir() else StudyDefinitions()
    except Exception:  # whatever a study file holds, the watch must load
        _logger.exception("the studies of %s cannot be declared", current().studies_folder)
        return StudyDefinitions()


def _declared(current: Callable[[], Installation]) -> StudyDefinitions:
    from mm_pipeline.application.study_grids.opened import OpenStudies, study_folder
    from mm_pipeline.orchestration.assets.study_grids import STUDY_IO, assets_of
    from mm_pipeline.orchestration.study_io import study_io_manager

    folder = study_folder(current())
    for problem in folder.problems:
        _logger.warning("the study %s", problem.error)
    found: list[dg.AssetsDefinition] = []
    for file in folder.studies:
        try:
            found += assets_of(file)
        except (PipelineError, dg.DagsterError):
            _logger.exception("the study %s cannot be declared", file.path)
    opened = dg.ResourceDefinition(
        lambda _context: OpenStudies(current()), description="The studies, and the candles that a run has read."
    )
    return StudyDefinitions(found, {"studies": opened, STUDY_IO: study_io_manager()})
