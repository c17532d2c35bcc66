"""The channels in the order in which they are tried, and which of them may be tried now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mm_pipeline.domain.candles import HEALTHY, CircuitPhase, CircuitState, CircuitStore, after_failure, circuit_phase
from mm_pipeline.domain.notifications import Channel, DeliveryPolicy


@dataclass(frozen=True)
class ChannelOrder:
    """Channels by name, most trusted first.

    Attributes
    ----------
    channels
        In the order of the settings.
    secondary
        Names of those that only take what another failed to deliver, or what nobody answered.
    records
        Names of those that keep a page and put it before nobody, where another channel reaches a person.
    """

    channels: Mapping[str, Channel]
    secondary: frozenset[str]
    records: frozenset[str] = frozenset()

    @property
    def ranks(self) -> dict[str, int]:
        """Place of each channel in the order, from 0."""
        return {name: rank for rank, name in enumerate(self.channels)}

    @property
    def reaching(self) -> tuple[str, ...]:
        """Channels whose acceptance counts as delivery."""
        return tuple(name for name in self.channels if name not in self.records)

    def first(self, *, without: Sequence[str] = ()) -> dict[str, int]:
        """Rank by name of the channels that a new page goes to at once.

        All that are not secondary. Where none of these reaches a person, the first that does as well; where there is
        none at all, the first.
        """
        usable = {name: rank for name, rank in self.ranks.items() if name not in without}
        primary = {name: rank for name, rank in usable.items() if name not in self.secondary}
        reaching = [name for name in self.reaching if name in usable]
        if reaching and not primary.keys() & set(reaching):
            primary[reaching[0]] = usable[reaching[0]]
        return primary or dict(list(usable.items())[:1])

    def others(self, without: Sequence[str]) -> dict[str, int]:
        """Rank by name of the channels that carry an alarm about some of them.

        The others, if one of them reaches a person; else all, for those that failed may have come back.
        """
        rest = self.first(without=without)
        return rest if rest.keys() & set(self.reaching) else self.ranks

    def after(self, rank: int, *, tried: Sequence[str] = ()) -> tuple[str, int] | None:
        """The next channel further down that is not among ``tried``, those that reach a person first; None without."""
        further = [(name, place) for name, place in self.ranks.items() if place > rank and name not in tried]
        return next((one for one in further if one[0] in self.reaching), further[0] if further else None)


class ChannelCircuits:
    """Whether a channel has failed so often of late that it is left alone; kept in the journal between processes."""

    def __init__(self, store: CircuitStore, policy: DeliveryPolicy) -> None:
        self._store = store
        self._policy = policy

    def is_open(self, channel: str, *, now_ms: int) -> bool:
        """Whether nothing may be sent through it now."""
        return circuit_phase(self._state(channel), now_ms=now_ms, policy=self._policy) is CircuitPhase.OPEN

    def is_failing(self, channel: str) -> bool:
        """Whether it has failed so often of late that its pages go to the next one, and has not recovered since."""
        return self._state(channel).failures >= self._policy.breaker_failures

    def succeeded(self, channel: str, *, now_ms: int) -> None:
        """It took a message, or answered that it will not."""
        if self._state(channel) != HEALTHY:
            self._store.save(_name(channel), HEALTHY, at_ms=now_ms)

    def failed(self, channel: str, *, now_ms: int, problem: str) -> None:
        """It did not answer, or not as it should."""
        state = after_failure(self._state(channel), now_ms=now_ms, policy=self._policy, problem=problem)
        self._store.save(_name(channel), state, at_ms=now_ms)

    def _state(self, channel: str) -> CircuitState:
        return self._store.load(_name(channel))


def _name(channel: str) -> str:
    return f"channel:{channel}"
