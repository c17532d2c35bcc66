"""``mm study giveback``: its scores against plain counting, the grids it holds, and the command on a small market."""

import json
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from mm_pipeline.application.studies.giveback import Forecasts, forecast
from mm_pipeline.application.studies.giveback_coverage import POOLED, pinball, scores
from mm_pipeline.application.studies.held_grids import GridShape, HeldGrid, held_grids
from mm_pipeline.cli import main
from mm_pipeline.domain.grid import Spacing
from mm_pipeline.domain.market import Market
from mm_pipeline.domain.position import simulate_grid
from mm_pipeline.domain.risk import GIVEBACK_PROBABILITIES, HORIZON_BARS, HORIZONS, RiskHistory, position_risk
from mm_pipeline.settings import load_settings
from mm_pipeline_tests.markets import simulated_candles
from mm_pipeline_tests.risk_samples import quick_policy, simulated_bars

DAY_MS, STEP_MS = 86_400_000, 900_000
WINDOW_MS = 30 * DAY_MS
MARKET = Market("binance", "ETH/USDT")
SHAPE = GridShape(width=0.04, levels=6, spacing=Spacing.ARITHMETIC, stop_distance=0.013, fee=0.001)
approx = pytest.approx


def forecasts(lost: np.ndarray, said: np.ndarray, place: np.ndarray, *, start_ms: int = 0) -> Forecasts:
    """One evaluation each 15 minutes; the same at every horizon, and by the normal, who says twice."""
    lost, said, place = (np.repeat(values[:, None], len(HORIZONS), axis=1) for values in (lost, said, place))
    return Forecasts(start_ms + STEP_MS * np.arange(len(lost)), lost, place, said, 2 * said)


def test_coverage_counts_places_and_pinball_what_was_missed() -> None:
    lost = np.tile([0.5, 1.0, 1.5, 2.5], 720)
    place = np.tile([0.4, 0.75, 0.92, 0.999], 720)
    found = {(score.name, score.horizon): score for score in scores({"a": [forecasts(lost, np.ones(2880), place)]})}
    score = found["a", "1h"]
    covered = {name: share.value for name, share in score.coverage.items()}
    assert covered == {"p50": 0.25, "p75": 0.5, "p90": 0.5, "p95": 0.75, "p99": 0.75}
    assert score.evaluations == 2880
    # 0.9 of what was missed above, 0.1 of what was said too much below.
    loss = (0.1 * 0.5 + 0.0 + 0.9 * 0.5 + 0.9 * 1.5) / 4
    assert score.pinball_pct == approx(loss)
    assert score.pinball_to_normal.value == approx(loss / ((0.1 * 1.5 + 0.1 * 1.0 + 0.1 * 0.5 + 0.9 * 0.5) / 4))
    assert found[POOLED, "1h"].coverage == score.coverage


def test_windows_are_of_each_market_and_short_ones_do_not_count() -> None:
    inside = np.where(np.arange(2880) % 10 == 0, 0.95, 0.5)  # covered by p90 in nine of ten
    outside = np.where(np.arange(2880) % 4 == 0, 0.95, 0.5)

    def of(place: np.ndarray, **changes: int) -> Forecasts:
        return forecasts(np.zeros(len(place)), np.ones(len(place)), place, **changes)

    found = scores(
        {
            "a": [of(np.concatenate([inside, outside, inside[:719]]))],
            "b": [of(place, start_ms=WINDOW_MS) for place in (inside, outside)],
        }
    )
    pooled = next(score for score in found if score.name == POOLED)
    assert [(window.market, window.start_ms, window.evaluations, window.coverage) for window in pooled.windows] == [
        ("a", 0, 2880, 0.9),
        ("a", WINDOW_MS, 2880, 0.75),
        ("b", WINDOW_MS, 5760, 0.825),
    ]
    assert pooled.windows_in_band == approx(1 / 3)
    thinned = scores({"a": [of(inside[:719])]}, every=4)
    assert [window.evaluations for window in thinned[0].windows] == [719]


