"""Where everything is kept. The working directory alone never decides, or another directory would mean another journal.

Looks up paths and makes nothing; who writes makes the directory.
"""

from __future__ import annotations

import os
from pathlib import Path

from mm_pipeline.domain.errors import ConfigError

HOME_VARIABLE = "MM_HOME"
JOURNAL_VARIABLE = "MM_JOURNAL_URL"
"""Environment variable with the journal's database; without it SQLite in the home."""


def mm_home() -> Path:
    """Absolute path of the home: ``MM_HOME``, else ``.mm/`` beside the nearest ``workspace.yaml`` going up from the
    working directory, else ``~/.local/share/mm_pipeline``.

    Raises
    ------
    ConfigError
        When ``MM_HOME`` is relative: it would name another home in every directory.
    """
    named = os.environ.get(HOME_VARIABLE, "").strip()
    if named:
        home = Path(named).expanduser()
        if not home.is_absolute():
            raise ConfigError(f"{HOME_VARIABLE} is the relative path {named!r}.", "Set it to an absolute path.")
        return home
    root = project_root()
    return root / ".mm" if root else Path.home() / ".local" / "share" / "mm_pipeline"


def project_root() -> Path | None:
    """Nearest folder with a ``workspace.yaml``, going up from the working directory; None where there is none."""
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / "workspace.yaml").is_file()), None)


def data_home(*, is_paper: bool) -> Path:
    """Where frames and journal are kept: simulated markets have a folder of their own in the home.

    Markets bear the same names on the paper exchange and on the real one; together, a switch from one to the other
    would judge simulated candles as real ones.
    """
    return mm_home() / "paper" if is_paper else mm_home()


def frames_dir(home: Path) -> Path:
    """Root of the frame store."""
    return home / "frames"


def journal_file(home: Path) -> Path:
    """SQLite file of the journal, where no other database is configured."""
    return home / "journal.db"


def archive_dir(home: Path) -> Path:
    """Clone of the evaluation archive."""
    return home / "archive"


def logs_dir(home: Path) -> Path:
    """Log files of commands and runs."""
    return home / "logs"


def dagster_dir(home: Path) -> Path:
    """Dagster's own storage (``DAGSTER_HOME``)."""
    return home / "dagster"
