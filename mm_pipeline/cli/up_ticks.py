"""One line an evaluation, as the journal gets them: what ``mm up`` shows while it runs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.text import Text

    from mm_pipeline.adapters.journal import Evaluation, Journal
    from mm_pipeline.cli.up_processes import DagsterProcess, Stop

_POLL_S: Final = 2.0
_LOOK_BACK: Final = timedelta(hours=1)
"""An evaluation is journalled minutes after its close; gaps that a tick fills are told no further back than this."""


def follow_journal(home: Path, dagster: DagsterProcess, stop: Stop) -> None:
    """Print evaluations until a signal comes.

    Raises
    ------
    PipelineError
        When Dagster ends by itself, or the journal cannot be read.
    """
    from mm_pipeline.adapters.clock import SystemClock
    from mm_pipeline.adapters.home import JOURNAL_VARIABLE, journal_file
    from mm_pipeline.adapters.journal import Journal, sqlite_url
    from mm_pipeline.cli.output import stdout

    console, clock = stdout(), SystemClock()
    with Journal(os.environ.get(JOURNAL_VARIABLE) or sqlite_url(journal_file(home))) as journal:
        told = {_key(one) for one in journal.evaluations(since=clock.now() - _LOOK_BACK)}
        while not stop.is_asked_within(_POLL_S):
            dagster.check()
            for line in new_lines(journal, told, since=clock.now() - _LOOK_BACK):
                console.print(line, soft_wrap=True)


def new_lines(journal: Journal, told: set[tuple[str, datetime, str]], *, since: datetime) -> list[Text]:
    """A line for each bar with evaluations that were not told yet; they are added to ``told``."""
    fresh = [one for one in journal.evaluations(since=since) if _key(one) not in told]
    told.update(_key(one) for one in fresh)
    moments = sorted({one.evaluated_at for one in fresh})
    return [_line([one for one in fresh if one.evaluated_at == at]) for at in moments]


def _line(evaluations: Sequence[Evaluation]) -> Text:
    from rich.text import Text

    from mm_pipeline.reporting.tables import state_text

    line = Text(f"{evaluations[0].evaluated_at:%m-%d %H:%M}")
    for one in sorted(evaluations, key=lambda evaluation: evaluation.grid):
        why = f" ({', '.join(one.fired)})" if one.fired else ""
        line = Text.assemble(line, f"   {one.grid} ", state_text(one.state), (why, "dim"))
    return line


def _key(one: Evaluation) -> tuple[str, datetime, str]:
    return (one.grid, one.evaluated_at, one.input_hash)
