"""Frames of one study, by policy, dataset, market and the month in which their grids were placed.

``<root>/<policy>/<dataset>/<market>/<YYYY-MM>.parquet``. A grid's rows lie in one file, also those that reach into the
next month. Nothing here lies in the frames of the watch.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import datetime

import polars as pl

from mm_pipeline.adapters.frames.files import FrameFiles
from mm_pipeline.adapters.frames.paths import NAME, checked, folder_path, month_path
from mm_pipeline.domain.errors import FrameMissing
from mm_pipeline.domain.months import parse_month

_MONTH_FILE = re.compile(r"\d{4}-(0[1-9]|1[0-2])\.parquet")
STUDY_HASH = "study_hash"
"""Metadata of a file: what of the declaration decides its grids."""


class StudyFrames:
    """Reads and writes whole partitions of a study.

    Parameters
    ----------
    root
        Folder, or fsspec URL, of the study alone.
    """

    def __init__(self, root: str) -> None:
        self._root = root.rstrip("/")

    def write(
        self,
        dataset: str,
        policy: str,
        month: datetime,
        frames: Mapping[str, pl.DataFrame],
        *,
        declared: Collection[str],
        metadata: Mapping[str, str],
    ) -> None:
        """Replace frames of a partition, by market; those of markets that are not ``declared`` are taken out of it.

        Raises
        ------
        StorageError
            When the disk fails.
        """
        files = self._files(policy)
        files.write({month_path(dataset, key, month): frame for key, frame in frames.items()}, metadata=metadata)
        for key in files.names(dataset):
            if key not in declared:
                files.delete(month_path(dataset, key, month))

    def read(self, dataset: str, policy: str, month: datetime) -> dict[str, pl.DataFrame]:
        """Frames of a partition by market, sorted.

        Raises
        ------
        FrameMissing
            When the partition was never made.
        FrameDamaged
            When a file is not what was written.
        """
        found = self.find(dataset, policy, month)
        if not found:
            problem = f"there is no {dataset} of {month:%Y-%m} under the policy {policy}."
            raise FrameMissing(problem, "Make it first: mm study grids, or materialize it in the UI.")
        return found

    def find(self, dataset: str, policy: str, month: datetime) -> dict[str, pl.DataFrame]:
        """The same; nothing where the partition was never made."""
        files = self._files(policy)
        read = {key: files.read(month_path(dataset, key, month)) for key in files.names(dataset)}
        return {key: frame for key, frame in read.items() if frame is not None}

    def partitions(self, dataset: str) -> list[tuple[str, datetime]]:
        """Policy and month of each partition that is stored, sorted."""
        found = set()
        for policy in filter(NAME.fullmatch, FrameFiles(self._root).names("")):
            files = self._files(policy)
            for key in files.names(dataset):
                names = files.names(folder_path(dataset, key))
                found |= {(policy, parse_month(name)) for name in names if _MONTH_FILE.fullmatch(name)}
        return sorted(found)

    def metadata(self, dataset: str, policy: str, month: datetime) -> dict[str, dict[str, str]]:
        """What each market's file of a partition says of how it was made."""
        files = self._files(policy)
        read = {key: files.read_metadata(month_path(dataset, key, month)) for key in files.names(dataset)}
        return {key: found for key, found in read.items() if found is not None}

    def _files(self, policy: str) -> FrameFiles:
        return FrameFiles(f"{self._root}/{checked(policy)}")
