"""What kind of state an evaluation says."""

from __future__ import annotations

from enum import StrEnum


class EvaluationKind(StrEnum):
    """What an evaluation told the operator: an enabled grid's exit state or a disabled one's entry state."""

    EXIT = "exit"
    ENTRY = "entry"
