"""Study grids: a template that is placed anew at each date, and what came after each of its signals.

States come from :mod:`mm_pipeline.domain.pipeline`, as live ones do. Files and frames on disk do not belong here.
"""

from mm_pipeline.domain.study.columns import OUTCOME_COLUMNS, STUDY_GRID_COLUMNS, Column
from mm_pipeline.domain.study.declaration import (
    Distance,
    GridTemplate,
    PlacedEvery,
    StudyDeclaration,
    WhenOver,
)
from mm_pipeline.domain.study.outcomes import StudiedGrid, signal_outcomes
from mm_pipeline.domain.study.placement import (
    Ending,
    NotPlaced,
    PlacedGrid,
    StudyMarket,
    grids_of_rows,
    place_grids,
    rows_of_grids,
)
from mm_pipeline.domain.study.scorecard import SCORECARD_COLUMNS, scorecard
from mm_pipeline.domain.study.spans import StudySpan, spans_of

__all__ = [
    "OUTCOME_COLUMNS",
    "SCORECARD_COLUMNS",
    "STUDY_GRID_COLUMNS",
    "Column",
    "Distance",
    "Ending",
    "GridTemplate",
    "NotPlaced",
    "PlacedEvery",
    "PlacedGrid",
    "StudiedGrid",
    "StudyDeclaration",
    "StudyMarket",
    "StudySpan",
    "WhenOver",
    "grids_of_rows",
    "place_grids",
    "rows_of_grids",
    "scorecard",
    "signal_outcomes",
    "spans_of",
]
