"""``mm study giveback``: its scores against plain counting, the grids it holds, and the command on a small market."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from mm_pipeline.application.studies.giveback import Forecasts, forecast, unscaled
from mm_pipeline.application.studies.giveback_coverage import MIN_WINDOW_EVALUATIONS, pinball, scores
from mm_pipeline.application.studies.held_grids import GridShape, HeldGrid, held_grids
from mm_pipeline.cli import main
from mm_pipeline.domain.grid import Spacing
from mm_pipeline.domain.market import Market
from mm_pipeline.domain.position import simulate_grid
from mm_pipeline.domain.risk import StandardisedBars, position_risk
from mm_pipeline.rendering.markdown.giveback import giveback_markdown
from mm_pipeline_tests.markets import simulated_candles
from mm_pipeline_tests.risk_samples import quick_policy, simulated_bars

DAY_MS, STEP_MS = 86_400_000, 900_000
WINDOW_MS = 30 * DAY_MS
MARKET = Market("binance", "ETH/USDT")
SHAPE = GridShape(width=0.04, levels=6, spacing=Spacing.ARITHMETIC, stop_distance=0.013, fee=0.001)
approx = pytest.approx


def forecasts(lost: np.ndarray, said: np.ndarray, *, start_ms: int = 0) -> Forecasts:
    """One evaluation each 15 minutes; the same at every horizon, and by every method but the normal, who says twice."""
    quantiles = np.repeat(np.column_stack([np.zeros_like(said), said])[:, None, :], 3, axis=1)
    return Forecasts(
        start_ms + STEP_MS * np.arange(len(lost)),
        np.repeat(lost[:, None], 3, axis=1),
        {"model": quantiles, "normal": 2 * quantiles, "unconditional": quantiles},
    )


def test_coverage_counts_no_more_lost_than_said_and_ties() -> None:
    lost = np.tile([0.5, 1.0, 1.5, 2.5], MIN_WINDOW_EVALUATIONS)
    found = {(score.method, score.horizon): score for score in scores({"a": [forecasts(lost, np.ones(len(lost)))]})}
    model, normal = found["model", "1h"], found["normal", "1h"]
    assert (model.coverage.value, model.tied, model.evaluations) == (0.5, 0.25, len(lost))
    assert (normal.coverage.value, normal.tied) == (0.75, 0.0)
    # 0.9 of what was missed above, 0.1 of what was said too much below.
    assert model.pinball_pct.value == approx((0.1 * 0.5 + 0.0 + 0.9 * 0.5 + 0.9 * 1.5) / 4)
    assert normal.pinball_pct.value == approx((0.1 * 1.5 + 0.1 * 1.0 + 0.1 * 0.5 + 0.9 * 0.5) / 4)
    assert model.pinball_to_normal.value == approx(model.pinball_pct.value / normal.pinball_pct.value)
    assert not model.meets_pooled
    assert not model.beats_normal


def test_windows_are_of_each_series_and_short_ones_do_not_count() -> None:
    inside = np.where(np.arange(2880) % 10 == 0, 2.0, 0.0)  # covered by 1 in nine of ten
    outside = np.where(np.arange(2880) % 5 == 0, 2.0, 0.0)
    few = inside[: MIN_WINDOW_EVALUATIONS - 1]
    found = scores(
        {
            "a": [forecasts(np.concatenate([inside, outside, few]), np.ones(5760 + len(few)))],
            "b": [forecasts(lost, np.ones(2880), start_ms=WINDOW_MS) for lost in (inside, outside)],
        }
    )
    model = next(score for score in found if score.method == "model")
    assert [(window.series, window.start_ms, window.evaluations, window.coverage) for window in model.windows] == [
        ("a", 0, 2880, 0.9),
        ("a", WINDOW_MS, 2880, 0.8),
        ("b", WINDOW_MS, 5760, 0.85),
    ]
    assert model.windows_inside.value == approx(2 / 3)
    # Two windows at one time tell no more than one: Wilson's interval of 2 in 3 from two.
    assert model.windows_inside.low < 0.2


def test_interval_is_wider_when_whole_weeks_go_one_way() -> None:
    week = 7 * 96
    apart = np.repeat(np.tile([0.0, 2.0], 20), week)
    mixed = np.tile([0.0, 2.0], 20 * week)
    found = [scores({"a": [forecasts(lost, np.ones(len(lost)))]})[0].coverage for lost in (apart, mixed)]
    assert found[0].value == found[1].value == 0.5
    assert found[0].high - found[0].low > 0.2
    assert found[1].high - found[1].low < 0.01


def test_pinball_is_least_at_the_quantile() -> None:
    lost = np.random.default_rng(1).normal(size=20_001)
    best = np.quantile(lost, 0.9)
    losses = [pinball(lost, np.full(len(lost), said), 0.9).mean() for said in (best - 0.2, best, best + 0.2)]
    assert losses[1] < min(losses[0], losses[2])


def held(policy_history: StandardisedBars) -> list[HeldGrid]:
    return list(held_grids(policy_history, MARKET, SHAPE, first_row=10 * 96, longest_bars=5 * 96, min_inventory=0.1))


def test_grids_are_held_one_after_the_other_until_stopped_sold_out_or_too_old() -> None:
    bars, policy = simulated_bars(), quick_policy()
    history = StandardisedBars.of(bars, policy)
    ended = {"stopped": 0, "sold out": 0, "old": 0}
    ms, close = history.bars.opened_ms, history.bars.floats("close")
    grids = held(history)
    assert grids[0].grid.started_at_ms == ms[10 * 96]
    for one, after in pairwise(grids):
        first, following = (int(np.searchsorted(ms, g.grid.started_at_ms)) for g in (one, after))
        simulation = simulate_grid(one.grid, bars.slice(first, following - first))
        is_stopped = simulation.trades.stopped_bar >= 0
        is_sold_out = not is_stopped and simulation.trades.rung == one.grid.interval_count
        assert is_stopped or is_sold_out or following - first == 5 * 96
        assert is_stopped <= (simulation.trades.stopped_bar == following - first - 1)
        ended["stopped" if is_stopped else "sold out" if is_sold_out else "old"] += 1
        assert ((one.row >= first) & (one.row < following)).all()
        assert (one.positions.inventory_base * close[one.row] >= 0.1 * one.grid.capital).all()
        assert (after.grid.lower + after.grid.upper) / 2 == approx(close[following - 1])
    assert min(ended.values()) >= 1, ended


def test_giveback_that_came_true_is_that_of_the_grid_held_on() -> None:
    bars, policy = simulated_bars(), quick_policy()
    history = StandardisedBars.of(bars, policy)
    random = np.random.default_rng(4)
    for one in random.choice(np.array(held(history), dtype=object), 5, replace=False):
        first = int(np.searchsorted(history.bars.opened_ms, one.grid.started_at_ms))
        equity = simulate_grid(one.grid, bars.slice(first)).equity["equity_quote"].to_numpy()
        for place in random.choice(len(one.row), min(5, len(one.row)), replace=False):
            now = int(one.row[place]) - first
            wanted = [equity[now] - equity[now + bars_later] for bars_later in (1, 4, 16)]
            np.testing.assert_allclose(one.lost[place], wanted, rtol=1e-9, atol=1e-9)


def test_forecast_is_the_models_and_the_normal_knows_inventory_and_volatility() -> None:
    policy = quick_policy()
    history = StandardisedBars.of(simulated_bars(), policy)
    one = held(history)[1]
    found = forecast(one, history, unscaled(history), policy)
    close_ms = history.bars.opened_ms[one.row] + STEP_MS
    window = history.windows(close_ms, policy)
    exposed_pct = 100 * one.positions.inventory_base * window.price / one.grid.capital
    wanted = exposed_pct * window.volatility * np.sqrt(4) * 1.2815515655446004
    np.testing.assert_allclose(found.said_pct["normal"][:, 1, 1], wanted)
    from mm_pipeline.domain.risk import path_seeds

    model = position_risk(one.positions, history, window, path_seeds(one.grid.id, close_ms), policy)
    np.testing.assert_allclose(found.said_pct["model"] * one.grid.capital / 100, model.giveback, rtol=1e-12)
    # Without rescaling the same past says the same, whatever the present volatility.
    assert np.corrcoef(found.said_pct["unconditional"][:, 0, 1] / exposed_pct, window.volatility)[0, 1] < 0.5


@pytest.fixture(scope="module")
def market_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("candles") / "kucoin_ETH-USDT_15m.parquet"
    simulated_candles(days=60).write_parquet(path)
    return path


@pytest.fixture
def settings_file(tmp_path: Path) -> Path:
    path = tmp_path / "settings.yaml"
    path.write_text("risk:\n  history_days: 20\n  min_history_days: 7\n  paths: 100\n")
    return path


def test_command_tells_the_same_in_all_its_forms(market_file: Path, settings_file: Path, tmp_path: Path) -> None:
    arguments = ["study", "giveback", "--candles", str(market_file), "--settings", str(settings_file)]
    picture = tmp_path / "g.png"
    printed = CliRunner().invoke(main, [*arguments, "--out", str(picture)], env={"COLUMNS": "200"})
    assert printed.exit_code == 0, printed.output
    data = json.loads(CliRunner().invoke(main, [*arguments, "--json"]).stdout)
    markdown = CliRunner().invoke(main, [*arguments, "--markdown"]).stdout
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size < 150_000
    assert data["policy"]["paths"] == 100
    by_name = {(score["method"], score["horizon"]): score for score in data["scores"]}
    assert len(by_name) == 9
    assert f"{by_name['model', '4h']['evaluations']:,} evaluations" in printed.stdout
    for (method, horizon), score in by_name.items():
        [row] = [line for line in markdown.splitlines() if line.startswith(f"| {horizon} | {method} |")]
        said = row.split(" | ")[2]
        assert float(said.partition(" %")[0]) == approx(100 * score["coverage"]["value"], abs=0.06)
        assert said in printed.stdout
        assert score["coverage"]["low"] <= score["coverage"]["value"] <= score["coverage"]["high"]
    met = "met" if by_name["model", "15m"]["meets_pooled"] else "MISSED"
    assert f"15m: pooled coverage {met}" in printed.stdout
    # A simulated market's hours differ, but its returns are not all of one size: the model is not far off.
    assert 0.85 < by_name["model", "15m"]["coverage"]["value"] < 0.95


def test_file_that_is_too_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "kucoin_ETH-USDT_15m.parquet"
    simulated_candles(days=60).head(96 * 20).write_parquet(path)
    result = CliRunner().invoke(main, ["study", "giveback", "--candles", str(path)])
    assert result.exit_code == 2
    assert "too short to study" in result.stderr


def test_markdown_has_a_row_for_each_horizon_and_method() -> None:
    lost = np.tile([0.0, 2.0], 2880)
    rows = giveback_markdown(scores({"a": [forecasts(lost, np.ones(len(lost)))]})).splitlines()
    assert len(rows) == 2 + 9
    assert len({row.count(" | ") for row in rows}) == 1
