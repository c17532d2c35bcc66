"""The three stages of a study, each a market at a time: grids, their states, and the outcomes of their signals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import polars as pl

from mm_pipeline.application.replay.outputs import advice_rows
from mm_pipeline.application.study_grids.markets import OpenMarket
from mm_pipeline.application.study_grids.study import Study, answer_within
from mm_pipeline.contracts.study import SIGNAL_OUTCOMES, STUDY_GRIDS, STUDY_STATES
from mm_pipeline.domain.instants import to_ms
from mm_pipeline.domain.notifications import EXIT, Decision, NotifyPolicy, judged_in, replay
from mm_pipeline.domain.study import (
    NotPlaced,
    PlacedGrid,
    StudiedGrid,
    grids_of_rows,
    place_grids,
    rows_of_grids,
    signal_outcomes,
)

ByMarket = Mapping[str, pl.DataFrame]
"""Frames by the market's ``path_key``."""


def grids_of(study: Study, market: OpenMarket, month: datetime) -> tuple[pl.DataFrame, list[NotPlaced]]:
    """Grids of a month on one market, and those that could not be placed."""
    seen = market.study_market
    found = [one for span in study.spans(month) for one in place_grids(study.declaration, seen, span)]
    rows = rows_of_grids([one for one in found if isinstance(one, PlacedGrid)], seen)
    STUDY_GRIDS.check(rows)
    return rows, [one for one in found if isinstance(one, NotPlaced)]


def states_of(study: Study, market: OpenMarket, policy: str, grids: pl.DataFrame) -> pl.DataFrame:
    """Exit states of study grids under a policy, from start to end: those of ``mm replay``."""
    advice, view = study.settings(policy).advice, market.study_market.view
    parts: list[pl.DataFrame] = [STUDY_STATES.empty()]
    for placed in grids_of_rows(grids):
        span_ms = placed.grid.started_at_ms - 1, to_ms(placed.ends_at)  # a replay judges at the start too
        parts.append(advice_rows(placed.grid, view, advice, span_ms)[1])
    states = pl.concat(parts)
    STUDY_STATES.check(states)
    return states


def outcomes_of(
    study: Study, market: OpenMarket, policy: str, month: datetime, frames: tuple[pl.DataFrame, pl.DataFrame]
) -> pl.DataFrame:
    """Outcomes of a month's signals on one market, of its grids and their states (``frames``)."""
    settings = study.settings(policy)
    grids, states = frames
    parts = [SIGNAL_OUTCOMES.empty()]
    for placed in grids_of_rows(grids):
        rows = states.filter(pl.col("grid") == placed.grid.id)
        studied = StudiedGrid(placed, rows, decisions_of(rows, placed, settings.notify))
        parts.append(
            signal_outcomes(
                studied,
                market.study_market,
                market.history,
                settings.risk,
                answer_within(settings.notify),
                month=f"{month:%Y-%m}",
            )
        )
    outcomes = pl.concat(parts)
    SIGNAL_OUTCOMES.check(outcomes)
    return outcomes


def decisions_of(states: pl.DataFrame, placed: PlacedGrid, policy: NotifyPolicy) -> Sequence[Decision]:
    """What live ticks over these states would have sent to an operator who never answers; no text is written."""
    judged = judged_in(states, {placed.grid.version_hash: placed.grid}, policy, kind=EXIT)
    return replay(judged, [], policy)
