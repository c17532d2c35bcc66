"""What the frames of a study promise. Units and words of their columns are in the domain."""

from __future__ import annotations

from typing import Final

import polars as pl

from mm_pipeline.contracts.contract import Contract, aligned, at_least, between, complete, one_of
from mm_pipeline.contracts.states import EXIT
from mm_pipeline.domain.exit_state import STATES
from mm_pipeline.domain.market import Timeframe
from mm_pipeline.domain.study.columns import OUTCOME_COLUMNS, STUDY_GRID_COLUMNS, schema_of
from mm_pipeline.domain.study.placement import Ending

_ENDINGS: Final = tuple(ending.value for ending in Ending)
_LIVE_ALONE: Final = ("input_hash", "risk")
"""Columns of exit states that replays do not make."""
_OTHERWISE: Final = ("one grid", "evaluated_at ascends without twins", "state is there")
"""Rules of exit states that speak of one grid, or of live columns."""
_ONE_GRID_AT_A_TIME: Final = (pl.struct("grid", "evaluated_at").n_unique() == pl.len()) & (
    (pl.col("evaluated_at").to_physical().diff().over("grid") > 0).all()
)

STUDY_GRIDS: Final = Contract(
    "study_grids",
    schema_of(STUDY_GRID_COLUMNS),
    {
        "all is there but the ATR": complete(*(name for name in STUDY_GRID_COLUMNS if name != "atr_4h_quote")),
        "one row a grid": pl.col("grid").n_unique() == pl.len(),
        "starts and ends on 15m": aligned("started_at", Timeframe.M15.ms) & aligned("ends_at", Timeframe.M15.ms),
        "ends after its start": (pl.col("ends_at") > pl.col("started_at")).all(),
        "stop below lower below price below upper": (
            (pl.col("stop_loss_quote") < pl.col("lower_quote"))
            & (pl.col("lower_quote") < pl.col("price_quote"))
            & (pl.col("price_quote") < pl.col("upper_quote"))
        ).all(),
        "names": one_of("ending", _ENDINGS) & one_of("spacing", ("arithmetic", "geometric")),
    },
)

STUDY_STATES: Final = Contract(
    "study_states",
    {name: kind for name, kind in EXIT.columns.items() if name not in _LIVE_ALONE},
    {
        **{name: rule for name, rule in EXIT.rules.items() if name not in _OTHERWISE},
        "evaluations of a grid ascend without twins": _ONE_GRID_AT_A_TIME,
        "state is there": complete("grid", "evaluated_at", "state", "reasons", "policy", "grid_version"),
    },
)

SIGNAL_OUTCOMES: Final = Contract(
    "signal_outcomes",
    schema_of(OUTCOME_COLUMNS),
    {
        "the episode is there": complete(
            *("market", "policy", "month", "grid", "episode", "state", "began_at", "ended_at", "ended_by", "pages")
        ),
        "one row an episode": pl.struct("grid", "episode").n_unique() == pl.len(),
        "episodes follow each other": (pl.col("began_at").to_physical().diff().over("grid") > 0).all(),
        "ends at its beginning or later": (pl.col("ended_at") >= pl.col("began_at")).all(),
        "a page lies in its episode": (
            (pl.col("first_page_at") >= pl.col("began_at")) & (pl.col("first_page_at") <= pl.col("ended_at"))
        ).all(),
        "counts": at_least(1, "episode", "evaluations") & at_least(0, "pages"),
        "losses and lengths not below 0": at_least(
            0, "duration_h", "worst_excursion_24h_quote", "worst_excursion_24h_pct", "stop_after_h"
        ),
        "probabilities in 0..1": between(0, 1, "p_stop_4h", "p_stop_24h", "confidence"),
        "names": one_of("state", STATES) & one_of("ended_by", ("change", *_ENDINGS)),
        "a deadline where an answer is asked for": (
            pl.col("deadline_at").is_not_null() | ~pl.col("state").is_in(["MANDATORY_EXIT", "LATEST_ACCEPTABLE_EXIT"])
        ).all(),
    },
)