def test_interval_is_wider_when_whole_weeks_go_one_way() -> None:
    week = 7 * 96
    apart = np.repeat(np.tile([0.1, 0.99], 20), week)
    mixed = np.tile([0.1, 0.99], 20 * week)
    monday = 4 * DAY_MS
    found = [
        scores({"a": [forecasts(place, place, place, start_ms=monday)]})[0].coverage["p90"] for place in (apart, mixed)
    ]
    assert found[0].value == found[1].value == 0.5
    assert found[0].high - found[0].low > 0.2
    assert found[1].high - found[1].low < 0.01


def test_pinball_is_least_at_the_quantile() -> None:
    lost = np.random.default_rng(1).normal(size=20_001)
    best = np.quantile(lost, 0.9)
    losses = [pinball(lost, np.full(len(lost), said), 0.9).mean() for said in (best - 0.2, best, best + 0.2)]
    assert losses[1] < min(losses[0], losses[2])


def held(policy_history: RiskHistory) -> list[HeldGrid]:
    return list(held_grids(policy_history, MARKET, SHAPE, first_row=10 * 96, longest_bars=5 * 96, min_inventory=0.1))


def test_grids_are_held_one_after_the_other_until_stopped_sold_out_or_too_old() -> None:
    bars, policy = simulated_bars(), quick_policy()
    history = RiskHistory.of(bars, policy)
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
    history = RiskHistory.of(bars, policy)
    random = np.random.default_rng(4)
    for one in random.choice(np.array(held(history), dtype=object), 5, replace=False):
        first = int(np.searchsorted(history.bars.opened_ms, one.grid.started_at_ms))
        equity = simulate_grid(one.grid, bars.slice(first)).equity["equity_quote"].to_numpy()
        for place in random.choice(len(one.row), min(5, len(one.row)), replace=False):
            now = int(one.row[place]) - first
            wanted = [equity[now] - equity[now + bars_later] for bars_later in HORIZON_BARS]
            np.testing.assert_allclose(one.lost[place], wanted, rtol=1e-9, atol=1e-9)


def test_forecast_is_the_models_and_the_normal_knows_inventory_and_worst_case() -> None:
    policy = quick_policy()
    history = RiskHistory.of(simulated_bars(), policy)
    one = next(grid for grid in held(history)[3:] if len(grid.row) > 50)
    found = forecast(one, history, policy)
    close_ms = history.bars.opened_ms[one.row] + STEP_MS
    known = history.known_at(close_ms, policy)
    model = position_risk(one.positions, history, known, policy)
    in_pct = 100 / one.grid.capital
    np.testing.assert_allclose(found.said_pct, in_pct * model.giveback[:, :, 2], rtol=1e-12)
    exposed = one.positions.inventory_base * known.price * np.sqrt(history.variances[known.row, 0])
    normal = np.minimum(exposed * np.sqrt(4) * 1.2815515655446004, model.worst_case)
    np.testing.assert_allclose(found.normal_pct[:, 1], in_pct * normal)
    # What a quantile covers lies below its probability, and above it what it does not.
    for quantile, share in GIVEBACK_PROBABILITIES.items():
        said = in_pct * model.giveback[:, :, list(GIVEBACK_PROBABILITIES).index(quantile)]
        apart = np.abs(found.lost_pct - said) > 1e-6
        step = 1.0 / (known.end - known.first)[:, None]
        assert (found.place <= share + step)[apart & (found.lost_pct < said)].all()
        assert (found.place >= share - step)[apart & (found.lost_pct > said)].all()


def test_ties_are_spread_evenly_between_the_paths_that_lose_less_and_more() -> None:
    """A grid far below its stop by tomorrow: all paths are stopped, and all end as the grid did."""
    policy = quick_policy()
    history = RiskHistory.of(simulated_bars(), policy)
    shape = GridShape(width=0.004, levels=3, spacing=Spacing.ARITHMETIC, stop_distance=0.0005, fee=0.001)
    grids = islice(held_grids(history, MARKET, shape, first_row=960, longest_bars=96, min_inventory=0.1), 900)
    place = np.concatenate([forecast(grid, history, policy).place[:, -1] for grid in grids])
    assert len(place) > 200
    shares = np.quantile(place, [0.1, 0.25, 0.5, 0.75, 0.9])
    np.testing.assert_allclose(shares, [0.1, 0.25, 0.5, 0.75, 0.9], atol=0.15)
    assert np.unique(place).size > 0.9 * len(place)


