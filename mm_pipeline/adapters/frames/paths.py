"""Where a frame lies below the root: by dataset, key and month."""

import re
from datetime import datetime
from typing import Final

from mm_pipeline.domain.errors import StorageError

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
"""What a dataset or a key may be called."""


def checked(name: str) -> str:
    """A dataset or key that is fit for a path; anything else is a StorageError."""
    if not NAME.fullmatch(name):
        raise StorageError(
            f"{name!r} cannot be part of a path.", "Use letters, digits, - and _, starting with a letter or digit."
        )
    return name


def folder_path(dataset: str, key: str) -> str:
    """Folder of a key's months."""
    return f"{checked(dataset)}/{checked(key)}"


def month_path(dataset: str, key: str, month: datetime) -> str:
    """File of a month."""
    return f"{folder_path(dataset, key)}/{month:%Y-%m}.parquet"


def context_path(dataset: str, key: str, month: datetime) -> str:
    """File of the look-back rows of a month."""
    return f"{folder_path(dataset, key)}/context/{month:%Y-%m}.parquet"
