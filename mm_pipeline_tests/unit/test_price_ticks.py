"""Ladders at the exchange's price step: rounded, refused below two steps, and remembered for runs about the past."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from mm_pipeline.adapters.config.grid_files import GridFolder
from mm_pipeline.adapters.config.home import HOME_VARIABLE, data_home, frames_dir
from mm_pipeline.adapters.config.price_ticks import PriceTicks, without_too_fine
from mm_pipeline.cli import main
from mm_pipeline.domain.grid import Grid, below_tick
from mm_pipeline.domain.market import Market
from mm_pipeline.domain.position import GridLadder
from mm_pipeline.settings import load_deployment

DECLARED: dict[str, Any] = {
    "id": "small",
    "exchange": "kucoin",
    "symbol": "PEPE/USDT",
    "enabled": True,
    "lower": 1.00e-6,
    "upper": 1.20e-6,
    "levels": 7,
    "spacing": "arithmetic",
    "stop_loss": 0.95e-6,
    "capital": 1000.0,
    "fee": 0.001,
    "started_at": "2025-01-01T00:00:00Z",
}
MARKET = Market("kucoin", "PEPE/USDT")
TICK = 1e-8


def grid(**changes: Any) -> Grid:
    return Grid.model_validate_json(json.dumps(DECLARED | changes))


def test_levels_are_the_prices_that_the_exchange_trades() -> None:
    at_tick = grid().at_tick(TICK)
    assert at_tick.level_prices().tolist() == [1.00e-6, 1.03e-6, 1.07e-6, 1.10e-6, 1.13e-6, 1.17e-6, 1.20e-6]
    assert GridLadder.of(at_tick).levels.tolist() == at_tick.level_prices().tolist()
    assert at_tick.version_hash == grid().version_hash
    assert at_tick.moved_by_tick == TICK


@pytest.mark.parametrize("tick", [0.01, 0.05, 0.1, 0.25])
def test_ladder_on_the_steps_stays_as_it_was_declared(tick: float) -> None:
    declared = grid(lower=2900.0, upper=3100.0, levels=6, stop_loss=2800.0)
    at_tick = declared.at_tick(tick)
    assert np.array_equal(at_tick.level_prices(), declared.level_prices())
    assert at_tick.moved_by_tick is None


def test_ladder_whose_step_is_not_known_stays_as_it_was_declared() -> None:
    assert grid().at_tick(None) == grid()
    assert grid().moved_by_tick is None


def test_stop_without_fill_is_no_part_of_the_ladder() -> None:
    assert grid(stop_loss=0.9555e-6).at_tick(TICK).stop_price == 0.9555e-6


@pytest.mark.parametrize(("levels", "is_refused"), [(11, False), (12, True), (100, True)])
def test_interval_below_two_steps_is_refused_and_named(levels: int, *, is_refused: bool) -> None:
    declared = grid(levels=levels, allow_unprofitable=True)
    problem = below_tick(declared, TICK)
    assert (problem is not None) is is_refused
    if is_refused:
        assert "PEPE/USDT in steps of 1e-08" in str(problem)
        assert declared.at_tick(TICK) is declared
    folder = without_too_fine(GridFolder((declared,), (), {"small": "small.yaml"}), {MARKET: TICK})
    assert (len(folder.grids), len(folder.problems)) == ((0, 1) if is_refused else (1, 0))
    assert without_too_fine(GridFolder((declared,), ()), {}).grids == (declared,)


def test_interval_that_rounding_leaves_without_profit_is_refused() -> None:
    declared = grid(lower=1.000, upper=1.0027, levels=2, stop_loss=0.9)
    problems = without_too_fine(GridFolder((declared,), ()), {MARKET: 0.001}).problems
    assert not problems
    loses = grid(lower=1.0000, upper=1.0024, levels=2, stop_loss=0.9)
    (problem,) = without_too_fine(GridFolder((loses,), ()), {MARKET: 0.001}).problems
    assert "pays 0.2 % in fees" in str(problem.error)


def test_steps_are_kept_beside_the_frames(tmp_path: Path) -> None:
    ticks = PriceTicks(str(tmp_path))
    assert ticks.known() == {}
    assert ticks.keep({MARKET: TICK})
    assert not ticks.keep({MARKET: TICK})
    assert ticks.keep({Market("kucoin", "ETH/USDT"): 0.01})
    assert PriceTicks(str(tmp_path)).known() == {MARKET: TICK, Market("kucoin", "ETH/USDT"): 0.01}


def test_steps_that_cannot_be_read_are_not_known(tmp_path: Path) -> None:
    PriceTicks(str(tmp_path)).keep({MARKET: TICK})
    (file,) = (tmp_path / "price_ticks").glob("*.parquet")
    file.write_bytes(b"torn")
    assert PriceTicks(str(tmp_path)).known() == {}
    assert PriceTicks(str(tmp_path)).keep({MARKET: TICK})


def test_grids_check_refuses_what_the_exchange_cannot_trade(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))
    file = tmp_path / "small.yaml"
    prices = {"lower": 1e-3, "upper": 1.2e-3, "stop_loss": 0.9e-3, "started_at": datetime(2025, 1, 1, tzinfo=UTC)}
    file.write_text(yaml.safe_dump(DECLARED | prices | {"levels": 15}))
    assert CliRunner().invoke(main, ["grids", "check", str(file)]).exit_code == 0
    PriceTicks(str(frames_dir(data_home(is_paper=load_deployment(None).settings.is_paper)))).keep({MARKET: 1e-5})
    result = CliRunner().invoke(main, ["grids", "check", str(file)])
    assert result.exit_code == 1
    assert "1.4 steps, fewer than 2" in result.output.replace("\n", " ")


def test_disabled_grid_is_refused_for_no_step() -> None:
    off = grid(levels=100, enabled=False)
    assert without_too_fine(GridFolder((off,), ()), {MARKET: TICK}).grids == (off,)
    on = off.model_copy(update={"enabled": True})
    assert without_too_fine(GridFolder((on,), ()), {MARKET: TICK}).grids == ()
