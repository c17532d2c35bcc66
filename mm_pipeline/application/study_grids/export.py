"""All outcomes of a study as one tidy table, and that table as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import polars as pl

from mm_pipeline.adapters.config.study_files import STUDY_NAME
from mm_pipeline.adapters.frames.study_frames import STUDY_HASH, StudyFrames
from mm_pipeline.application.installation import Installation
from mm_pipeline.application.study_grids.study import OUTCOMES
from mm_pipeline.domain.columns import conformed
from mm_pipeline.domain.errors import ConfigError, FrameMissing, PipelineError, StorageError
from mm_pipeline.domain.study import OUTCOME_COLUMNS, Column
from mm_pipeline.domain.study.columns import Columns, schema_of

EXPORT_COLUMNS: Final[Columns] = {"study": Column(pl.String(), "", "Name of the study"), **OUTCOME_COLUMNS}
"""Columns of the exported table."""
SUFFIXES: Final = (".csv", ".parquet")
_AGAIN: Final = "Make the others again: mm study grids --as {name}."


def all_outcomes(installation: Installation, name: str) -> pl.DataFrame:
    """Every stored outcome of a study, by market, policy and time: ``EXPORT_COLUMNS``.

    Raises
    ------
    FrameMissing
        When the study has none.
    PipelineError
        When its months were made by several declarations: their rows may not be counted together.
    """
    if not STUDY_NAME.fullmatch(name):
        raise ConfigError(f"{name!r} is no name of a study.", "Write the name that stood behind --as.")
    frames = StudyFrames(str(installation.studies_root / name / "frames"))
    partitions = frames.partitions(OUTCOMES)
    if not partitions:
        raise FrameMissing(f"the study {name} has no outcomes.", f"Make them first: mm study grids --as {name}.")
    made_by: dict[str, str] = {}
    parts: list[pl.DataFrame] = []
    for policy, month in partitions:
        declared = frames.metadata(OUTCOMES, policy, month).get(STUDY_HASH, "")
        made_by.setdefault(declared, f"{month:%Y-%m} under {policy}")
        parts += frames.read(OUTCOMES, policy, month).values()
    if len(made_by) > 1:
        problem = f"months of the study {name} were made by several declarations: {', '.join(made_by.values())}."
        raise PipelineError(problem, _AGAIN.format(name=name))
    rows = pl.concat([conformed(part, schema_of(OUTCOME_COLUMNS)) for part in parts])
    named = rows.select(pl.lit(name).alias("study"), *OUTCOME_COLUMNS)
    return named.sort("market", "policy", "began_at", "grid", "episode")


def write_table(rows: pl.DataFrame, path: Path) -> None:
    """Write the table as CSV (times as ISO 8601, triggers joined by ``;``), or as Parquet with words on each column.

    Raises
    ------
    StorageError
        When the file cannot be written.
    """
    try:
        if path.suffix == ".csv":
            written = rows.with_columns(pl.col("triggers").list.join(";"))
            written.write_csv(path, datetime_format="%Y-%m-%dT%H:%M:%SZ")
        else:
            rows.write_parquet(path, compression="zstd", metadata=_words())
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error}.", "Choose another path with --out.") from error


def _words() -> dict[str, str]:
    return {name: column.description for name, column in EXPORT_COLUMNS.items()}
