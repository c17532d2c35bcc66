"""An installation's journal, as commands open it: to read what was decided, or to add an answer; never to begin one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from mm_pipeline.adapters.config.home import data_home

if TYPE_CHECKING:
    from mm_pipeline.adapters.journal import Journal
    from mm_pipeline.settings import Deployment

_MEND: Final = "It begins with the first evaluation: run mm evaluate or mm up, with the same settings and MM_HOME."


def open_journal(deployment: Deployment) -> Journal:
    """Open the journal that the installation's evaluations write; what it holds of a later time than now is left out.

    Parameters
    ----------
    deployment
        Says whether markets are simulated: these have a journal of their own.

    Returns
    -------
    Journal
        A context manager; the caller closes it.

    Raises
    ------
    StorageError
        When there is no journal yet (nothing is made), or its database cannot be reached.
    """
    from mm_pipeline.adapters.clock import SystemClock
    from mm_pipeline.adapters.journal import Journal

    url = journal_url(deployment)
    _check_there(url)
    journal = Journal(url)
    journal.claim(is_paper=deployment.settings.is_paper, is_new=False)
    journal.keep_time(SystemClock(), tolerance=deployment.settings.exchange_access.max_clock_offset)
    return journal


def check_grid(journal: Journal, grid_id: str | None) -> None:
    """Refuse an id that the journal knows no grid of; None asks for all.

    Raises
    ------
    ConfigError
        Naming the grids that there are.
    """
    from mm_pipeline.domain.errors import ConfigError

    known = journal.known_grids()
    if grid_id is not None and grid_id not in known:
        raise ConfigError(f"the journal knows no grid {grid_id}.", f"There are: {', '.join(known) or 'none'}.")


def journal_url(deployment: Deployment) -> str:
    """``$MM_JOURNAL_URL``, else the SQLite file in the home."""
    from mm_pipeline import bootstrap

    return bootstrap.journal_url(data_home(is_paper=deployment.settings.is_paper))


def _check_there(url: str) -> None:
    """Refuse a database that holds no journal, before opening it would make one."""
    import sqlalchemy as sa
    from sqlalchemy.exc import ArgumentError

    from mm_pipeline.adapters.journal.database import Database, parsed_url
    from mm_pipeline.domain.errors import StorageError

    try:
        parsed = parsed_url(url)
    except ArgumentError:
        parsed = None  # the database below says what is wrong with it
    if parsed is not None and parsed.get_backend_name() == "sqlite" and parsed.database:
        file = Path(parsed.database)
        if file.is_absolute() and not (file.is_file() and file.stat().st_size):
            raise StorageError(f"there is no journal at {file} yet.", _MEND)
    database = Database(url)
    try:
        with database.reading() as connection:
            is_there = sa.inspect(connection).has_table("journal_migrations")
    finally:
        database.close()
    if not is_there:
        place = "" if parsed is None else parsed.render_as_string(hide_password=True)
        raise StorageError(f"there is no journal in {place} yet.", _MEND)
