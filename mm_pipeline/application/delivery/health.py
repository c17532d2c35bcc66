"""Which channels that reach a person do not work now, by what came of the last attempts."""

from __future__ import annotations

from collections.abc import Mapping

from mm_pipeline.adapters.journal import DeliveryOutcome, Journal
from mm_pipeline.application.delivery.channel_order import ChannelCircuits, ChannelOrder
from mm_pipeline.domain.notifications import DeliveryPolicy


class ChannelHealth:
    """Looks at the journal; asks no channel.

    Parameters
    ----------
    unusable
        Problem by name of channels that cannot even be opened.

    Raises
    ------
    StorageError
        From every method, when the journal fails.
    """

    def __init__(
        self, journal: Journal, ladder: ChannelOrder, *, policy: DeliveryPolicy, unusable: Mapping[str, str]
    ) -> None:
        self._journal = journal
        self._ladder = ladder
        self._circuits = ChannelCircuits(journal.circuits, policy)
        self._unusable = unusable

    def failing(self) -> dict[str, str]:
        """Problem by name of the channels that should reach a person and do not.

        One that refused its last page, or failed ``breaker_failures`` times in a row.
        """
        last = self._journal.outbox.last_outcomes(self._ladder.reaching)
        found: dict[str, str] = {}
        for name in self._ladder.reaching:
            event = last.get(name)
            if name in self._unusable:
                found[name] = self._unusable[name]
            elif event is not None and event.event is not DeliveryOutcome.SENT:
                is_refused = event.event is DeliveryOutcome.REFUSED
                if is_refused or self._circuits.is_failing(name):
                    found[name] = event.detail or event.event.value
        return found

    def silence(self) -> str | None:
        """Why no page can reach anybody; None where one channel may, or none is configured at all."""
        failing = self.failing()
        if not failing or len(failing) < len(self._ladder.reaching):
            return None
        name, problem = next(iter(failing.items()))
        return f"no page reaches anybody; {name}: {problem}"
