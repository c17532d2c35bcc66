"""Reads a folder of grid files, one grid a file; a bad file is a named problem and never stops the others."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from mm_pipeline.adapters.config.strict_yaml import load_mapping, read_text, shown, validation_errors
from mm_pipeline.domain.errors import ConfigError
from mm_pipeline.domain.grid import RESERVED_IDS, Grid, unprofitable

GRID_SUFFIXES = frozenset({".yaml", ".yml"})
"""Of grid files, in lower case."""
_GRID_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_ID_LINE = re.compile(
    r"""^["']?id["']?[ \t]*:[ \t]*["']?(?P<id>[a-z0-9][a-z0-9-]{0,39})["']?[ \t]*(#.*)?\r?$""", re.MULTILINE
)


@dataclass(frozen=True)
class GridProblem:
    """A file that cannot be used.

    ``grid_id`` is the id that it declares, else its name without suffix where that is free and could be an id,
    else None: the grid to be shown as UNKNOWN.
    """

    file: str
    grid_id: str | None
    error: ConfigError


@dataclass(frozen=True)
class GridFolder:
    """The grids that can be used, by id, and what was wrong with the rest, by file; ``files`` by grid that is used."""

    grids: tuple[Grid, ...]
    problems: tuple[GridProblem, ...]
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Reading:
    path: Path
    grid: Grid | None
    declared_id: str | None
    error: ConfigError | None


def load_grids(folder: Path) -> GridFolder:
    """Read every ``*.yaml`` and ``*.yml`` of a folder (no sub-folders, no hidden files).

    Two files that declare the same id are both refused, also where one of them is at fault otherwise: which of them
    the operator means cannot be known. A missing or empty folder is a problem without ``grid_id``.
    """
    try:
        paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in GRID_SUFFIXES and not p.name.startswith("."))
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        return _no_grids(folder, f"the grid folder cannot be read ({reason}).", "Create it, or correct the setting.")
    if not paths:
        return _no_grids(folder, "the grid folder holds no *.yaml file.", "Add a grid file, one grid each.")
    readings = [_read(path, folder) for path in paths]
    claims: dict[str, list[_Reading]] = defaultdict(list)
    for reading in readings:
        if reading.declared_id is not None:
            claims[reading.declared_id].append(reading)
    grids = [r.grid for r in readings if r.grid is not None and len(claims[r.grid.id]) == 1]
    problems = [problem for r in readings if (problem := _problem(r, claims)) is not None]
    files = {reading.grid.id: shown(reading.path) for reading in readings if reading.grid in grids and reading.grid}
    return GridFolder(tuple(sorted(grids, key=lambda grid: grid.id)), tuple(problems), files)


def check_grid_file(path: Path) -> Grid:
    """Read one grid file.

    Raises
    ------
    ConfigError
        With the file, the key and the hint.
    """
    reading = _read(path, path.parent)
    if reading.grid is None:
        raise reading.error or ConfigError("holds no grid.", "Write a grid's keys.", file=shown(path))
    return reading.grid


def _no_grids(folder: Path, problem: str, hint: str) -> GridFolder:
    file = shown(folder)
    return GridFolder((), (GridProblem(file, None, ConfigError(problem, hint, file=file)),))


def _read(path: Path, folder: Path) -> _Reading:
    file = shown(path)
    declared_id: str | None = None
    try:
        # Links inside the folder are how a mounted configuration map is laid out; others reach foreign files.
        if not path.resolve().is_relative_to(folder.resolve()):
            raise ConfigError("is a link out of the grid folder.", "Copy the file into the folder.", file=file)
        content = load_mapping(path)
        declared_id = _as_grid_id(content.get("id"))
        return _Reading(path, usable(Grid.model_validate(content), file), declared_id, None)
    except ConfigError as error:
        return _Reading(path, None, declared_id or _scanned_id(path), error)
    except ValidationError as error:
        return _Reading(path, None, declared_id, validation_errors(file, error, Grid))
    except (OSError, RuntimeError) as error:  # resolve() raises either for a loop of links
        broken = ConfigError("is a link that leads nowhere.", "Remove it or correct the link.", file=file)
        broken.__cause__ = error
        return _Reading(path, None, None, broken)


def usable(grid: Grid, file: str) -> Grid:
    """The grid, unless the program needs its name, or it is enabled and loses by every trade.

    A version that was journalled before this was refused is read all the same.
    """
    if grid.id in RESERVED_IDS:
        problem = f"{grid.id} is a name of the program's own."
        raise ConfigError(problem, "Choose another id, like eth-1.", file=file, key="id")
    loss = unprofitable(grid)
    if loss is not None and grid.enabled and not grid.allow_unprofitable:
        write = "Declare fewer levels or wider bounds, or write `allow_unprofitable: true` to watch it all the same."
        raise ConfigError(f"{loss}.", write, file=file, key="levels")
    return grid


def _problem(reading: _Reading, claims: dict[str, list[_Reading]]) -> GridProblem | None:
    file, error, grid_id = shown(reading.path), reading.error, reading.declared_id
    rivals = [r for r in claims.get(grid_id, ()) if r is not reading] if grid_id else []
    if error is None and rivals:
        others = ", ".join(shown(rival.path.name) for rival in rivals)
        problem = f"the id {grid_id} is also declared in {others}."
        error = ConfigError(problem, "Give each grid its own id, or remove a file.", file=file, key="id")
    if error is None:
        return None
    if grid_id is None:
        stem = _as_grid_id(reading.path.stem)
        grid_id = stem if stem not in claims else None
    return GridProblem(file, grid_id, error)


def _scanned_id(path: Path) -> str | None:
    """The id that a file with a YAML fault seems to declare: the fault may stand on any other line."""
    try:
        found = _ID_LINE.search(read_text(path))
    except ConfigError:
        return None
    return found["id"] if found else None


def _as_grid_id(value: object) -> str | None:
    return value if isinstance(value, str) and _GRID_ID.fullmatch(value) else None
