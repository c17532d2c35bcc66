"""What is known of an outage of the storage, kept outside that storage: in memory file systems, and in this process.

The places, all of which are written and any of which is believed: ``/dev/shm`` (RAM, so that a full or broken disk does
not matter), the system's temporary folder, and the home. A folder that is not ours alone is not used: another user
could mute the notice with a file of theirs. Where no place can be written this process alone remembers, and each new
one tells once more: for ``mm evaluate`` that is every tick, for ``mm up`` once.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from mm_pipeline.adapters.config.home import OTHERS

_SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - the folder made in it is checked to be ours alone
_remembered: dict[str, Outage] = {}


@dataclass(frozen=True, kw_only=True)
class Outage:
    """One outage of the storage.

    Attributes
    ----------
    since
        When it was first seen.
    seen_at
        When it was last seen.
    told_at
        When a channel took the notice of it, or of the one before; None where none did.
    is_over
        Whether the storage has worked since.
    """

    since: datetime
    seen_at: datetime
    told_at: datetime | None = None
    is_over: bool = False


class OutageMemory:
    """Reads and writes what is known of the outage of one home.

    Parameters
    ----------
    home
        Whose storage it is.
    places
        Folders to keep it in; those of the module's docstring if None.
    """

    def __init__(self, home: Path, *, places: Sequence[Path] | None = None) -> None:
        self._key = hashlib.sha256(os.fsencode(home.absolute())).hexdigest()[:16]
        self._folders = [place / f"mm_pipeline-{os.geteuid()}" for place in places or _places(home)]

    def known(self, now: datetime) -> Outage | None:
        """The outage as the place that heard of it last has it; what lies after ``now`` counts as never written."""
        found = [_read(folder / self._key) for folder in self._folders if _is_ours(folder)]
        candidates = [outage for outage in [*found, _remembered.get(self._key)] if outage is not None]
        sane = [_without_future(outage, now) for outage in candidates if outage.since <= now]
        if not sane:
            return None
        newest = max(sane, key=lambda outage: outage.seen_at)
        told = [outage.told_at for outage in sane if outage.told_at is not None]
        return replace(newest, told_at=max(told, default=None))

    def keep(self, outage: Outage) -> None:
        """Write it wherever that is possible; never raises."""
        _remembered[self._key] = outage
        content = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in _fields(outage)}
        for folder in self._folders:
            with suppress(OSError):
                folder.mkdir(mode=0o700, exist_ok=True)
                if _is_ours(folder):
                    _write(folder / self._key, json.dumps(content))

    def forget(self) -> None:
        """Remove it everywhere; never raises."""
        _remembered.pop(self._key, None)
        for folder in self._folders:
            with suppress(OSError):
                if _is_ours(folder):
                    (folder / self._key).unlink()

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Whether this process alone may tell of it now; True where no place can hold a lock."""
        for folder in self._folders:
            try:
                folder.mkdir(mode=0o700, exist_ok=True)
                if not _is_ours(folder):
                    continue
                descriptor = os.open(folder / f"{self._key}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            except OSError:
                continue
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(descriptor)
                yield False
                return
            try:
                yield True
            finally:
                os.close(descriptor)
            return
        yield True


def _places(home: Path) -> list[Path]:
    found = [_SHARED_MEMORY] if _SHARED_MEMORY.is_dir() else []
    with suppress(OSError):  # it writes a file to find out which folder can be written
        found.append(Path(tempfile.gettempdir()))
    return [*found, home]


def _is_ours(folder: Path) -> bool:
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & OTHERS


def _read(file: Path) -> Outage | None:
    try:
        content = json.loads(_text(file))
        told = content["told_at"]
        return Outage(
            since=datetime.fromisoformat(content["since"]),
            seen_at=datetime.fromisoformat(content["seen_at"]),
            told_at=None if told is None else datetime.fromisoformat(told),
            is_over=content["is_over"] is True,
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _text(file: Path) -> str:
    descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, encoding="utf-8") as opened:
        return opened.read(10_000)


def _write(file: Path, text: str) -> None:
    beside = file.with_name(f"{file.name}.{os.getpid()}.new")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
            opened.write(text)
        beside.replace(file)
    except OSError:
        with suppress(OSError):
            beside.unlink()
        raise


def _fields(outage: Outage) -> list[tuple[str, object]]:
    return list(asdict(outage).items())


def _without_future(outage: Outage, now: datetime) -> Outage:
    told = outage.told_at if outage.told_at is not None and outage.told_at <= now else None
    return replace(outage, seen_at=min(outage.seen_at, now), told_at=told)
