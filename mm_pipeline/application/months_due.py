"""Which months a backfill would make anew, and why: what is there as today's settings would make it may stay."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Final

from mm_pipeline.adapters.frames.store import FrameStore
from mm_pipeline.application.frames_status import CURRENT, DATASETS, frames_status, metadata_of, plan_of_month
from mm_pipeline.application.plan import Plan
from mm_pipeline.application.planned_keys import planned_keys
from mm_pipeline.application.watch import Watch

NOT_MADE: Final = "not made"
GOES_ON: Final = "goes on"
FILES: Final = "files"
"""Of a month of which a file cannot be read."""
ASKED_FOR: Final = "asked for"
"""Of a month that is made anew whatever it is."""

_MADE: Final = {**DATASETS, **dict.fromkeys(("notifications", "deliveries"), "replayed_notifications")}
"""Datasets that a backfill writes, with the asset whose keys they have."""


def months_due(watch: Watch, months: Collection[datetime]) -> dict[datetime, tuple[str, ...]]:
    """Why each month would be made anew, in words; empty where it is as today's settings, code and files make it.

    A month that goes on is due each time. One of which a market or grid lacks a dataset is ``not made``: the run that
    made it was killed, or something failed in it.
    """
    store = FrameStore(watch.frames_root)
    keys = [(dataset, key) for dataset in _MADE for key in store.keys(dataset)]
    stored = {(*of, month) for of in keys for month in store.months(*of)}
    listed = [of for of in stored if of[0] not in DATASETS]  # the status looks at the others
    found: dict[datetime, set[str]] = {month: set() for month in sorted(months)}
    for month, reasons in found.items():
        plan = plan_of_month(watch, month)
        if any((dataset, key, month) not in stored for dataset, key in _wanted(plan)):
            reasons.add(NOT_MADE)
        if plan.end > plan.evaluated_at:
            reasons.add(GOES_ON)
        if any(metadata_of(store, dataset, key, at) is None for dataset, key, at in listed if at == month):
            reasons.add(FILES)
    named = {f"{month:%Y-%m}": reasons for month, reasons in found.items()}
    for status in frames_status(watch, months):
        if status.state != CURRENT:
            named[status.month] |= set(status.changed or (status.state,))
    return {month: tuple(sorted(reasons)) for month, reasons in found.items()}


def _wanted(plan: Plan) -> list[tuple[str, str]]:
    return [(dataset, key) for dataset, asset in _MADE.items() for key in planned_keys(asset, plan) or ()]
