"""A market's price as a path in time, made of the same bars that the market shows; what trades on it is elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from mm_pipeline.paper.markets.market_data import MarketData


class Leg(NamedTuple):
    """A straight way of the price.

    ``is_gap`` marks the jump from a bar's close to the next open: it takes no time, and nothing trades between but
    resting orders at their own prices. ``bar`` is the number of the bar that the leg leads into or lies in.
    """

    bar: int
    is_gap: bool
    from_ms: int
    to_ms: int
    start: float
    end: float

    def at_ms(self, price: float) -> int:
        """When the price is passed, in epoch milliseconds."""
        if self.end == self.start:
            return self.to_ms
        share = (price - self.start) / (self.end - self.start)
        return self.from_ms + int((self.to_ms - self.from_ms) * share)


class PricePlayer:
    """Plays a market's path once, forward, as far as it is asked to.

    Inside a bar the path runs open, nearer extreme, other extreme, close, a third of the bar's time each; between bars
    it jumps from the close to the next open (SPEC 7). A bar begins only after its open time, as candles show it.

    Parameters
    ----------
    data
        The market.
    """

    def __init__(self, data: MarketData) -> None:
        self._data = data
        self._bar = 0
        self._corner = 0  # the one that is next
        self._played_ms = data.open_ms(0)
        self._price = data.corners(0)[0]

    def legs(self, until_ms: int) -> Iterator[Leg]:
        """The legs that have not been played yet, up to a moment; the last may end in the middle of its way."""
        while self._bar < self._data.bar_count:
            opened_ms = self._data.open_ms(self._bar)
            if until_ms <= max(opened_ms, self._played_ms):
                return
            corners = self._data.corners(self._bar)
            if self._corner == 0:
                yield self._moved(Leg(self._bar, True, opened_ms, opened_ms, self._price, corners[0]))
                self._corner = 1
            yield from self._inside(corners, opened_ms, until_ms)

    def _inside(self, corners: tuple[float, ...], opened_ms: int, until_ms: int) -> Iterator[Leg]:
        step_ms = self._data.base_ms // (len(corners) - 1)
        while self._corner < len(corners):
            from_ms = opened_ms + step_ms * (self._corner - 1)
            before, after = corners[self._corner - 1], corners[self._corner]
            if until_ms < from_ms + step_ms:
                price = self._between(before, after, (until_ms - from_ms) / step_ms)
                if until_ms > self._played_ms:
                    yield self._moved(Leg(self._bar, False, self._played_ms, until_ms, self._price, price))
                return
            yield self._moved(Leg(self._bar, False, self._played_ms, from_ms + step_ms, self._price, after))
            self._corner += 1
        self._bar, self._corner = self._bar + 1, 0

    def _between(self, before: float, after: float, share: float) -> float:
        increment = self._data.paper.price_increment
        price = round(round((before + (after - before) * share) / increment) * increment, 12)
        return min(max(price, min(before, after)), max(before, after))

    def _moved(self, leg: Leg) -> Leg:
        self._price, self._played_ms = leg.end, leg.to_ms
        return leg
