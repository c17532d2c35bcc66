"""A checksum inside each Parquet file, over everything else in it and over the path that it belongs under.

It stands in the file's own metadata, so that content and checksum are replaced in one step on any file system, and any
Parquet reader reads the file as before. A file of another month or market under this path does not match either.
"""

from __future__ import annotations

import hashlib
from typing import Final

KEY: Final = "mm_checksum"
_MARK: Final = b"mm-sha256:"
_DIGITS: Final = 64
PLACEHOLDER: Final = _MARK.decode() + "0" * _DIGITS
"""Value of the metadata key while the file is made; :func:`sealed` puts the checksum in its place."""


def sealed(content: bytes, path: str) -> bytes:
    """The file with its checksum, as it is written under ``path``.

    Raises
    ------
    ValueError
        When the file was made without ``PLACEHOLDER``.
    """
    at = _digits_at(content)
    if at is None:
        raise ValueError("the file has no place for a checksum")
    return b"".join([content[:at], _digest(content, at, path), content[at + _DIGITS :]])


def is_sealed(content: bytes) -> bool:
    """Whether the file holds a checksum, right or wrong; earlier versions wrote files without."""
    return _digits_at(content) is not None


def matches(content: bytes, path: str) -> bool:
    """Whether the checksum is that of this content under this path."""
    at = _digits_at(content)
    return at is not None and content[at : at + _DIGITS] == _digest(content, at, path)


def _digits_at(content: bytes) -> int | None:
    """Where the checksum's digits begin; the metadata stands at a file's end, after all values and statistics."""
    found = content.rfind(_MARK)
    at = found + len(_MARK)
    return None if found < 0 or at + _DIGITS > len(content) else at


def _digest(content: bytes, at: int, path: str) -> bytes:
    digest = hashlib.sha256(path.encode() + b"\0")
    whole = memoryview(content)
    digest.update(whole[:at])
    digest.update(whole[at + _DIGITS :])
    return digest.hexdigest().encode()
