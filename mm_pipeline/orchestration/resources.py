"""What assets, schedules and sensors ask for: a watch, opened for each run and closed with it."""

from collections.abc import Callable, Iterator

import dagster as dg

from mm_pipeline.application.installation import Installation
from mm_pipeline.application.watch import Watch

WatchResource = dg.ResourceParam[Watch]
"""Type of the parameter ``watch``."""


def watch_resource(current: Callable[[], Installation]) -> dg.ResourceDefinition:
    """The watch of the installation as it is now, anew in each run."""

    @dg.resource(description="One run of the installation: its time, plan, candles, journal and channels.")
    def watch(_context: dg.InitResourceContext) -> Iterator[Watch]:
        opened = Watch(current())
        try:
            yield opened
        finally:
            opened.close()

    return watch
