"""How ``mm up`` reaches the operator's phone: alarms in the journal, delivered here, for the daemon may be dead."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

from mm_pipeline.domain.errors import PipelineError

if TYPE_CHECKING:
    from mm_pipeline.cli.up.terminal import Conditions
    from mm_pipeline.settings import Settings

_AGAIN_AFTER_S: Final = 60.0
"""The journal decides how often an alarm is repeated; it is asked no more often than this."""
_RETRY_S: Final = 5.0
_TEXT_LIMIT: Final = 1000


class Pager:
    """Raises alarms from a thread of its own, so that no supervising waits for a database or a provider.

    An alarm that cannot be journalled is kept and tried again.
    """

    def __init__(self, settings: Settings, journal_url: str, conditions: Conditions) -> None:
        self._settings = settings
        self._journal_url = journal_url
        self._conditions = conditions
        self._pending: dict[str, tuple[str, str]] = {}
        self._asked_s: dict[str, float] = {}
        self._changed = threading.Condition()
        threading.Thread(target=self._run, name="alarms", daemon=True).start()

    def alarm(self, subject: str, title: str, text: str) -> None:
        """Raise an alarm soon; the same subject is told of as often as of a watch that stays blind."""
        now_s = time.monotonic()
        with self._changed:
            if now_s - self._asked_s.get(subject, -_AGAIN_AFTER_S) < _AGAIN_AFTER_S:
                return
            self._asked_s[subject] = now_s
            self._pending[subject] = (title, text[:_TEXT_LIMIT])
            self._changed.notify_all()

    def flush(self, within_s: float) -> bool:
        """Wait until every alarm was handed over; False where time ran out."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._pending, timeout=within_s)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._pending))
                due = dict(self._pending)
            try:
                self._deliver(due)
            except PipelineError as error:
                self._conditions.begin("alarms", f"an alarm waits: {error}")
                time.sleep(_RETRY_S)
                continue
            except Exception as error:  # whatever it is, the next alarm must still go out
                self._conditions.begin("alarms", f"an alarm waits: {type(error).__name__}: {error}")
                time.sleep(_RETRY_S)
                continue
            self._conditions.end("alarms", "alarms go out again")
            with self._changed:
                self._pending = {name: alarm for name, alarm in self._pending.items() if due.get(name) != alarm}
                self._changed.notify_all()

    def _deliver(self, due: dict[str, tuple[str, str]]) -> None:
        from mm_pipeline.adapters.journal import Journal
        from mm_pipeline.cli.delivery_access import delivery_for

        with Journal(self._journal_url) as journal:
            delivery = delivery_for(self._settings, journal)
            for subject, (title, text) in due.items():
                delivery.alarms.raise_about(subject, title, text, every=self._settings.notify.unknown.second_after)
            delivery.relay.run()
