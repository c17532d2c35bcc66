"""Where everything is kept. The working directory alone never decides, or another directory would mean another journal.

Looks up paths and makes nothing; who writes makes the directory. What lies there is its owner's alone.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from mm_pipeline.domain.errors import ConfigError

OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
"""Permission bits of everybody but the owner."""
_OURS: Final = ("frames", "studies", "as_of", "paper", "archive", "logs", "dagster", "pages.jsonl", "reserve.bin")
_JOURNALS: Final = "journal.db*"

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


def studies_dir(home: Path) -> Path:
    """Study files, and a folder of each study with its frames."""
    return home / "studies"


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


def reserve_file(home: Path) -> Path:
    """File that keeps room on the disk for the journal and for pages."""
    return home / "reserve.bin"


def keep_private(home: Path) -> None:
    """Let this process and its children write for the owner alone, and close what earlier versions left open."""
    os.umask(OTHERS)
    tighten(home)


def tighten(home: Path) -> None:
    """Take the permissions of all others from the home and everything below it.

    A folder that many share (``/tmp``, a user's own home) keeps its permissions; what is ours in it loses them. What
    cannot be changed is left as it is: ``mm doctor`` names it.
    """
    for path in open_to_others(home):
        with suppress(OSError):
            path.chmod(stat.S_IMODE(path.lstat().st_mode) & ~OTHERS)


def open_to_others(home: Path) -> list[Path]:
    """What other users of this machine can read or change, deepest last; empty where the home itself is closed."""
    if not home.is_dir():
        return []
    if not _is_shared(home):
        return [path for path in _with_all_below(home) if _is_open(path)] if _is_open(home) else []
    ours = [home / name for name in _OURS] + sorted(home.glob(_JOURNALS))
    return [path for part in ours if _is_open(part) for path in _with_all_below(part) if _is_open(path)]


def _is_shared(home: Path) -> bool:
    found = home.stat()
    is_on_the_way = Path.home().resolve().is_relative_to(home.resolve())
    return is_on_the_way or bool(found.st_mode & stat.S_ISVTX) or found.st_uid != os.geteuid()


def _with_all_below(path: Path) -> Iterator[Path]:
    yield path
    if path.is_dir() and not path.is_symlink():
        for folder, folders, files in os.walk(path):
            yield from (Path(folder, name) for name in [*folders, *files])


def _is_open(path: Path) -> bool:
    try:
        mode = path.lstat().st_mode
    except OSError:
        return False
    return not stat.S_ISLNK(mode) and bool(mode & OTHERS)
