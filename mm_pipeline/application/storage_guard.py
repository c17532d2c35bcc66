"""The guard of the storage: who finds that journal or disk fail calls it, and a notice goes out without either.

Called by the run (a tick that fails), by ``mm evaluate``, by the sensor of due deliveries, and by whoever supervises
``mm up``: with the disk full Dagster starts no run at all, so that the process outside must look by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mm_pipeline.adapters.clock import Clock
from mm_pipeline.adapters.config.grid_files import load_grids
from mm_pipeline.adapters.config.home import dagster_dir
from mm_pipeline.adapters.last_resort import (
    LastResort,
    OutageMemory,
    Outcome,
    Room,
    RoomState,
    StorageProbe,
    is_storage_failure,
)
from mm_pipeline.application.opening.channels import ChannelFactory
from mm_pipeline.domain.errors import PipelineError, StorageError
from mm_pipeline.settings import Deployment

_WATCHED_SHOWN = 12


@dataclass(frozen=True)
class StorageGuard:
    """Looks after journal, disk and reserve of one home, and tells of their outage without them.

    Attributes
    ----------
    resort
        What tells.
    probe
        What asks journal and disk.
    room
        Reserve and free space.
    """

    resort: LastResort
    probe: StorageProbe
    room: Room

    def check(self) -> PipelineError | None:
        """Look once: give up the reserve where the disk is full, and tell of an outage that lasts.

        For a process that calls it again and again (each 15 to 60 s). Never raises, waits for no outage to end; an
        outage that is over is noted.

        Returns
        -------
        What is wrong now; None where journal and disk take a write.
        """
        state = self.room.check()
        found = self.probe.problem()
        if found is not None:
            self.resort.report(found)
            return found
        self.resort.end()
        if state is RoomState.ENOUGH:
            self.room.reserve()
        return None

    def failed(self, error: BaseException) -> Outcome | None:
        """Tell of a run's failure, where it is the storage's and lasts for ``last_resort.grace``. Never raises.

        Returns
        -------
        What came of it; None where the error is not about storage.
        """
        if not is_storage_failure(error):
            return None
        self.room.check()
        return self.resort.insist(lambda: self.probe.problem(is_thorough=True))

    def report(self, error: PipelineError) -> Outcome:
        """Tell of a failure that the caller sees lasting, such as ticks that do not start. Never raises or waits."""
        return self.resort.report(error)


def storage_guard(
    deployment: Deployment,
    channels: ChannelFactory,
    *,
    home: Path,
    frames_root: str,
    journal_url: str,
    clock: Clock,
    memory: OutageMemory | None = None,
) -> StorageGuard:
    """The guard of an installation.

    Parameters
    ----------
    channels
        Opened here: those that reach a person, primary ones first.
    home
        Of Dagster's storage and the reserve.
    frames_root
        Frames on another machine are not probed: the run's own error tells.
    """
    settings = deployment.settings
    reaching = sorted((one for one in settings.channels if one.reaches_a_person), key=lambda one: one.is_secondary)
    opened = channels.open(settings)
    folders = [home, dagster_dir(home)] + ([Path(frames_root)] if "://" not in frames_root else [])
    return StorageGuard(
        resort=LastResort(
            channels={one.name: opened[one.name] for one in reaching if one.name in opened},
            memory=memory or OutageMemory(home),
            policy=settings.last_resort,
            clock=clock,
            watched=_watched(deployment),
        ),
        probe=StorageProbe(journal_url=journal_url, folders=tuple(folders), is_paper=settings.is_paper),
        room=Room(home, settings.last_resort),
    )


def _watched(deployment: Deployment) -> str:
    """Enabled grids with their stops, from their files: the journal is not asked."""
    try:
        grids = [grid for grid in load_grids(deployment.grids_folder).grids if grid.enabled]
    except (PipelineError, OSError):
        return ""
    shown = [f"{grid.id} ({grid.symbol}, stop {grid.stop_loss})" for grid in grids[:_WATCHED_SHOWN]]
    return ", ".join(shown + (["..."] if len(grids) > _WATCHED_SHOWN else []))


def dagster_failed(error: Exception, home: Path) -> StorageError:
    """Dagster's own storage as the one to blame, in an operator's words."""
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return StorageError(
        f"Dagster's own storage ({dagster_dir(home)}) failed: {reason}",
        "Free disk space, or check the database that its dagster.yaml names.",
    )
