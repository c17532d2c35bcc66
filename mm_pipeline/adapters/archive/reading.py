"""The archive read back: frames of states as they were archived, and the grids' declarations."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from mm_pipeline.domain.errors import StorageError
from mm_pipeline.domain.grid import Grid


def read_rows(
    folder: Path, kind: str, schema: Mapping[str, Any], *, since: datetime, until: datetime, grid: str | None = None
) -> pl.DataFrame:
    """States with ``since <= evaluated_at < until``, ascending.

    Parameters
    ----------
    folder
        A clone of the archive.
    kind
        ``exit_states`` or ``entry_states``.
    schema
        Columns to read; what is not in a file is null.

    Raises
    ------
    StorageError
        When a file cannot be read, or is none of the archive's.
    """
    rows: list[dict[str, Any]] = []
    day = since.replace(hour=0, minute=0, second=0, microsecond=0)
    while day < until:
        pattern = f"*_{grid}.yaml" if grid is not None else "*.yaml"
        for file in sorted((folder / kind / f"{day:%Y/%m/%d}").glob(pattern)):
            row = _content(file)
            if since <= row["evaluated_at"] < until and grid in (None, row["grid"]):
                rows.append({name: row.get(name) for name in schema})
        day += timedelta(days=1)
    try:
        return pl.DataFrame(rows, schema=dict(schema)).sort("evaluated_at", "grid")
    except (pl.exceptions.PolarsError, TypeError) as error:
        raise StorageError(
            f"{kind} of {folder} do not have the columns of this version: {error}.", "Read them with their own."
        ) from error


def read_grids(folder: Path) -> dict[str, Grid]:
    """Declarations by ``version_hash``.

    Raises
    ------
    StorageError
        When a file cannot be read as a declaration.
    """
    found = {}
    for file in sorted((folder / "grids").glob("*/*.yaml")):
        try:
            found[file.stem] = Grid.model_validate_json(json.dumps(_loaded(file)))
        except (ValueError, TypeError) as error:
            raise StorageError(f"{file} is no grid: {error}", "Restore it from the archive's history.") from error
    return found


def _content(file: Path) -> dict[str, Any]:
    row = _loaded(file)
    if not isinstance(row, dict) or not isinstance(row.get("evaluated_at"), datetime) or "grid" not in row:
        raise StorageError(f"{file} is no evaluation.", "Restore it from the archive's history.")
    return row


def _loaded(file: Path) -> Any:
    try:
        return yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise StorageError(f"{file} cannot be read: {error}", "Restore it from the archive's history.") from error
