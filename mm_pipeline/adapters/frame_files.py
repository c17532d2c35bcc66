"""Parquet files that are whole or absent, on any fsspec file system. Knows nothing of months, markets or time."""

from __future__ import annotations

import io
import os
import uuid
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

import polars as pl

from mm_pipeline.domain.errors import StorageError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem  # type: ignore[import-untyped]

_ARROW_KEY = "ARROW:schema"


class FrameFiles:
    """Reads and writes frames by path relative to a root.

    Parameters
    ----------
    root
        A local path or an fsspec URL (``s3://bucket/frames``, ``memory://frames``).

    Raises
    ------
    StorageError
        From every method, naming the file and the mend.
    """

    def __init__(self, root: str) -> None:
        from fsspec.core import url_to_fs  # type: ignore[import-untyped]
        from fsspec.implementations.local import LocalFileSystem  # type: ignore[import-untyped]

        try:
            fs, path = url_to_fs(root)
        except (ImportError, ValueError) as error:
            raise StorageError(
                f"frame store {root!r} cannot be opened: {error}.",
                "Use a local path, or install the fsspec package of that protocol.",
            ) from error
        self._fs: AbstractFileSystem = fs
        self._root = str(path).rstrip("/")
        self._is_local = isinstance(fs, LocalFileSystem)

    def full_path(self, path: str) -> str:
        """The file's path on its file system, for messages and metadata."""
        return f"{self._root}/{path}"

    def read(self, path: str) -> pl.DataFrame | None:
        """The frame in the file; None where there is no file. A torn file is an error, never a shorter frame."""
        raw = self._load(path)
        if raw is None:
            return None
        try:
            return pl.read_parquet(io.BytesIO(raw))
        except pl.exceptions.PolarsError as error:
            raise self._damaged(path, error) from error
        except pl.exceptions.PanicException as error:  # the decoder's own assertion on damaged pages
            raise self._damaged(path, error) from None

    def read_metadata(self, path: str) -> dict[str, str] | None:
        """Key-value metadata given to ``write``; None where there is no file."""
        raw = self._load(path)
        if raw is None:
            return None
        try:
            metadata = pl.read_parquet_metadata(io.BytesIO(raw))
        except pl.exceptions.PolarsError as error:
            raise self._damaged(path, error) from error
        return {key: value for key, value in metadata.items() if key != _ARROW_KEY}

    def write(self, files: Mapping[str, pl.DataFrame], *, metadata: Mapping[str, str]) -> None:
        """Replace the files. All are written beside their targets first, so that a full disk changes none of them.

        Each file is replaced in one step; a process killed between two steps leaves old and new files, each whole.
        """
        staged: dict[str, str] = {}
        path = ""
        try:
            for path, frame in files.items():
                staged[path] = self._stage(path, frame, metadata)
            for path, temporary in list(staged.items()):
                self._put_in_place(temporary, path)
                del staged[path]
            if self._is_local:
                for folder in {os.path.dirname(self.full_path(path)) for path in files}:
                    _sync_folder(folder)
        except Exception as error:  # backends raise their own library's errors beside OSError
            raise StorageError(
                f"{self.full_path(path)} could not be written: {error}.",
                "Free disk space, or mend the address or its permissions; no file was left half-written.",
            ) from error
        finally:
            for temporary in staged.values():
                with suppress(Exception):
                    self._fs.rm_file(temporary)

    def delete(self, path: str) -> None:
        """Remove the file where it exists."""
        try:
            with suppress(FileNotFoundError):
                self._fs.rm_file(self.full_path(path))
        except Exception as error:
            raise StorageError(
                f"{self.full_path(path)} could not be removed: {error}.", "Mend the permissions."
            ) from error

    def names(self, path: str) -> list[str]:
        """Sorted names of the files and folders in a folder; empty where there is none."""
        self._fs.invalidate_cache()
        try:
            found = self._fs.ls(self.full_path(path), detail=False)
        except FileNotFoundError:
            return []
        except Exception as error:
            raise StorageError(
                f"{self.full_path(path)} cannot be listed: {error}.", "Check the path, the network and the permissions."
            ) from error
        return sorted({str(name).rstrip("/").rsplit("/", 1)[-1] for name in found})

    def _load(self, path: str) -> bytes | None:
        try:
            return bytes(self._fs.cat_file(self.full_path(path)))
        except FileNotFoundError:
            return None
        except Exception as error:
            raise StorageError(
                f"{self.full_path(path)} cannot be read: {error}.", "Check the disk, the network and the permissions."
            ) from error

    def _stage(self, path: str, frame: pl.DataFrame, metadata: Mapping[str, str]) -> str:
        target = self.full_path(path)
        folder, _, name = target.rpartition("/")
        temporary = f"{folder}/.{name}.{uuid.uuid4().hex}.tmp"
        buffer = io.BytesIO()
        frame.write_parquet(buffer, compression="zstd", metadata=dict(metadata))
        try:
            if self._is_local:
                os.makedirs(folder, exist_ok=True)
                _write_synced(temporary, buffer.getvalue())
            else:
                self._send(temporary, folder, buffer.getvalue())
        except BaseException:
            with suppress(Exception):
                self._fs.rm_file(temporary)
            raise
        return temporary

    def _send(self, path: str, folder: str, content: bytes) -> None:
        try:
            self._fs.pipe_file(path, content)
        except FileNotFoundError:  # a file server's missing folder; an object store has none
            levels = folder.removeprefix(self._root).strip("/").split("/")
            for depth in range(1, len(levels) + 1):
                level = "/".join([self._root, *levels[:depth]])
                with suppress(FileExistsError):
                    # Without parents: a misspelt bucket would be created.
                    self._fs.mkdir(level, create_parents=False)
            self._fs.pipe_file(path, content)

    def _put_in_place(self, temporary: str, path: str) -> None:
        if self._is_local:
            os.replace(temporary, self.full_path(path))
        else:
            self._fs.mv(temporary, self.full_path(path))

    def _damaged(self, path: str, error: BaseException) -> StorageError:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return StorageError(
            f"{self.full_path(path)} is not a whole Parquet file: {reason}.",
            "Delete it and materialize its month again (mm backfill).",
        )


def _write_synced(path: str, content: bytes) -> None:
    with open(path, "xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: str) -> None:
    """Make renames in a folder durable: without it a power cut may bring the old file back."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
