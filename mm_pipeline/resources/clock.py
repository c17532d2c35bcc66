"""The pipeline's clock as a resource."""

from datetime import datetime

import dagster as dg

from mm_pipeline.adapters.clock import Clock, FixedClock, SystemClock


class ClockResource(dg.ConfigurableResource[Clock]):
    """This machine's clock, or one that stands still.

    Parameters
    ----------
    at
        ISO 8601 instant with its UTC offset at which the clock stands; None for the machine's own.
    """

    at: str | None = None

    def clock(self) -> Clock:
        """The clock that is configured."""
        return SystemClock() if self.at is None else FixedClock(datetime.fromisoformat(self.at))
