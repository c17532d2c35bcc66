"""Exit states of enabled grids and their triggers (SPEC section 6)."""

from mm_pipeline.domain.exit_state.policy import (
    LATEST,
    MANDATORY,
    TRIGGERS,
    WARNING,
    EntryPolicy,
    ExitStatePolicy,
)
from mm_pipeline.domain.exit_state.states import STATES, exit_states

__all__ = [
    "LATEST",
    "MANDATORY",
    "STATES",
    "TRIGGERS",
    "WARNING",
    "EntryPolicy",
    "ExitStatePolicy",
    "exit_states",
]
