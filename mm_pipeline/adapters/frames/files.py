"""Parquet files that are whole or absent, on any fsspec file system; damaged ones are moved aside and count as lost.

Knows nothing of months, markets or time.
"""

from __future__ import annotations

import io
import logging
import os
import uuid
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

import polars as pl

from mm_pipeline.adapters.frames import checksums as frame_checksums
from mm_pipeline.adapters.frames import folders as frame_folders
from mm_pipeline.domain.errors import FrameDamaged, FrameUnreadable, StorageError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem  # type: ignore[import-untyped]

_logger = logging.getLogger(__name__)
DAMAGED_FOLDER = ".damaged"
"""Below the root: what was moved aside, under its own path."""
_OWN_KEYS = frozenset({"ARROW:schema", frame_checksums.KEY})


class FrameFiles:
    """Reads and writes frames by path relative to a root.

    Parameters
    ----------
    root
        A local path or an fsspec URL (``s3://bucket/frames``, ``memory://frames``).

    Raises
    ------
    StorageError
        From every method, naming the file and the hint.
    FrameDamaged
        From reading a file whose content is not what was written; it is moved aside first.
    FrameUnreadable
        From reading a file that is there and cannot be read, or writing one where a folder stands.
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
        raw = self._checked(path)
        if raw is None:
            return None
        try:
            return pl.read_parquet(io.BytesIO(raw))
        except pl.exceptions.PolarsError as error:
            raise self._damaged(path, raw, str(error)) from error
        except pl.exceptions.PanicException as error:  # the decoder's own assertion on damaged pages
            raise self._damaged(path, raw, str(error)) from None

    def check(self, path: str) -> None:
        """Read the file whole, where there is one, and compare its checksum."""
        self._checked(path)

    def lost(self, folder: str) -> list[str]:
        """Sorted names of files that were written in the folder and are not there now: deleted, or moved aside."""
        written = self._written(folder)
        return sorted(written - set(self.names(folder))) if written else []

    def has_list(self, folder: str) -> bool:
        """Whether the folder knows what was written in it; those of earlier versions do not before the next write."""
        return self._written(folder) is not None

    def settle(self, folder: str, names: Iterable[str]) -> None:
        """Take files that are lost off the folder's list: what they held was asked for again, and there is none."""
        written = self._written(folder)
        gone = set(names) & set(self.lost(folder))
        if written and gone:
            self._write_list(folder, written - gone)

    def read_metadata(self, path: str) -> dict[str, str] | None:
        """Key-value metadata given to ``write``; None where there is no file."""
        raw = self._checked(path)
        if raw is None:
            return None
        try:
            metadata = pl.read_parquet_metadata(io.BytesIO(raw))
        except pl.exceptions.PolarsError as error:
            raise self._damaged(path, raw, str(error)) from error
        return {key: value for key, value in metadata.items() if key not in _OWN_KEYS}

    def size_bytes(self, path: str) -> int:
        """Length of the file; 0 where there is none."""
        try:
            return int(self._fs.size(self.full_path(path)) or 0)
        except FileNotFoundError:
            return 0

    def write(
        self,
        files: Mapping[str, pl.DataFrame],
        *,
        metadata: Mapping[str, str],
        by_file: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        """Replace the files. All are written beside their targets first, so that a full disk changes none of them.

        Each file is replaced in one step; a process killed between two steps leaves old and new files, each whole.
        ``by_file`` is metadata of single files, beside that of all.
        """
        more = by_file or {}
        staged: dict[str, str] = {}
        path = ""
        try:
            for path, frame in files.items():
                staged[path] = self._stage(path, frame, {**metadata, **more.get(path, {})})
            for path, temporary in list(staged.items()):
                self._put_in_place(temporary, path)
                del staged[path]
            for folder in {path.rpartition("/")[0] for path in files}:
                self._note_written(folder, {path for path in files if path.rpartition("/")[0] == folder})
            if self._is_local:
                for folder in {os.path.dirname(self.full_path(path)) for path in files}:
                    _sync_folder(folder)
        except IsADirectoryError as error:
            raise self._unreadable(path, error) from error
        except Exception as error:  # backends raise their own library's errors beside OSError
            raise StorageError(
                f"{self.full_path(path)} could not be written: {error}.",
                "Free disk space, or correct the address or its permissions; no file was left half-written.",
            ) from error
        finally:
            for temporary in staged.values():
                with suppress(Exception):
                    self._fs.rm_file(temporary)

    def delete(self, path: str) -> None:
        """Remove the file where it exists."""
        folder, _, name = path.rpartition("/")
        written = self._written(folder)
        if written and name in written:
            self._write_list(folder, written - {name})
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
            raise self._unreadable(path, error) from error

    def _unreadable(self, path: str, error: Exception) -> FrameUnreadable:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        return FrameUnreadable(
            f"{self.full_path(path)} cannot be read: {reason}.",
            "Check the disk, the network and the permissions; where it is a folder, move that away.",
        )

    def _checked(self, path: str) -> bytes | None:
        """The file's content, once it is known to be what was written under this path."""
        raw = self._load(path)
        if raw is None or frame_checksums.matches(raw, path):
            return raw
        if frame_checksums.is_sealed(raw):
            reason = "its checksum is not that of its content under this name"
        elif self._written(path.rpartition("/")[0]) is None:
            return raw  # written by a version without checksums; gets one at the folder's next write
        else:
            reason = "it is cut, empty or without its checksum"
        raise self._damaged(path, raw, reason)

    def _damaged(self, path: str, raw: bytes, reason: str) -> FrameDamaged:
        told = (reason.splitlines() or ["it is no Parquet file"])[0]
        moved_to = self._move_aside(path, raw)
        where = f"It was moved to {moved_to}." if moved_to else "It could not be moved aside."
        _logger.error("%s is damaged: %s. %s", self.full_path(path), told, where)
        return FrameDamaged(
            f"{self.full_path(path)} is damaged: {told}. {where}",
            "Candles are asked for again at the next evaluation; anything else: mm backfill over its month.",
        )

    def _move_aside(self, path: str, raw: bytes) -> str | None:
        """Keep a damaged file elsewhere; None where it was replaced meanwhile, or cannot be moved."""
        target = f"{DAMAGED_FOLDER}/{path}.{uuid.uuid4().hex[:8]}"
        try:
            if self._load(path) != raw:
                return None
            folder = self.full_path(target).rpartition("/")[0]
            if self._is_local:
                os.makedirs(folder, exist_ok=True)
                os.replace(self.full_path(path), self.full_path(target))
            else:
                self._fs.makedirs(folder, exist_ok=True)
                self._fs.mv(self.full_path(path), self.full_path(target))
        except Exception:
            return None  # a disk that is read-only too: the error of the damage itself goes up
        return self.full_path(target)

    def _written(self, folder: str) -> frozenset[str] | None:
        return frame_folders.parsed(self._load(f"{folder}/{frame_folders.NAME}"))

    def _write_list(self, folder: str, names: Iterable[str]) -> None:
        target = f"{folder}/{frame_folders.NAME}"
        self._put_in_place(self._stage_bytes(target, frame_folders.printed(names)), target)

    def _note_written(self, folder: str, paths: Collection[str]) -> None:
        """Add files to their folder's list; the first list takes in, with a checksum, what is there without."""
        names = {path.rpartition("/")[2] for path in paths}
        written = self._written(folder)
        is_first = written is None
        if written is None:
            there = {name for name in self.names(folder) if name.endswith(".parquet") and not name.startswith(".")}
            for name in sorted(there - names):
                self._adopt(f"{folder}/{name}")
            written = frozenset(there)
        if is_first or not names <= written:
            self._write_list(folder, written | names)

    def _adopt(self, path: str) -> None:
        """Give a file of an earlier version its checksum; one that cannot be read is found damaged when it is read."""
        raw = self._load(path)
        if raw is None or frame_checksums.is_sealed(raw):
            return
        try:
            frame, metadata = pl.read_parquet(io.BytesIO(raw)), pl.read_parquet_metadata(io.BytesIO(raw))
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
            return
        kept = {key: value for key, value in metadata.items() if key not in _OWN_KEYS}
        self._put_in_place(self._stage(path, frame, kept), path)

    def _stage(self, path: str, frame: pl.DataFrame, metadata: Mapping[str, str]) -> str:
        buffer = io.BytesIO()
        own = {frame_checksums.KEY: frame_checksums.PLACEHOLDER}
        frame.write_parquet(buffer, compression="zstd", metadata=dict(metadata) | own)
        return self._stage_bytes(path, frame_checksums.sealed(buffer.getvalue(), path))

    def _stage_bytes(self, path: str, content: bytes) -> str:
        target = self.full_path(path)
        folder, _, name = target.rpartition("/")
        temporary = f"{folder}/.{name}.{uuid.uuid4().hex}.tmp"
        try:
            if self._is_local:
                os.makedirs(folder, exist_ok=True)
                _write_synced(temporary, content)
            else:
                self._send(temporary, folder, content)
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
