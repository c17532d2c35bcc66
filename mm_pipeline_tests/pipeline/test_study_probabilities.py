"""``mm study stops`` and ``mm study regimes``: scores against plain counting, and the commands on small markets."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from mm_pipeline.application.studies.probabilities import (
    Foretold,
    calibration_slope,
    decile_gap,
    probability_score,
)
from mm_pipeline.application.studies.stops import CONFIGURATIONS, stops_of
from mm_pipeline.cli import main
from mm_pipeline.domain.market import Market
from mm_pipeline.domain.position import simulate_grid
from mm_pipeline.domain.risk import RiskHistory
from mm_pipeline_tests.markets import ETH_2022_2025, recorded_candles, simulated_candles
from mm_pipeline_tests.risk_samples import quick_policy, simulated_bars

HOUR_MS, WEEK_MS = 3_600_000, 7 * 86_400_000
MARKET = Market("kucoin", "ETH/USDT")
approx = pytest.approx


def foretold(said: np.ndarray, came: np.ndarray) -> Foretold:
    at_ms = HOUR_MS * np.arange(len(said))
    return Foretold(at_ms, said, came.astype(float), np.full(len(said), came.mean()))


def test_right_probabilities_score_as_they_must() -> None:
    random = np.random.default_rng(3)
    said = random.uniform(0.02, 0.98, 40_000)
    found = probability_score(foretold(said, random.random(40_000) < said))
    # Brier of a uniform forecast that is right: E[p (1 - p)]; of its base rate of a half: 1/4.
    assert found.skill.value == approx(1 - np.mean(said * (1 - said)) / 0.25, abs=0.01)
    assert found.skill.low < found.skill.value < found.skill.high
    assert found.slope == approx(1.0, abs=0.03)
    assert found.decile_gap < 0.01
    assert found.mean_gap == approx(abs(found.mean_said - found.base_rate))


def test_slope_is_that_of_the_log_odds() -> None:
    random = np.random.default_rng(4)
    odds = random.normal(0, 1.5, 60_000)
    came = (random.random(60_000) < 1 / (1 + np.exp(-0.7 * odds))).astype(float)
    assert calibration_slope(1 / (1 + np.exp(-odds)), came) == approx(0.7, abs=0.03)
    assert math.isnan(calibration_slope(np.array([0.2, 0.4]), np.zeros(2)))


def test_decile_gap_is_the_mean_distance_over_tenths() -> None:
    said = np.repeat(np.arange(10) / 10, 10)
    came = np.repeat(np.arange(10) / 10, 10) + np.repeat([0.05, -0.05], 50)
    assert decile_gap(said, came) == approx(0.05)


def test_own_base_rate_of_each_market_is_the_peer() -> None:
    rare, often = (foretold(np.full(100, share), np.arange(100) < 100 * share) for share in (0.1, 0.9))
    pooled = probability_score(Foretold.joined([rare, often]))
    assert pooled.skill.value == approx(0.0)
    assert pooled.base_rate == approx(0.5)


def test_stop_came_where_a_low_within_the_horizon_is_at_it() -> None:
    bars, policy = simulated_bars(), quick_policy()
    found = stops_of(RiskHistory.of(bars, policy), MARKET, policy)
    assert set(found) == {"4h", "24h"}
    low, closed = bars["low"].to_numpy(), bars["close_time"].dt.epoch("ms").to_numpy()
    [shape, _] = CONFIGURATIONS.values()
    first = policy.min_windows * policy.draw_every_bars + 3 * 96 + 2
    # The first grid of the first configuration, by hand.
    grid = shape.placed(MARKET, float(bars["close"][first - 1]), int(closed[first - 1]), capital=1000.0)
    simulation = simulate_grid(grid, bars.slice(first))
    stopped = simulation.trades.stopped_bar
    sold_out = np.flatnonzero(simulation.rung == grid.interval_count)[:1].tolist()
    last = first + min([one for one in (stopped, *sold_out) if one >= 0] or [len(bars)])
    at_ms = found["24h"].at_ms[: np.argmax(np.diff(found["24h"].at_ms, append=0) < 0) + 1]
    inside = [int(at) for at in at_ms if closed[first] <= at < closed[min(last, len(closed) - 1)]]
    assert len(inside) > 20
    assert all(at % HOUR_MS == 0 for at in inside)
    for name, count in (("4h", 16), ("24h", 96)):
        came = dict(zip(found[name].at_ms[: len(at_ms)].tolist(), found[name].came[: len(at_ms)], strict=True))
        for at in inside:
            row = int(np.searchsorted(closed, at))
            assert came[at] == (low[row + 1 : row + 1 + count].min() <= grid.stop_price), (name, at)


def test_commands_write_what_they_print(tmp_path: Path) -> None:
    path = tmp_path / "kucoin_ETH-USDT_15m.parquet"
    simulated_candles(days=70).write_parquet(path)
    settings = tmp_path / "settings.yaml"
    settings.write_text("risk:\n  history_days: 20\n  min_history_days: 7\n  draw_every_bars: 13\n")
    arguments = ["study", "stops", "--candles", str(path), "--settings", str(settings)]
    table = CliRunner().invoke(main, [*arguments, "--out", str(tmp_path / "stops")], env={"COLUMNS": "80"})
    assert table.exit_code == 0, table.output
    data = json.loads(CliRunner().invoke(main, [*arguments, "--json"]).stdout)
    assert json.loads((tmp_path / "stops" / "summary.json").read_text()) == data
    assert data["markets"]["kucoin:ETH/USDT"] == data["pooled"]
    wanted = {"base_rate", "mean_said", "skill", "slope", "decile_gap", "mean_gap", "rows"}
    assert all(set(found) == wanted for found in data["pooled"].values())
    assert list(data["pooled"]) == ["4h", "24h"]
    assert max(len(line.rstrip()) for line in table.stdout.splitlines()) <= 92


def test_regimes_judges_the_shipped_tables_after_their_fit(recorded_data: Path, tmp_path: Path) -> None:
    path = tmp_path / "kucoin_ETH-USDT_15m.parquet"
    candles = recorded_candles(recorded_data / ETH_2022_2025)
    candles.slice(60_000, 12_000).write_parquet(path)
    arguments = ["study", "regimes", "--candles", str(path)]
    data = json.loads(CliRunner().invoke(main, [*arguments, "--json", "--out", str(tmp_path / "r")]).stdout)
    assert json.loads((tmp_path / "r" / "summary.json").read_text()) == data
    assert data["markets"]["kucoin:ETH/USDT"] == data["pooled"]
    for name, over_yardstick in (("p_transition", 0.05), ("confidence", 0.05)):
        found = data["pooled"][name]
        assert found["rows"] > 1000
        assert found["skill"]["value"] > found["skill_over_yardstick"] > over_yardstick
        assert 0.8 < found["slope"] < 1.2
    candles.head(6_000).write_parquet(path)
    early = CliRunner().invoke(main, arguments)
    assert early.exit_code == 2
    assert "after 2023-02-17" in early.stderr
