"""All outcomes of a study as one tidy table, and that table as a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
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
_SAME_IN_ALL: Final = ("settings_hash", "code_version")
"""What should be the same in all months of a policy."""


@dataclass(frozen=True)
class Exported:
    """All outcomes of a study (``EXPORT_COLUMNS``), and what is not the same in all of its months."""

    rows: pl.DataFrame
    mixed: tuple[str, ...]


def all_outcomes(installation: Installation, name: str) -> Exported:
    """Every stored outcome of a study, by market, policy and time.

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
    parts = [part for each in partitions for part in frames.read(OUTCOMES, *each).values()]
    rows = pl.concat([conformed(part, schema_of(OUTCOME_COLUMNS)) for part in parts])
    named = rows.select(pl.lit(name).alias("study"), *OUTCOME_COLUMNS)
    mixed = _mixed(name, frames, partitions)
    return Exported(named.sort("market", "policy", "began_at", "grid", "episode"), mixed)


def _mixed(name: str, frames: StudyFrames, partitions: Sequence[tuple[str, datetime]]) -> tuple[str, ...]:
    """Of what decides rows, what is not the same in all months of a policy; several declarations are refused."""
    made_by: dict[str, dict[tuple[str, str], str]] = {key: {} for key in (STUDY_HASH, *_SAME_IN_ALL)}
    for policy, month in partitions:
        for market, found in frames.metadata(OUTCOMES, policy, month).items():
            for key, seen in made_by.items():
                scope = "" if key == STUDY_HASH else policy
                seen.setdefault((scope, found.get(key, "")), f"{month:%Y-%m} of {market} under {policy}")
    declared = made_by[STUDY_HASH]
    if len(declared) > 1:
        problem = f"months of the study {name} were made by several declarations: {', '.join(declared.values())}."
        raise PipelineError(problem, f"Make the others again: mm study grids --as {name}.")
    policies = {policy for policy, _ in partitions}
    return tuple(key for key in _SAME_IN_ALL if len(made_by[key]) > len(policies))


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
