"""Grids without a stop, with a rebate, or that lose by every trade: what is accepted, refused, said and computed."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from mm_pipeline.adapters.config.grid_files import GridFolder, check_grid_file, load_grids
from mm_pipeline.cli import main
from mm_pipeline.domain import entry_state
from mm_pipeline.domain.errors import ConfigError
from mm_pipeline.domain.grid import Grid, GridVersion, unprofitable
from mm_pipeline.domain.pipeline import evaluate
from mm_pipeline.domain.position import simulate_grid
from mm_pipeline.domain.risk import RiskHistory, risk_rows
from mm_pipeline.rendering.terminal.evaluation_tables import explanation
from mm_pipeline.reporting.grid_report import report_of
from mm_pipeline.reporting.pages.words import grid_text, stop_line
from mm_pipeline.reporting.price_words import NO_STOP_TEXT
from mm_pipeline_tests.grid_samples import bars_of, hundreds_grid
from mm_pipeline_tests.markets import grid_around, settings_of, simulated_candles, version_of, view_of_candles
from mm_pipeline_tests.risk_samples import grid_in, known_ms, quick_policy, simulated_bars

DECLARED = """id: eth
exchange: kucoin
symbol: ETH/USDT
enabled: true
lower: 3000
upper: 3200
levels: 11
spacing: arithmetic
stop_loss: 2900
capital: 1000
fee: 0.001
started_at: 2025-01-01T00:00:00Z
"""
SEED = settings_of("seed")


def folder_of(tmp_path: Path, text: str) -> GridFolder:
    (tmp_path / "eth.yaml").write_text(text)
    return load_grids(tmp_path)


def refusal(tmp_path: Path, text: str) -> ConfigError:
    (problem,) = folder_of(tmp_path, text).problems
    return problem.error


def test_grid_without_a_stop_is_declared_by_none(tmp_path: Path) -> None:
    (grid,) = folder_of(tmp_path, DECLARED.replace("2900", "none")).grids
    assert (grid.stop_loss, grid.stop_price) == (None, 0.0)
    again = Grid.model_validate_json(grid.model_dump_json())
    assert (again, again.version_hash) == (grid, grid.version_hash)


@pytest.mark.parametrize("stop", ["stop_loss: 0\n", "stop_loss:\n", "stop_loss: null\n", "stop_loss: -1\n", ""])
def test_stop_of_0_or_of_nothing_is_refused_and_told_what_to_write(tmp_path: Path, stop: str) -> None:
    error = refusal(tmp_path, DECLARED.replace("stop_loss: 2900\n", stop))
    assert error.key == "stop_loss"
    assert "none`" in error.hint


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"lower: 3000": "lower: 0.9995", "upper: 3200": "upper: 1.0005", "2900": "0.99"}, "0.01 % pays 0.2 %"),
        ({"levels: 11": "levels: 400"}, "0.016 % pays 0.2 %"),
    ],
)
def test_enabled_grid_that_does_not_earn_its_fees_is_refused_unless_it_is_allowed(
    tmp_path: Path, changes: dict[str, str], said: str
) -> None:
    text = DECLARED
    for old, new in changes.items():
        text = text.replace(old, new)
    error = refusal(tmp_path, text)
    assert f"an interval of {said} in fees" in error.problem
    assert "`allow_unprofitable: true`" in error.hint
    assert folder_of(tmp_path, text.replace("true", "false")).problems == ()
    (allowed,) = folder_of(tmp_path, text + "allow_unprofitable: true\n").grids
    assert said in (unprofitable(allowed) or "")
    # One that was journalled before it was refused can still be read.
    assert Grid.model_validate_json(allowed.model_dump_json().replace("true", "false")) is not None
    checked = CliRunner().invoke(main, ["grids", "check", str(tmp_path)])
    assert (checked.exit_code, f"note eth: an interval of {said} in fees." in checked.stdout) == (0, True)


def test_key_that_is_not_written_changes_no_hash() -> None:
    grid = hundreds_grid()
    assert grid.model_copy(update={"allow_unprofitable": True}).version_hash != grid.version_hash
    assert "allow_unprofitable" in grid.model_dump()


@pytest.mark.parametrize(("fee", "is_accepted"), [("-0.001", True), ("-0.0011", False), ("0.02", True)])
def test_rebate_is_accepted_down_to_a_bound(tmp_path: Path, fee: str, *, is_accepted: bool) -> None:
    text = DECLARED.replace("fee: 0.001", f"fee: {fee}").replace("levels: 11", "levels: 2")
    assert bool(folder_of(tmp_path, text).grids) is is_accepted


def test_grid_without_a_stop_is_never_stopped_and_may_lose_all_of_its_inventory() -> None:
    bars = bars_of([(115, 115, 115, 115), (115, 115, 0.5, 1.0), (1.0, 1.0, 1.0, 1.0)])
    simulation = simulate_grid(hundreds_grid().model_copy(update={"stop_loss": None}), bars)
    assert (simulation.is_stopped_out, simulation.summary.stopped_at) == (False, None)
    held = 100 / 100 + 100 / 110 + 100 / 120
    assert simulation.summary.inventory == pytest.approx(held)
    assert simulation.summary.worst_case == pytest.approx(held * 1.0)


def test_risk_of_a_grid_without_a_stop_is_all_of_the_inventory() -> None:
    bars, policy = simulated_bars(), quick_policy()
    start = 40 * 96
    grid = grid_in(bars, start, width=0.05).model_copy(update={"stop_loss": None})
    (row,) = risk_rows(version_of(grid), RiskHistory.of(bars, policy), known_ms(bars, start + 96), policy).to_dicts()
    assert row["risk_unknown"] is None
    assert row["worst_case_quote"] >= row["inventory_base"] * row["price"]
    assert np.isfinite(row["capital_at_risk_4h_quote"])


def test_no_rebate_makes_the_worst_case_a_gain() -> None:
    bars = bars_of([(115, 115, 115, 115), (115, 115, 90.01, 90.01)])
    grid = hundreds_grid(fee=-0.001)
    assert simulate_grid(grid, bars).summary.worst_case == 0.0
    risk_bars, policy = simulated_bars(), quick_policy()
    start = 40 * 96
    price = float(risk_bars["close"][start + 95])
    near = grid_in(risk_bars, start, lower=price * 1.2, upper=price * 1.4, stop_loss=price * 0.9999, fee=-0.001)
    rows = risk_rows(version_of(near), RiskHistory.of(risk_bars, policy), known_ms(risk_bars, start + 95), policy)
    assert rows["worst_case_quote"].min() == 0.0


def test_states_tables_and_pages_say_that_there_is_no_stop_and_that_no_fee_is_earned() -> None:
    candles = simulated_candles(seed=4, days=75)
    view, started = view_of_candles(candles, SEED), candles["open_time"][-1] - timedelta(days=3)
    price = float(candles["close"][-1])
    declared: dict[str, Any] = {"stop_loss": "none", "levels": 500, "allow_unprofitable": True}
    grid = grid_around(price, started, **declared)
    at_ms = int(view.bars.frame["close_time"].dt.epoch("ms")[-1])
    rows = evaluate([GridVersion(grid, started)], view, SEED.advice, first_ms=at_ms, last_ms=at_ms).exit_states
    row = rows.row(0, named=True)
    assert (row["stop_loss"], row["stop_loss_risk"], row["distance_to_stop_atr"]) == (None, "NO_STOP", None)
    assert row["stop_loss_breached"] == dict.fromkeys(("value", "threshold", "margin", "since")) | {"fired": False}
    assert any("% in fees" in reason for reason in row["reasons"])
    report = report_of(grid, rows)
    assert NO_STOP_TEXT.capitalize() in stop_line(report)
    assert "% in fees" in grid_text(report)
    assert NO_STOP_TEXT in str(explanation(report, width=80, now=report.evaluated_at).renderables)  # type: ignore[attr-defined]


def test_levels_are_proposed_where_the_fee_is_a_rebate() -> None:
    analysis = pl.DataFrame({"fee": [-0.0005, 0.001], "spacing": ["arithmetic", "geometric"]})
    levels = entry_state._levels(np.array([90.0, 90.0]), np.array([110.0, 110.0]), analysis, SEED.entry)
    assert levels[0] == SEED.entry.max_levels
    assert 2 <= levels[1] <= SEED.entry.max_levels


def test_command_reads_a_single_file_alike(tmp_path: Path) -> None:
    (tmp_path / "eth.yaml").write_text(DECLARED.replace("levels: 11", "levels: 400"))
    with pytest.raises(ConfigError, match=r"pays 0\.2 % in fees"):
        check_grid_file(tmp_path / "eth.yaml")
