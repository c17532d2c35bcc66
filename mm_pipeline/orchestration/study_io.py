"""How the assets of a study exchange frames: by market, in the study's own folder, a month and policy at a time."""

from collections.abc import Mapping
from typing import Final

import dagster as dg
import polars as pl

from mm_pipeline.adapters.frames.study_frames import STUDY_HASH
from mm_pipeline.application.study_grids.opened import OpenStudies
from mm_pipeline.application.study_grids.run import Partition, candles_hash_of, store
from mm_pipeline.application.study_grids.study import DATASETS
from mm_pipeline.contracts.contract import Contract
from mm_pipeline.contracts.study import SIGNAL_OUTCOMES, STUDY_GRIDS, STUDY_STATES
from mm_pipeline.domain.columns import conformed
from mm_pipeline.domain.errors import FrameMissing
from mm_pipeline.orchestration.assets.study_grids import partition_of

_DECIDES: Final = (STUDY_HASH, "settings_hash")
_LAUNCH_ALL: Final = f"Launch {', '.join(DATASETS[:-1])} and {DATASETS[-1]} of that month again, together."
_STORED: Final[Mapping[str, Contract]] = {each.name: each for each in (STUDY_GRIDS, STUDY_STATES, SIGNAL_OUTCOMES)}


class StudyIOManager(dg.IOManager):
    """Writes and reads ``dict[market, frame]`` of one partition."""

    def handle_output(self, context: dg.OutputContext, obj: Mapping[str, pl.DataFrame]) -> None:
        """Replace the partition."""
        studies: OpenStudies = context.resources.studies
        name, dataset = context.asset_key.path
        partition = _partition(context)
        store(studies.study(name), dataset, partition, obj, studies.made_by(name, partition))

    def load_input(self, context: dg.InputContext) -> Mapping[str, pl.DataFrame]:
        """The same partition of what is upstream, in the present columns."""
        studies: OpenStudies = context.resources.studies
        name, dataset = context.asset_key.path
        partition = _partition(context)
        frames = studies.study(name).frames
        found = frames.read(dataset, partition.policy, partition.month)
        stamps = frames.metadata(dataset, partition.policy, partition.month)
        _check_made_by(dataset, partition, stamps, studies.made_by(name, partition))
        return {key: conformed(frame, _STORED[dataset].columns) for key, frame in found.items()}


def _check_made_by(
    dataset: str, partition: Partition, stamps: Mapping[str, Mapping[str, str]], today: Mapping[str, str]
) -> None:
    """Refuse what is upstream where another declaration, other settings or other candles made it.

    Of a market whose candles cannot be had today nothing is compared: its own stage says so.

    Raises
    ------
    FrameMissing
        What is made of it would bear the name of today's.
    """
    for market, stamp in stamps.items():
        for name in _DECIDES:
            if stamp.get(name) != today[name]:
                raise FrameMissing(
                    f"{dataset} of {market} {partition} has another {name} than the study has today.", _LAUNCH_ALL
                )
        candles = candles_hash_of(market)
        if candles in today and stamp.get(candles) != today[candles]:
            raise FrameMissing(
                f"{dataset} of {market} {partition} was made of other candles than there are today.", _LAUNCH_ALL
            )


def _partition(context: dg.OutputContext | dg.InputContext) -> Partition:
    """The one partition of the run; a backfill names it as a range from itself to itself."""
    (key,) = context.asset_partition_keys
    return partition_of(key)


def study_io_manager() -> dg.IOManagerDefinition:
    """Frames of studies, opened anew in each run."""
    return dg.IOManagerDefinition(
        lambda _context: StudyIOManager(), description="Frames of studies.", required_resource_keys={"studies"}
    )