@pytest.fixture(scope="module")
def market_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("candles") / "kucoin_ETH-USDT_15m.parquet"
    simulated_candles(days=60).write_parquet(path)
    return path


@pytest.fixture
def settings_file(tmp_path: Path) -> Path:
    path = tmp_path / "settings.yaml"
    path.write_text("risk:\n  history_days: 20\n  min_history_days: 7\n  draw_every_bars: 13\n")
    return path


def test_command_tells_the_same_in_all_its_forms(market_file: Path, settings_file: Path, tmp_path: Path) -> None:
    arguments = ["study", "giveback", "--candles", str(market_file), "--settings", str(settings_file), "--every", "13"]
    folder = tmp_path / "study"
    printed = CliRunner().invoke(main, [*arguments, "--out", str(folder)], env={"COLUMNS": "120"})
    assert printed.exit_code == 0, printed.output
    data = json.loads(CliRunner().invoke(main, [*arguments, "--json"]).stdout)
    assert json.loads((folder / "summary.json").read_text()) == data
    assert (folder / "giveback.png").read_bytes().startswith(b"\x89PNG")
    markdown = CliRunner().invoke(main, [*arguments, "--markdown"]).stdout
    assert (folder / "giveback.md").read_text() == markdown
    assert list(data["markets"]) == ["kucoin:ETH/USDT"]
    for name, found in {**data["markets"], "pooled": data["pooled"]}.items():
        assert list(found["horizons"]) == list(HORIZONS)
        for horizon, score in found["horizons"].items():
            assert list(score["coverage"]) == list(GIVEBACK_PROBABILITIES)
            [row] = [line for line in markdown.splitlines() if line.startswith(f"| {name} | {horizon} |")]
            said = [float(cell) for cell in row.split(" | ")[2:7]]
            assert said == approx([100 * share for share in score["coverage"].values()], abs=0.06)
            ratio = score["pinball_ratio_normal"]
            assert ratio["low"] <= ratio["value"] <= ratio["high"]
            assert 0 <= score["windows_in_band"] <= 1
    assert max(len(line) for line in printed.stdout.splitlines()) <= 100
    # A simulated market's hours differ, but its returns are not all of one size: the model is not far off.
    assert 0.85 < data["pooled"]["horizons"]["15m"]["coverage"]["p90"] < 0.95


def test_file_that_is_too_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "kucoin_ETH-USDT_15m.parquet"
    simulated_candles(days=60).head(96 * 20).write_parquet(path)
    result = CliRunner().invoke(main, ["study", "giveback", "--candles", str(path)])
    assert result.exit_code == 2
    assert "too short to study" in result.stderr


def test_volatility_is_fitted_and_printed_as_settings(market_file: Path, tmp_path: Path) -> None:
    arguments = ["study", "volatility", "--candles", str(market_file), "--first-fit-days", "60", "--step-days", "7"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert "too short to fit" in result.stderr
    longer = tmp_path / "kucoin_ETH-USDT_15m.parquet"
    simulated_candles(days=80).write_parquet(longer)
    arguments[3] = str(longer)
    assert CliRunner().invoke(main, [*arguments, "--out", str(tmp_path / "v")]).exit_code == 0
    written = tmp_path / "settings.yaml"
    written.write_text("risk:\n" + (tmp_path / "v" / "volatility.yaml").read_text())
    tables = load_settings(written).risk.volatility
    data = json.loads(CliRunner().invoke(main, [*arguments, "--json"]).stdout)["tables"]
    assert [table.day for table in tables] == [row["day"] for row in data]
    assert len(tables) == 3
    assert all(row["qlike"] > 0 for row in data)
