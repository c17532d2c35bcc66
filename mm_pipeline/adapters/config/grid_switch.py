"""Writes ``enabled: false`` into a grid file, and changes no other byte of it. What a file means is read elsewhere."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

from mm_pipeline.adapters.config.grid_files import check_grid_file, load_grids
from mm_pipeline.adapters.config.strict_yaml import load_mapping, shown
from mm_pipeline.domain.errors import ConfigError, StorageError

_ENABLED = re.compile(rb"^(enabled[ \t]*:[ \t]+)(true)(?=[ \t]*(?:#[^\n\r]*)?\r?(?:\n|\Z))", re.MULTILINE)
_SUFFIXES = {".yaml", ".yml"}


def disable_grid(folder: Path, grid_id: str) -> Path:
    """Disable a grid in its file; the file, also where it was disabled already.

    Raises
    ------
    ConfigError
        When no file that can be used declares the grid, or its file cannot be changed in one place.
    StorageError
        When the file cannot be written; it stays as it was.
    """
    path = _file_of(folder, grid_id)
    if path.is_symlink():
        raise ConfigError(
            "is a link, so the file it leads to is kept elsewhere.",
            "Write `enabled: false` there.",
            file=shown(path),
            key="enabled",
        )
    if not check_grid_file(path).enabled:
        return path
    before = path.read_bytes()
    after, count = _ENABLED.subn(rb"\1false", before)
    if count != 1:
        raise ConfigError(
            "has no line of its own that reads `enabled: true`.",
            "Write `enabled: false` yourself.",
            file=shown(path),
            key="enabled",
        )
    _replace(path, before, after)
    return path


def _file_of(folder: Path, grid_id: str) -> Path:
    usable = {grid.id for grid in load_grids(folder).grids}
    if grid_id in usable:
        for path in sorted(folder.iterdir()):
            if path.suffix.lower() in _SUFFIXES and not path.name.startswith(".") and _declares(path, grid_id):
                return path
    raise ConfigError(
        f"no file that can be used declares the grid {grid_id}.",
        "See `mm grids check`; then write `enabled: false` into its file.",
        file=shown(folder),
    )


def _declares(path: Path, grid_id: str) -> bool:
    try:
        return load_mapping(path).get("id") == grid_id
    except ConfigError:
        return False


def _replace(path: Path, before: bytes, after: bytes) -> None:
    """Put the new content in place of the old at once; a reader sees one or the other.

    The copy is hidden, so that no reader of the folder takes it for a grid file.
    """
    copy: Path | None = None
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        copy = Path(name)
        with os.fdopen(descriptor, "wb") as file:
            file.write(after)
            file.flush()
            os.fsync(file.fileno())
        copy.chmod(path.stat().st_mode & 0o777)
        _check(copy, path)
        if path.read_bytes() != before:
            raise StorageError(f"{shown(path)} was changed at the same moment.", "Run the command again.")
        copy.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        problem = f"{shown(path)} cannot be written ({error.strerror or type(error).__name__})."
        raise StorageError(problem, "Write `enabled: false` into it yourself, as a user who may.") from error
    finally:
        if copy is not None:
            copy.unlink(missing_ok=True)


def _check(copy: Path, path: Path) -> None:
    """Whether the copy says the same as the file but for ``enabled``."""
    if load_mapping(copy) != {**load_mapping(path), "enabled": False}:
        raise ConfigError(
            "would say something else beside `enabled`.",
            "Write `enabled: false` yourself.",
            file=shown(path),
            key="enabled",
        )
