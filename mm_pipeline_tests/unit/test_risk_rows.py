"""Rows of modelled risk: what they say in cases that can be followed by hand, and when they say nothing."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from mm_pipeline.domain.candles import fill_gaps
from mm_pipeline.domain.columns import epoch_ms, times_of
from mm_pipeline.domain.grid import GridVersion
from mm_pipeline.domain.pipeline import evaluations
from mm_pipeline.domain.position import simulate_grid
from mm_pipeline.domain.risk import (
    RISK_LEVELS,
    RISK_SCHEMA,
    RiskHistory,
    capital_utilization,
    risk_level,
    risk_of_grids,
    risk_rows,
)
from mm_pipeline_tests.candle_samples import STEP_MS, T0_MS
from mm_pipeline_tests.markets import version_of
from mm_pipeline_tests.risk_samples import grid_in, known_ms, quick_policy, simulated_bars

FIGURES = [name for name in RISK_SCHEMA if name.startswith(("capital_at_risk", "giveback"))]
START = 40 * 96
approx = pytest.approx


def market(closes: np.ndarray) -> pl.DataFrame:
    """Bars that go straight from one close to the next."""
    opens = np.concatenate([closes[:1], closes[:-1]])
    return fill_gaps(
        pl.DataFrame(
            [
                times_of(T0_MS + STEP_MS * np.arange(len(closes)), "open_time"),
                pl.Series("open", opens),
                pl.Series("high", np.maximum(opens, closes)),
                pl.Series("low", np.minimum(opens, closes)),
                pl.Series("close", closes),
                pl.Series("volume", np.ones(len(closes))),
            ]
        ),
        quarantined_ms=None,
    )


def alternating(bars: int, ratio: float = 1.001) -> np.ndarray:
    """Closes that go up by this ratio and down again, from 100."""
    return 100.0 * np.where(np.arange(bars) % 2 == 0, 1.0, ratio)


def test_market_that_alternates_gives_back_what_its_two_moves_leave() -> None:
    """Drawn bars alternate too, so that every path is one of two, by its first move; half of them start upwards."""
    bars = market(alternating(20 * 96))
    grid = grid_in(bars, 19 * 96, lower=90.0, upper=110.0, levels=2, stop_loss=80.0, fee=0.0, capital=1000.0)
    policy = quick_policy(draw_every_bars=1)
    row = risk_rows(version_of(grid), RiskHistory.of(bars, policy), known_ms(bars), policy)
    # One interval, in cash: its level 90 is never reached.
    assert row["inventory_base"][0] == 0.0
    assert row.select(FIGURES).row(0) == approx((0.0,) * len(FIGURES), abs=1e-12)
    # The same a level higher: it holds 1000 / 100.2 base bought at the start.
    holding = grid_in(bars, 19 * 96, lower=100.2, upper=110.0, levels=2, stop_loss=80.0, fee=0.0, capital=1000.0)
    row = risk_rows(version_of(holding), RiskHistory.of(bars, policy), known_ms(bars), policy)
    held = 1000.0 / 100.2
    assert row["inventory_base"][0] == approx(held, rel=1e-12)
    up, down = 100.1, 100.1 / 1.001**2  # the price is 100.1 now: one bar up, or one down
    assert row["price"][0] == up
    assert row["giveback_p90_15m_quote"][0] == approx(held * (up - up / 1.001), rel=1e-6)
    assert row["giveback_p50_1h_quote"][0] == approx(0.0, abs=1e-9)
    assert row["giveback_p90_4h_quote"][0] == approx(0.0, abs=1e-9)
    assert row["capital_at_risk_15m_quote"][0] == approx(held * (up - up / 1.001), rel=1e-6)
    assert down < up / 1.001


def test_fee_of_selling_counts_in_capital_at_risk_and_not_in_giveback() -> None:
    bars = market(alternating(20 * 96))
    policy = quick_policy()
    history = RiskHistory.of(bars, policy)
    rows = [
        risk_rows(
            version_of(grid_in(bars, 19 * 96, lower=100.2, upper=110.0, levels=2, stop_loss=80.0, fee=fee)),
            history,
            known_ms(bars),
            policy,
        )
        for fee in (0.0, 0.01)
    ]
    free, dear = (row.row(0, named=True) for row in rows)
    # A fee leaves less to buy with: figures are of what is held.
    scale = dear["inventory_base"] / free["inventory_base"]
    assert scale == approx(1 / 1.01)
    assert dear["giveback_p90_15m_quote"] == approx(scale * free["giveback_p90_15m_quote"])
    sold = dear["inventory_base"] * dear["price"] - scale * free["capital_at_risk_15m_quote"]
    assert dear["capital_at_risk_15m_quote"] == approx(scale * free["capital_at_risk_15m_quote"] + 0.01 * sold)


def test_row_holds_the_position_of_the_simulated_grid() -> None:
    bars, policy = simulated_bars(), quick_policy()
    grid = grid_in(bars, START, width=0.4, levels=41)
    end = START + 300
    row = risk_rows(version_of(grid), RiskHistory.of(bars, policy), known_ms(bars, end - 1), policy).row(0, named=True)
    summary = simulate_grid(grid, bars.head(end)).summary
    assert summary.grid_profit != 0 < summary.inventory
    named = {
        "inventory_base": summary.inventory,
        "cash_quote": summary.cash,
        "equity_quote": summary.equity,
        "grid_profit_quote": summary.grid_profit,
        "unrealised_quote": summary.unrealised,
        "unmatched_fees_quote": summary.unmatched_fees,
        "residual_quote": summary.residual,
        "total_pnl_quote": summary.total_pnl,
    }
    assert {name: row[name] for name in named} == named
    assert row["worst_case_quote"] == approx(summary.worst_case, rel=1e-12)
    assert row["source"] == "modelled"
    assert (row["grid"], row["grid_version"]) == (grid.id, grid.version_hash)
    resting = simulate_grid(grid, bars.head(end)).trades.rung * grid.interval_capital_quote
    at_work = summary.inventory * row["price"] + resting
    assert row["capital_utilization"] == approx(at_work / grid.capital, rel=1e-12)
    assert row["risk_unknown"] is None


def test_disabled_grid_and_time_before_the_start_have_no_row() -> None:
    bars, policy = simulated_bars(), quick_policy()
    history = RiskHistory.of(bars, policy)
    grid = grid_in(bars, START)
    at = known_ms(bars, START + 50)
    assert len(risk_rows(version_of(grid), history, at, policy)) == 1
    assert risk_rows(version_of(grid.model_copy(update={"enabled": False})), history, at, policy).is_empty()
    assert risk_rows(version_of(grid), history, known_ms(bars, START - 2), policy).is_empty()
    assert dict(risk_rows((), history, at, policy).schema) == RISK_SCHEMA


def test_evaluation_uses_the_version_in_force() -> None:
    bars, policy = simulated_bars(), quick_policy()
    history = RiskHistory.of(bars, policy)
    grid = grid_in(bars, START)
    changed_at = bars["open_time"][START + 96]
    smaller = grid.model_copy(update={"capital": 10.0})
    versions = (GridVersion(grid, grid.started_at), GridVersion(smaller, changed_at))
    times = evaluations(grid.started_at_ms, grid.started_at_ms + 2 * 96 * STEP_MS)
    rows = risk_rows(versions, history, times, policy)
    assert rows["evaluated_at"].is_sorted()
    assert len(rows) == len(times)
    alone = [risk_rows(version_of(version), history, times, policy) for version in (grid, smaller)]
    is_first = pl.col("evaluated_at") < changed_at
    assert rows.filter(is_first).equals(alone[0].filter(is_first))
    assert rows.filter(~is_first).equals(alone[1].filter(~is_first))


def test_stopped_grid_risks_nothing_more() -> None:
    bars, policy = simulated_bars(), quick_policy()
    price = float(bars["close"][START - 1])
    low = float(bars["low"].slice(START, 96).min())  # type: ignore[arg-type]
    grid = grid_in(bars, START, lower=(low + price) / 2, upper=price * 1.2, stop_loss=low)
    row = risk_rows(version_of(grid), RiskHistory.of(bars, policy), known_ms(bars, START + 96), policy)
    assert row.select("inventory_base", "worst_case_quote", "capital_utilization", *FIGURES).row(0) == (0.0,) * (
        3 + len(FIGURES)
    )
    assert row["risk_unknown"][0] is None


def test_model_says_from_the_bar_of_its_stop_on_that_it_is_stopped_out() -> None:
    bars, policy = simulated_bars(), quick_policy()
    price = float(bars["close"][START - 1])
    low = float(bars["low"].slice(START, 96).min())  # type: ignore[arg-type]
    grid = grid_in(bars, START, lower=(low + price) / 2, upper=price * 1.2, stop_loss=low)
    rows = risk_rows(
        version_of(grid),
        RiskHistory.of(bars, policy),
        np.unique(epoch_ms(bars["known_at"])[START : START + 96]),
        policy,
    )
    touched = (bars["low"].slice(START, 96) <= low).arg_max()
    assert touched is not None
    stopped = rows["is_stopped_out"].to_list()
    at = rows["evaluated_at"].to_list().index(bars["known_at"][START + touched])
    assert True not in stopped[:at]
    assert set(stopped[at:]) == {True}


def test_raising_the_stop_past_an_old_low_sells_nothing_in_the_model() -> None:
    bars, policy = simulated_bars(), quick_policy()
    price = float(bars["close"][START - 1])
    lows = bars["low"].slice(START, 96)
    deepest = int(lows.arg_min())  # type: ignore[arg-type]
    low = float(lows[deepest])
    later = bars["low"].slice(START + deepest + 1, 20)
    raised = min(low * 1.0001, float(later.min()) * 0.9999)  # type: ignore[arg-type]
    assert raised > low, "the market must have recovered for this test"
    grid = grid_in(bars, START, lower=(low + price) / 2, upper=price * 1.2, stop_loss=low * 0.99)
    edited = grid.model_copy(update={"stop_loss": raised})
    at = bars["open_time"][START + deepest + 1]
    versions = (GridVersion(grid, grid.started_at), GridVersion(edited, at))
    row = risk_rows(versions, RiskHistory.of(bars, policy), known_ms(bars, START + deepest + 10), policy)
    assert row["is_stopped_out"].to_list() == [False]
    assert row["inventory_base"][0] > 0
    alone = risk_rows(version_of(edited), RiskHistory.of(bars, policy), known_ms(bars, START + deepest + 10), policy)
    assert alone["is_stopped_out"].to_list() == [True]


def reason(bars: pl.DataFrame, row: int) -> tuple[str | None, bool]:
    """Why the risk at a row is not known, and whether any figure is there."""
    policy = quick_policy()
    versions = version_of(grid_in(simulated_bars(), START, width=0.4))
    found = risk_rows(versions, RiskHistory.of(bars, policy), known_ms(bars, row), policy)
    assert len(found) == 1
    return found["risk_unknown"][0], any(value is not None for value in found.select(FIGURES).row(0))


def test_risk_is_unknown_and_says_why() -> None:
    bars = simulated_bars()
    end = START + 60
    assert reason(bars, end) == (None, True)
    late = bars.slice(START + 10)
    assert reason(late, 40) == ("candles do not reach back to the grid's started_at", False)
    short = bars.slice(START - 96 * 5)
    assert reason(short, 96 * 5 + 60) == ("too few days of candles", False)
    quarantined = bars.filter(pl.int_range(pl.len()) != end - 20)
    assert reason(quarantined, end - 1) == ("a candle is missing in the 24 h before the newest bar", False)
    # An evaluation at the start, before any bar has closed.
    policy = quick_policy()
    grid = grid_in(bars, START)
    row = risk_rows(version_of(grid), RiskHistory.of(bars, policy), np.array([grid.started_at_ms]), policy)
    assert row["risk_unknown"][0] == "no bar has closed since the grid started"
    assert row["equity_quote"][0] is None


def test_market_that_stands_still_has_no_risk_that_can_be_told() -> None:
    closes = np.concatenate([alternating(12 * 96), np.full(31 * 96, 100.0)])
    bars, policy = market(closes), quick_policy()
    grid = grid_in(bars, 12 * 96 + 20)
    row = risk_rows(version_of(grid), RiskHistory.of(bars, policy), known_ms(bars), policy)
    assert row["risk_unknown"][0] == "the price did not move in the last 30 days"
    assert row["worst_case_quote"][0] > 0
    assert row.select(FIGURES).row(0) == (None,) * len(FIGURES)


def test_volatility_now_scales_what_is_expected() -> None:
    """The same past with the last day twice as wild: givebacks grow as the forecast does."""
    calm = np.exp(np.random.default_rng(3).normal(0, 0.001, 20 * 96).cumsum())
    steps = np.diff(np.log(calm), prepend=0.0)
    steps[-96:] *= 2
    policy = quick_policy(draw_every_bars=1)
    found, forecast = [], []
    for closes in (calm, np.exp(steps.cumsum())):
        bars = market(100 * closes / closes[-1])
        grid = grid_in(bars, 20 * 96 - 1, lower=200.0, upper=300.0, stop_loss=1.0, levels=2)
        history = RiskHistory.of(bars, policy)
        forecast.append(history.forecast[-1])
        found.append(risk_rows(version_of(grid), history, known_ms(bars), policy)["giveback_p90_15m_quote"][0])
    assert forecast[1] / forecast[0] > 1.5
    assert found[1] / found[0] == approx(forecast[1] / forecast[0], rel=0.06)


def test_name_of_a_grid_changes_no_figure_and_neither_do_its_neighbours() -> None:
    bars, policy = simulated_bars(), quick_policy()
    history = RiskHistory.of(bars, policy)
    at = known_ms(bars, START + 200)
    rows = [risk_rows(version_of(grid_in(bars, START, id=name)), history, at, policy) for name in ("a", "b")]
    assert rows[0].select(FIGURES).equals(rows[1].select(FIGURES))


def test_stop_is_as_likely_as_the_windows_that_went_so_deep() -> None:
    """A market that alternates by 0.1 %: half of its windows go that deep, and none goes deeper."""
    bars, policy = market(alternating(20 * 96)), quick_policy(draw_every_bars=1)
    price = float(bars["close"][-1])
    found = {}
    for name, stop in {"touched": price / 1.0009, "beyond": price / 1.0011, "above": price * 1.01}.items():
        grid = grid_in(bars, 20 * 96 - 1, lower=105.0, upper=110.0, levels=2, stop_loss=stop)
        row = risk_rows(version_of(grid), RiskHistory.of(bars, policy), known_ms(bars), policy)
        found[name] = (row["p_stop_4h"][0], row["p_stop_24h"][0])
    assert found["touched"] == approx((0.5, 0.5), abs=0.01)
    assert found["beyond"] == (0.0, 0.0)
    assert found["above"] == (1.0, 1.0)


def test_grid_without_a_stop_has_no_probability_of_it() -> None:
    bars, policy = simulated_bars(), quick_policy()
    grid = grid_in(bars, START).model_copy(update={"stop_loss": None})
    row = risk_rows(version_of(grid), RiskHistory.of(bars, policy), known_ms(bars, START + 50), policy)
    assert row.select("p_stop_4h", "p_stop_24h").row(0) == (None, None)
    assert row["risk_unknown"][0] is None


def test_many_grids_are_the_rows_of_each() -> None:
    bars, policy = simulated_bars(), quick_policy()
    history = RiskHistory.of(bars, policy)
    grids = [version_of(grid_in(bars, START, width=width, id=f"w{k}")) for k, width in enumerate((0.02, 0.05, 0.1))]
    at = known_ms(bars, START + 200)
    together = risk_of_grids([(versions, history) for versions in grids], at, policy)
    assert together["grid"].to_list() == ["w0", "w1", "w2"]
    assert together.equals(pl.concat(risk_rows(versions, history, at, policy) for versions in grids))


@pytest.mark.parametrize(
    ("state", "stop_risk", "level"),
    [
        ("MANDATORY_EXIT", "SAFE", "HIGH"),
        ("LATEST_ACCEPTABLE_EXIT", "SAFE", "HIGH"),
        ("NORMAL", "BREACHED", "HIGH"),
        ("WARNING", "CRITICAL", "HIGH"),
        ("MANDATORY_EXIT", None, "HIGH"),
        ("WARNING", "SAFE", "MEDIUM"),
        ("NORMAL", "HIGH", "MEDIUM"),
        ("NORMAL", "MEDIUM", "LOW"),
        ("NORMAL", "SAFE", "LOW"),
        ("NORMAL", None, "UNKNOWN"),
        ("WARNING", None, "UNKNOWN"),
        ("UNKNOWN", "BREACHED", "UNKNOWN"),
        ("UNKNOWN", "SAFE", "UNKNOWN"),
        (None, "SAFE", "UNKNOWN"),
    ],
)
def test_risk_level_is_the_highest_that_state_and_stop_say(
    state: str | None, stop_risk: str | None, level: str
) -> None:
    found = risk_level(pl.Series([state], dtype=pl.String), pl.Series([stop_risk], dtype=pl.String))
    assert found.to_list() == [level]
    assert level in RISK_LEVELS


def test_capital_utilization_counts_inventory_and_resting_buys() -> None:
    found = capital_utilization(
        inventory_quote=np.array([300.0, 0.0]), locked_quote=np.array([200.0, 0.0]), capital_quote=1000.0
    )
    assert found.tolist() == [0.5, 0.0]
    nothing = capital_utilization(inventory_quote=np.array([0.0]), locked_quote=np.array([0.0]), capital_quote=0.0)
    assert np.isnan(nothing).all()


def test_grid_without_start_in_the_bars_before_it_is_simulated_from_its_own_start() -> None:
    """Bars before the start are drawn from and not traded."""
    bars, policy = simulated_bars(), quick_policy()
    history = RiskHistory.of(bars, policy)
    earlier = bars["open_time"][START] - timedelta(minutes=7)
    grid = grid_in(bars, START).model_copy(update={"started_at": earlier})
    row = risk_rows(version_of(grid), history, known_ms(bars, START), policy)
    assert row["equity_quote"][0] == simulate_grid(grid, bars.slice(START, 1)).summary.equity
    assert epoch_ms(bars["open_time"])[START] >= grid.started_at_ms
