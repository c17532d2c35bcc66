"""What frames of studies promise: a good frame passes, and each way to break one is named."""

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from mm_pipeline.application.study_grids.study import answer_within
from mm_pipeline.contracts.contract import Contract
from mm_pipeline.contracts.study import SIGNAL_OUTCOMES, STUDY_GRIDS, STUDY_STATES
from mm_pipeline.domain.columns import TIME
from mm_pipeline.domain.errors import ContractError
from mm_pipeline.domain.notifications import Notice
from mm_pipeline.domain.risk import RiskHistory
from mm_pipeline.domain.study import StudiedGrid, rows_of_grids, signal_outcomes
from mm_pipeline.settings import load_settings
from mm_pipeline_tests.grid_samples import bars_of, hundreds_grid
from mm_pipeline_tests.markets import settings_of
from mm_pipeline_tests.study_samples import held_to_its_end, market_of, states_of
from mm_pipeline_tests.unit.test_study_outcomes import ROWS, page

STATES = ["NORMAL", "NORMAL", "NORMAL", "MANDATORY_EXIT"]


def frames() -> dict[str, pl.DataFrame]:
    """Good frames of a grid that is stopped."""
    bars, settings = bars_of(ROWS), settings_of()
    market, placed = market_of(bars), held_to_its_end(hundreds_grid(), bars)
    states = states_of(placed, bars, STATES)
    studied = StudiedGrid(placed, states, [page(3, Notice.MANDATORY_EXIT)])
    within = answer_within(load_settings().notify)
    history = RiskHistory.of(bars, settings.risk)
    outcomes = signal_outcomes(studied, market, history, settings.risk, within, month="2025-01")
    return {
        "study_grids": rows_of_grids([placed], market).with_columns(atr_4h_quote=None),
        "study_states": states.with_columns(risk_level=pl.lit("LOW"), lower=pl.lit(100.0)),
        "signal_outcomes": outcomes,
    }


CONTRACTS = {contract.name: contract for contract in (STUDY_GRIDS, STUDY_STATES, SIGNAL_OUTCOMES)}
Break = Callable[[pl.DataFrame], pl.DataFrame]


def changed(**columns: Any) -> Break:
    """The frame with other columns; a name is that of the column to be taken in its place."""
    return lambda frame: frame.with_columns(**columns)


def twice(frame: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([frame, frame])


NOTHING, LATER = pl.lit(None), pl.col("ended_at").max() + pl.duration(hours=1)
BREAKS: list[tuple[str, str, Break]] = [
    ("study_grids", "one row a grid", twice),
    ("study_grids", "ends after its start", changed(ends_at="started_at")),
    ("study_grids", "stop below lower", changed(stop_loss_quote="upper_quote")),
    ("study_grids", "names", changed(ending=pl.lit("gone"))),
    ("study_grids", "all is there but the ATR", changed(pnl_quote=NOTHING.cast(pl.Float64))),
    ("study_states", "ascend without twins", twice),
    ("study_states", "ascend without twins", pl.DataFrame.reverse),
    ("study_states", "UNKNOWN says why", changed(state=pl.lit("UNKNOWN"))),
    ("study_states", "need no trigger", changed(state=pl.lit("WARNING"))),
    ("study_states", "price above 0", changed(price=-pl.col("price"))),
    ("study_states", "a known state has a price", changed(lower=NOTHING.cast(pl.Float64))),
    ("signal_outcomes", "one row an episode", twice),
    ("signal_outcomes", "ends at its beginning", changed(ended_at=pl.col("began_at").min())),
    ("signal_outcomes", "a page lies in its episode", changed(first_page_at=LATER)),
    ("signal_outcomes", "counts", changed(pages=pl.lit(-1, pl.Int64))),
    ("signal_outcomes", "probabilities", changed(p_stop_24h=pl.lit(1.5))),
    ("signal_outcomes", "losses and lengths", changed(stop_after_h=pl.lit(-0.25))),
    ("signal_outcomes", "a deadline", changed(deadline_at=NOTHING.cast(TIME))),
    ("signal_outcomes", "no NaN", changed(leave_pnl_quote=pl.lit(float("nan")))),
    ("signal_outcomes", "leave_pnl_quote is missing", lambda frame: frame.drop("leave_pnl_quote")),
]


@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=list(CONTRACTS))
def test_good_frame_and_empty_frame_pass(contract: Contract) -> None:
    frame = frames()[contract.name].select(list(contract.columns)).cast(dict(contract.columns))
    assert frame.height
    contract.check(frame)
    contract.check(contract.empty())


@pytest.mark.parametrize(("name", "told", "breaks"), BREAKS, ids=[f"{name}: {told}" for name, told, _ in BREAKS])
def test_broken_frame_is_refused_by_its_rule(name: str, told: str, breaks: Break) -> None:
    contract = CONTRACTS[name]
    frame = frames()[name].select(list(contract.columns)).cast(dict(contract.columns))
    with pytest.raises(ContractError, match=told):
        contract.check(breaks(frame))
