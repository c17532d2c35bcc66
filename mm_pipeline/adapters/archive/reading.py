"""The archive read back: frames of states as they were archived, and the grids' declarations."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from mm_pipeline.adapters.archive.files import FORMAT, OWN_KEYS, has_its_checksum
from mm_pipeline.domain.errors import StorageError
from mm_pipeline.domain.grid import Grid

_RESTORE = "Restore it from the archive's history."
_WRITTEN_BY = ("settings_hash", "code_version")


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
    allowed = {*schema, *OWN_KEYS, *_WRITTEN_BY}
    day = since.replace(hour=0, minute=0, second=0, microsecond=0)
    while day < until:
        pattern = f"*_{grid}.yaml" if grid is not None else "*.yaml"
        for file in sorted((folder / kind / f"{day:%Y/%m/%d}").glob(pattern)):
            row = _content(file)
            other = sorted(str(name) for name in set(row) - allowed)
            if other:
                raise StorageError(f"{file} has keys of another version: {', '.join(other)}.", "Read it with that one.")
            wrong = [name for name, kind in schema.items() if not _fits(row.get(name), kind)]
            if wrong:
                raise StorageError(f"{file}: {', '.join(wrong)} is not what this version writes.", _RESTORE)
            if since <= row["evaluated_at"] < until and grid in (None, row["grid"]):
                rows.append({name: row.get(name) for name in schema})
        day += timedelta(days=1)
    try:
        return pl.DataFrame(rows, schema=dict(schema)).sort("evaluated_at", "grid")
    except (pl.exceptions.PolarsError, TypeError, ValueError, OverflowError) as error:
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
            content = {name: value for name, value in _loaded(file).items() if name not in OWN_KEYS}
            grid = Grid.model_validate_json(json.dumps(content))
        except (ValueError, TypeError) as error:
            raise StorageError(f"{file} is no grid: {error}", _RESTORE) from error
        if (file.parent.name, file.stem) != (grid.id, grid.version_hash):
            raise StorageError(
                f"{file} declares {grid.id} as version {grid.version_hash}, not what its name says.", _RESTORE
            )
        found[file.stem] = grid
    return found


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value is of a column's type as the archive writes it; polars would read some others as null."""
    if value is None:
        return True
    if isinstance(kind, pl.Struct):
        fields = {field.name: field.dtype for field in kind.fields}
        is_known = isinstance(value, dict) and set(value) <= set(fields)
        return is_known and all(_fits(part, fields[name]) for name, part in value.items())
    if isinstance(kind, pl.List):
        return isinstance(value, list) and all(_fits(part, kind.inner) for part in value)
    if isinstance(kind, pl.Datetime):
        return isinstance(value, datetime) and value.tzinfo is not None
    accepted: tuple[type, ...] = (str,)
    if isinstance(kind, pl.Boolean):
        accepted = (bool,)
    elif kind.is_numeric():
        accepted = (int, float) if kind.is_float() else (int,)
    return type(value) in accepted


def _content(file: Path) -> dict[str, Any]:
    row = _loaded(file)
    at, grid = row.get("evaluated_at"), row.get("grid")
    if not isinstance(at, datetime) or at.tzinfo is None or not isinstance(grid, str):
        raise StorageError(f"{file} is no evaluation: it lacks evaluated_at with its UTC offset, or grid.", _RESTORE)
    named = f"{at.astimezone(UTC):%Y/%m/%d/%H%M}_{grid}.yaml"
    if file.parts[-4:] != tuple(named.split("/")):
        raise StorageError(f"{file} holds the evaluation {named}, not what its name says.", _RESTORE)
    return row | {"evaluated_at": at.astimezone(UTC)}


def _loaded(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text(encoding="utf-8")
        content = yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - a SafeLoader that refuses more
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValueError, RecursionError) as error:
        raise StorageError(f"{file} cannot be read: {error}", _RESTORE) from error
    if not isinstance(content, dict):
        raise StorageError(f"{file} is no mapping.", _RESTORE)
    if content.get("format", FORMAT) != FORMAT:
        raise StorageError(
            f"{file} has format {content['format']}; this version reads {FORMAT}.", "Read it with its own."
        )
    if ("format" in content or "checksum" in content) and not has_its_checksum(text):
        raise StorageError(f"{file} was changed after it was archived: its checksum is another.", _RESTORE)
    return content


class _StrictLoader(yaml.SafeLoader):
    """A document that can be read in one way only: no key twice, no aliases."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("an alias (*) is used; the archive writes none")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value]
        twice = sorted({str(name) for name in names if names.count(name) > 1})
        if twice:
            raise yaml.YAMLError(f"{', '.join(twice)} is given twice")
        return super().construct_mapping(node, deep=deep)
