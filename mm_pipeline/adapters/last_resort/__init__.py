"""The last resort: a notice that needs neither journal nor disk, and the room that is kept free for both.

When a run fails or a page is due does not belong here.
"""

from mm_pipeline.adapters.last_resort.memory import OutageMemory
from mm_pipeline.adapters.last_resort.notice import LastResort, Outcome
from mm_pipeline.adapters.last_resort.policy import LastResortPolicy
from mm_pipeline.adapters.last_resort.probe import StorageProbe, is_out_of_space, is_storage_failure
from mm_pipeline.adapters.last_resort.room import Room, RoomState

__all__ = [
    "LastResort",
    "LastResortPolicy",
    "OutageMemory",
    "Outcome",
    "Room",
    "RoomState",
    "StorageProbe",
    "is_out_of_space",
    "is_storage_failure",
]
