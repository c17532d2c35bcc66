"""Pages in a file of JSON lines: for trials, and for whatever else watches a file."""

from __future__ import annotations

import json
import os
from pathlib import Path

from mm_pipeline.domain.notifications.channel import Accepted, ChannelError, Message

_RETRY_AFTER_S = 5.0
_NEWLINE = b"\n"


class FileChannel:
    """Appends one line for each page, on the disk before :meth:`send` returns.

    A line that an interrupted write left unfinished is ended before the next one, so it spoils no other.

    Parameters
    ----------
    name
        As the settings name it.
    path
        The file; it and its folder are made when first needed.
    """

    def __init__(self, name: str, path: Path) -> None:
        self._name = name
        self._path = path

    @property
    def name(self) -> str:
        """As the settings name it."""
        return self._name

    def send(self, message: Message) -> Accepted:
        """Append a page. Raises :class:`ChannelError` where the file cannot be written."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            _append(self._path, json.dumps(_line(message), ensure_ascii=False).encode() + _NEWLINE)
        except OSError as error:
            problem = f"channel {self._name}: {self._path} cannot be written ({error.strerror or error})."
            hint = "Make room, or let this user write there."
            raise ChannelError(problem, hint, is_final=False, retry_after_s=_RETRY_AFTER_S) from error
        return Accepted()


def _line(message: Message) -> dict[str, object]:
    return {
        "page_id": message.page_id,
        "at": message.at.isoformat(),
        "priority": message.priority,
        "title": message.title,
        "text": message.text,
        "tags": list(message.tags),
        "retry_s": message.retry_s,
        "expire_s": message.expire_s,
        "image_bytes": None if message.image_png is None else len(message.image_png),
    }


def _append(path: Path, line: bytes) -> None:
    """One write and one fsync: lines of several processes do not mix."""
    is_new = not path.exists()
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != _NEWLINE:
            line = _NEWLINE + line
        if os.write(descriptor, line) < len(line):
            raise OSError(f"only a part of {len(line)} bytes was written")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if is_new:
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
