"""Study grids against the plain reference, and that nothing at an episode's beginning looks ahead."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_pipeline.domain.candles import fill_gaps
from mm_pipeline.domain.grid import Grid, GridVersion
from mm_pipeline.domain.instants import to_ms
from mm_pipeline.domain.notifications import judged_in, replay
from mm_pipeline.domain.pipeline import evaluate
from mm_pipeline.domain.risk import RiskHistory
from mm_pipeline.domain.study import PlacedGrid, StudiedGrid, place_grids, signal_outcomes, spans_of
from mm_pipeline.domain.study.columns import FORECASTS
from mm_pipeline_tests.grid_samples import bars_of, hundreds_grid
from mm_pipeline_tests.markets import settings_of, simulated_candles
from mm_pipeline_tests.reference.simulation import Bar
from mm_pipeline_tests.reference.study import PlainGrid, is_close, outcomes
from mm_pipeline_tests.study_samples import held_to_its_end, market_of, states_of, study_of

prices = st.integers(4 * 86, 4 * 136).map(lambda quarters: quarters / 4)
names = st.sampled_from(["NORMAL", "WARNING", "MANDATORY_EXIT", "UNKNOWN"])
untimed = settings(deadline=None, max_examples=60)  # the first example compiles the loops


@st.composite
def bars_and_states(draw: st.DrawFn) -> tuple[list[Bar], list[str]]:
    corners = draw(st.lists(st.tuples(prices, prices, prices, prices, names), min_size=1, max_size=30))
    return [(o, max(o, a, b, c), min(o, a, b, c), c) for o, a, b, c, _ in corners], [name for *_, name in corners]


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    return hundreds_grid(
        levels=draw(st.integers(2, 9)),
        fee=draw(st.sampled_from([0.0, 0.001, 0.05])),
        stop_loss=draw(st.sampled_from([10.0, 90.0, 99.75])),
    )


@untimed
@given(grids(), bars_and_states())
def test_outcomes_are_those_of_the_plain_reference(grid: Grid, drawn: tuple[list[Bar], list[str]]) -> None:
    rows, named = drawn
    bars, risk = bars_of(rows), settings_of().risk
    placed = held_to_its_end(grid, bars)
    states = states_of(placed, bars, named).filter(pl.col("evaluated_at") <= placed.ends_at)
    made = signal_outcomes(
        StudiedGrid(placed, states, []), market_of(bars), RiskHistory.of(bars, risk), risk, {}, month="2025-01"
    )
    plain = PlainGrid(grid.level_prices().tolist(), grid.stop_price, grid.capital, grid.fee)
    expected = outcomes(plain, rows, states["state"].to_list())
    assert made.height == len(expected)
    for wanted, found in zip(expected, made.rows(named=True), strict=True):
        assert {name: value for name, value in wanted.items() if not is_close(value, found[name])} == {}


@untimed
@given(grids(), bars_and_states())
def test_episodes_hold_every_evaluation_once(grid: Grid, drawn: tuple[list[Bar], list[str]]) -> None:
    rows, named = drawn
    bars, risk = bars_of(rows), settings_of().risk
    placed = held_to_its_end(grid, bars)
    states = states_of(placed, bars, named)
    made = signal_outcomes(
        StudiedGrid(placed, states, []), market_of(bars), RiskHistory.of(bars, risk), risk, {}, month="2025-01"
    )
    assert made["evaluations"].sum() == len(rows)
    assert (made["state"] != made["state"].shift(1)).fill_null(True).all()
    assert made["ended_at"].to_list()[:-1] == made["began_at"].to_list()[1:]


@pytest.fixture(scope="module")
def candles() -> pl.DataFrame:
    return simulated_candles(days=91)


AT_THE_BEGINNING = [
    *("grid", "grid_version", "episode", "state", "state_before", "began_at", "triggers", "price_quote"),
    *("position_health", "stop_loss_risk", "distance_to_stop_atr", "verdict", "confidence", "inventory_base"),
    *(*FORECASTS, "risk_unknown", "leave_pnl_quote", "stop_pnl_quote", "deadline_at", "is_outside"),
]


def studied(candles: pl.DataFrame) -> pl.DataFrame:
    """Outcomes of a March of two policies' worth of signals, from these candles alone."""
    settings_ = settings_of("seed")
    market = market_of(fill_gaps(candles, quarantined_ms=None))
    study = study_of(template={"half_width": {"atr_4h": 4.0}})
    (span,) = spans_of(market.bars["open_time"][0] + timedelta(days=61), study.placed)
    (placed,) = place_grids(study, market, span)
    assert isinstance(placed, PlacedGrid)
    states = evaluate(
        [GridVersion(placed.grid, placed.grid.started_at)],
        market.view,
        settings_.advice,
        first_ms=placed.grid.started_at_ms + 1,
        last_ms=to_ms(placed.ends_at),
    ).exit_states
    judged = judged_in(states, {placed.grid.version_hash: placed.grid}, settings_.notify, kind="exit")
    history = RiskHistory.of(market.bars, settings_.risk)
    within = {"WARNING": timedelta(hours=4)}
    found = StudiedGrid(placed, states, replay(judged, [], settings_.notify))
    return signal_outcomes(found, market, history, settings_.risk, within, month="2024-03")


def test_beginning_of_an_episode_is_the_same_without_later_candles(candles: pl.DataFrame) -> None:
    whole = studied(candles)
    assert whole.height > 8
    assert whole["p_stop_24h"].is_not_null().any()
    chosen = np.linspace(0, whole.height - 1, 5).astype(int).tolist()
    for row in chosen:
        began_at = whole["began_at"][row]
        cut = studied(candles.filter(pl.col("open_time") < began_at))
        assert cut["began_at"][-1] == began_at
        assert cut.select(AT_THE_BEGINNING).equals(whole.select(AT_THE_BEGINNING).head(row + 1))
