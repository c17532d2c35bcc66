"""Who may write frames now: one writer at a time, by locks that end with the process that holds them."""

from mm_pipeline.adapters.writing.locks import AdvisoryLock, FileLock, Lock
from mm_pipeline.adapters.writing.policy import WritingPolicy
from mm_pipeline.adapters.writing.turns import Turns, turns_of

__all__ = ["AdvisoryLock", "FileLock", "Lock", "Turns", "WritingPolicy", "turns_of"]
