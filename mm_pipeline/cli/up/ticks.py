"""One line an evaluation, as the journal gets them: what ``mm up`` shows while it runs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.text import Text

    from mm_pipeline.adapters.journal import Evaluation, Journal
    from mm_pipeline.cli.up.terminal import Terminal

_BETWEEN_CLOCKS: Final = timedelta(minutes=1)
"""The tick that writes an evaluation runs on this machine: a row of a later time was written by a clock ahead."""
_LOOK_BACK: Final = timedelta(hours=1)
"""An evaluation is journalled minutes after its close; gaps that a tick fills are told no further back than this."""


class JournalLook:
    """Prints the evaluations that the journal has got since the last look; none of the time before the first.

    Raises
    ------
    StorageError
        When the journal cannot be read; the next look opens it anew, and prints what came meanwhile.
    """

    def __init__(self, journal_url: str, terminal: Terminal) -> None:
        self._url = journal_url
        self._terminal = terminal
        self._journal: Journal | None = None
        self._printed: set[tuple[str, datetime, str]] | None = None

    def __call__(self) -> None:
        """Look once."""
        from mm_pipeline.adapters.clock import SystemClock
        from mm_pipeline.adapters.journal import Journal
        from mm_pipeline.domain.errors import StorageError

        clock = SystemClock()
        since = clock.now() - _LOOK_BACK
        try:
            if self._journal is None:
                self._journal = Journal(self._url)
                self._journal.keep_time(clock, tolerance=_BETWEEN_CLOCKS)
            if self._printed is None:
                self._printed = {_key(evaluation) for evaluation in self._journal.evaluations(since=since)}
            lines = new_lines(self._journal, self._printed, since=since)
        except StorageError:
            if self._journal is not None:
                self._journal.close()
                self._journal = None
            raise
        for line in lines:
            self._terminal.say(line)


def new_lines(journal: Journal, told: set[tuple[str, datetime, str]], *, since: datetime) -> list[Text]:
    """A line for each bar with evaluations that were not told yet; they are added to ``told``."""
    fresh = [one for one in journal.evaluations(since=since) if _key(one) not in told]
    told.update(_key(one) for one in fresh)
    moments = sorted({one.evaluated_at for one in fresh})
    return [_line([one for one in fresh if one.evaluated_at == at]) for at in moments]


def _line(evaluations: Sequence[Evaluation]) -> Text:
    from rich.text import Text

    from mm_pipeline.rendering.terminal.evaluation_tables import state_text

    line = Text(f"{evaluations[0].evaluated_at:%m-%d %H:%M}")
    for one in sorted(evaluations, key=lambda evaluation: evaluation.grid):
        why = f" ({', '.join(one.fired)})" if one.fired else ""
        line = Text.assemble(line, f"   {one.grid} ", state_text(one.state), (why, "dim"))
    return line


def _key(one: Evaluation) -> tuple[str, datetime, str]:
    return (one.grid, one.evaluated_at, one.input_hash)
