"""The evaluation archive: a Git repository of YAML files, one an evaluation, pushed to a remote.

What is archived, and when, does not belong here.
"""

from mm_pipeline.adapters.archive.files import (
    OWN_KEYS,
    RECORDED,
    as_yaml,
    entry_path,
    exit_path,
    grid_path,
    metrics_path,
)
from mm_pipeline.adapters.archive.policy import ArchivePolicy
from mm_pipeline.adapters.archive.reading import read_grids, read_rows
from mm_pipeline.adapters.archive.repository import ArchiveRepository

__all__ = [
    "OWN_KEYS",
    "RECORDED",
    "ArchivePolicy",
    "ArchiveRepository",
    "as_yaml",
    "entry_path",
    "exit_path",
    "grid_path",
    "metrics_path",
    "read_grids",
    "read_rows",
]
