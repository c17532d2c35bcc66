"""What of a grid decides where its card stands, and what it asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mm_pipeline.adapters.journal import DecisionRecord
from mm_pipeline.application.operator.status import UNKNOWN, GridStatus
from mm_pipeline.domain.notifications import Notice
from mm_pipeline.reporting.grid_report import SEVERITY

ACTIONS: Final = {
    "MANDATORY_EXIT": "Exit: stop the bot and sell what it holds.",
    "LATEST_ACCEPTABLE_EXIT": "Exit soon: stop the bot and sell what it holds.",
    "WARNING": "Prepare to exit, decide.",
    "NORMAL": "Nothing to do.",
    UNKNOWN: "Look at the exchange yourself.",
}
"""What each state asks of an operator who still holds something; entry states ask for nothing."""
_STANDS: Final = "The MANDATORY EXIT that was paged stands until the watch says NORMAL."


@dataclass(frozen=True)
class GridPages:
    """How a grid stands, and the decisions that an answer given now would be about."""

    status: GridStatus
    pages: Sequence[DecisionRecord]

    @property
    def is_flat(self) -> bool:
        """Whether its position is closed, by the word in force."""
        return self.status.flat_at is not None

    @property
    def has_emergency(self) -> bool:
        """Whether an emergency that was paged stands: only NORMAL, or the word that it is flat, ends it."""
        grid = self.status.report.grid
        mandatory = [one.decision for one in self.pages if one.decision.notice is Notice.MANDATORY_EXIT]
        is_present = any(grid is None or one.evaluated_at >= grid.started_at for one in mandatory)
        return is_present and not self.is_flat

    @property
    def weighed_state(self) -> str:
        """The state by which it is ranked: that of an emergency that stands, however mild it looks now."""
        return Notice.MANDATORY_EXIT.value if self.has_emergency else self.status.report.state


def urgent_first(grids: Sequence[GridPages]) -> list[GridPages]:
    """What needs an operator first comes first; a closed position hides no open one, whatever its state."""
    return sorted(grids, key=lambda one: (one.is_flat, SEVERITY.index(one.weighed_state), one.status.report.grid_id))


def action_of(seen: GridPages) -> str:
    """What a grid asks of its operator now."""
    if seen.is_flat:
        return "You reported flat."
    asked = ACTIONS.get(seen.weighed_state, "")
    return f"{asked} {_STANDS}" if seen.weighed_state != seen.status.report.state else asked
