"""Which keys (markets or grids) a run of each asset makes, by its plan. Pure."""

from collections.abc import Callable, Mapping
from typing import Final

from mm_pipeline.application.decide_states import kinds_of
from mm_pipeline.application.plan import Plan, WatchedGrid
from mm_pipeline.domain.evaluation_kind import EvaluationKind

Keys = frozenset[str]

WATCH_KEY: Final = "watch"
"""Key of frames about the watch itself."""


def planned_keys(asset: str, plan: Plan) -> Keys | None:
    """Keys that a run makes, or would make if nothing failed; None of an asset whose keys the journal alone knows."""
    keys_of = _BY_ASSET.get(asset)
    return None if keys_of is None else keys_of(plan)


def grid_assets() -> tuple[str, ...]:
    """Assets whose keys are the grids of a plan."""
    return tuple(asset for asset, keys_of in _BY_ASSET.items() if keys_of is not _markets)


def is_enabled(grid: WatchedGrid, plan: Plan) -> bool:
    """Whether a declaration that is in force in the plan's months is enabled."""
    return any(declaration.enabled for declaration in grid.in_force(plan.first_ms, max(plan.last_ms, plan.first_ms)))


def _markets(plan: Plan) -> Keys:
    return frozenset(market.path_key for market in plan.markets)


def _declared(plan: Plan) -> Keys:
    return frozenset(grid.grid_id for grid in plan.grids if grid.versions)


def _enabled(plan: Plan) -> Keys:
    return frozenset(grid.grid_id for grid in plan.grids if is_enabled(grid, plan))


def _exits(plan: Plan) -> Keys:
    return _of_kind(plan, EvaluationKind.EXIT)


def _entries(plan: Plan) -> Keys:
    return _of_kind(plan, EvaluationKind.ENTRY)


def _of_kind(plan: Plan, kind: EvaluationKind) -> Keys:
    return frozenset(grid.grid_id for grid in plan.grids if kinds_of(grid, plan)[kind])


def _watched(plan: Plan) -> Keys:
    return frozenset(grid.grid_id for grid in plan.grids)


_BY_ASSET: Final[Mapping[str, Callable[[Plan], Keys]]] = {
    "regime_metrics": _markets,
    "regime": _markets,
    "grid_analysis": _declared,
    "positions": _enabled,
    "risk": _enabled,
    "exit_states": _exits,
    "entry_states": _entries,
    "replayed_notifications": _watched,
}
