"""Whether what was decided can be computed again: the journal against recomputed states. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from mm_pipeline.adapters.journal import Evaluation
from mm_pipeline.application.record_evaluations import fired_in
from mm_pipeline.domain.evaluation_kind import EvaluationKind

Frames = Mapping[tuple[str, EvaluationKind], pl.DataFrame]
"""States by grid and kind."""


@dataclass(frozen=True)
class Difference:
    """An evaluation whose recomputed state is another, although it saw the same."""

    grid: str
    kind: str
    evaluated_at: datetime
    decided: str
    recomputed: str


@dataclass(frozen=True)
class Parity:
    """Counts of journalled evaluations by what became of them.

    Attributes
    ----------
    equal
        Recomputed with the same state and the same triggers fired.
    revised
        What they saw has changed since (another input hash): a revised or late candle, which explains any difference.
    incomparable
        Decided under another grid version, other settings or other code.
    missing
        Not among the recomputed rows.
    """

    equal: int
    revised: int
    incomparable: int
    missing: int
    differences: tuple[Difference, ...]

    @property
    def holds(self) -> bool:
        """Whether everything comparable was found again as it was decided."""
        return not self.differences and not self.missing

    @property
    def is_evaluated(self) -> bool:
        """Whether anything was compared."""
        return bool(self.equal or self.differences or self.missing)

    @property
    def verdict(self) -> str:
        """``same``, ``different``, or ``not evaluated`` where nothing was compared."""
        return "not evaluated" if not self.is_evaluated else "same" if self.holds else "different"


def compare(journalled: Iterable[Evaluation], recomputed: Frames, *, settings_hash: str, code_version: str) -> Parity:
    """Compare journalled evaluations with recomputed states of the same grids.

    Parameters
    ----------
    recomputed
        ``evaluated_at, state, grid_version, input_hash`` and, for exit states, the triggers.
    settings_hash, code_version
        What the recomputed states were made with.
    """
    rows = {
        (grid, kind, row["evaluated_at"]): row
        for (grid, kind), frame in recomputed.items()
        for row in frame.iter_rows(named=True)
    }
    counts: dict[str, int] = defaultdict(int)
    differences = []
    for decided in journalled:
        row = rows.get((decided.grid, decided.kind, decided.evaluated_at))
        if (decided.settings_hash, decided.code_version) != (settings_hash, code_version):
            counts["incomparable"] += 1
        elif row is None:
            counts["missing"] += 1
        elif (row["grid_version"] or "") != decided.grid_version:
            counts["incomparable"] += 1
        elif row["input_hash"] != decided.input_hash:
            counts["revised"] += 1
        elif (row["state"], fired_in(row)) == (decided.state, decided.fired):
            counts["equal"] += 1
        else:
            differences.append(
                Difference(
                    decided.grid,
                    decided.kind.value,
                    decided.evaluated_at,
                    _shown(decided.state, decided.fired),
                    _shown(row["state"], fired_in(row)),
                )
            )
    return Parity(counts["equal"], counts["revised"], counts["incomparable"], counts["missing"], tuple(differences))


def _shown(state: str, fired: tuple[str, ...]) -> str:
    return f"{state} ({', '.join(fired)})" if fired else state
