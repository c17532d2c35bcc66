"""``mm simulate`` from files to a table, and the fills and equity that ``mm replay`` writes."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner, Result

from mm_pipeline.cli import main
from mm_pipeline_tests.markets import simulated_candles

DAYS = 60
NAME = "kucoin_ETH-USDT_15m.parquet"
ISSUE_NAMES = [
    *("buys", "sells", "cash", "inventory", "equity", "total_pnl", "grid_profit", "unrealised"),
    *("unmatched_fees", "residual", "fees", "max_drawdown", "stopped_at", "worst_case"),
]


@pytest.fixture(scope="module")
def candles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of simulated candles with gaps."""
    path = tmp_path_factory.mktemp("candles") / NAME
    simulated_candles(days=DAYS).write_parquet(path)
    return path


@pytest.fixture
def grid(tmp_path: Path) -> Path:
    """A wide grid that starts in the middle of the candles."""
    path = tmp_path / "grid.yaml"
    path.write_text(
        "id: eth\nexchange: binance\nsymbol: BTC/USDT\nenabled: true\nlower: 1500\nupper: 2500\nlevels: 101\n"
        "spacing: geometric\nstop_loss: 1000\ncapital: 1000\nfee: 0.001\nstarted_at: 2024-01-20T00:00:00Z\n"
    )
    return path


def mm(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], terminal_width=200)


def simulated(candles: Path, grid: Path, *more: object) -> dict[str, Any]:
    result = mm("simulate", "--candles", candles, "--grid", grid, "--json", *more)
    assert (result.exit_code, result.stderr) == (0, "")
    data: dict[str, Any] = json.loads(result.stdout)
    return data


def test_json_has_the_names_and_an_identity_that_holds(candles: Path, grid: Path) -> None:
    data = simulated(candles, grid)
    assert list(data)[-len(ISSUE_NAMES) :] == ISSUE_NAMES
    assert (data["market"], data["from"], data["to"]) == (
        *("kucoin:ETH/USDT", "2024-01-20T00:00:00Z", "2024-03-01T00:00:00Z"),
    )
    assert data["buys"] > 20
    parts = data["grid_profit"] + data["unrealised"] - data["unmatched_fees"] + data["residual"]
    assert data["total_pnl"] == pytest.approx(parts) == pytest.approx(data["equity"] - 1000)
    assert data["stopped_at"] is None
    assert abs(data["residual"]) <= 1e-8


def test_from_places_the_grid_later_and_to_ends_it(candles: Path, grid: Path) -> None:
    data = simulated(candles, grid, "--from", "2024-02-01", "--to", "2024-02-03")
    assert (data["from"], data["to"]) == ("2024-02-01T00:00:00Z", "2024-02-03T00:00:00Z")
    grid.write_text(grid.read_text().replace("2024-01-20", "2024-02-01"))
    assert simulated(candles, grid, "--to", "2024-02-03") == data


def test_stop_is_told(candles: Path, grid: Path) -> None:
    low = pl.read_parquet(candles).filter(pl.col("open_time") >= datetime(2024, 1, 20, tzinfo=UTC))["low"]
    text = grid.read_text().replace("stop_loss: 1000", f"stop_loss: {low.min()}")
    grid.write_text(text.replace("lower: 1500", f"lower: {float(low.min()) + 1}"))  # type: ignore[arg-type]
    assert simulated(candles, grid)["stopped_at"] is not None


def test_table_tells_the_figures_and_the_newest_fills(candles: Path, grid: Path) -> None:
    result = mm("simulate", "--candles", candles, "--grid", grid)
    assert result.exit_code == 0
    for word in ("eth on kucoin:ETH/USDT", "grid_profit", "worst_case", "not stopped", "10 newest of", "USDT"):
        assert word in result.stdout


def test_candles_that_begin_after_the_grid_are_noted(candles: Path, grid: Path) -> None:
    grid.write_text(grid.read_text().replace("2024-01-20", "2023-01-20"))
    result = mm("simulate", "--candles", candles, "--grid", grid)
    assert result.exit_code == 0
    assert "placed at 2024-01-01T00:00Z, the first candle, not 2023-01-20T00:00Z" in result.stderr


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--from", "2024-03-01", "--to", "2024-02-01"], "not before --to"),
        (["--to", "2024-01-20"], "no candle lies between"),
        (["--from", "2025-01-20"], "no candle lies between"),
        (["--grid", "/nowhere.yaml"], "does not exist"),
    ],
)
def test_wrong_argument_is_told(candles: Path, grid: Path, more: list[str], said: str) -> None:
    result = mm("simulate", "--candles", candles, "--grid", grid, *more)
    assert result.exit_code == 2
    assert said in result.stderr.replace("\n", " ")


def test_replay_writes_the_fills_and_equity_that_simulate_sums_up(tmp_path: Path, candles: Path, grid: Path) -> None:
    data = simulated(candles, grid)
    result = mm("replay", "--candles", candles, "--grid", grid, "--out", tmp_path / "out", "--json")
    assert result.exit_code == 0, result.stderr
    fills, equity = (pl.read_parquet(tmp_path / "out" / f"{name}.parquet") for name in ("fills", "equity"))
    rows = json.loads(result.stdout)["rows"]
    assert (rows["fills"], rows["equity"]) == (len(fills), len(equity)) == (data["buys"] + data["sells"], 41 * 96)
    last = equity.row(-1, named=True)
    assert (last["equity_quote"], last["cash_quote"]) == (data["equity"], data["cash"])
    states = pl.read_parquet(tmp_path / "out" / "exit_states.parquet")
    assert set(equity["close_time"]) <= set(states["evaluated_at"])

    later = mm("replay", "--candles", candles, "--grid", grid, "--out", tmp_path / "out", "--from", "2024-02-01")
    assert later.exit_code == 0
    kept = pl.read_parquet(tmp_path / "out" / "equity.parquet")
    assert kept.equals(equity.filter(pl.col("time") >= datetime(2024, 2, 1, tzinfo=UTC)))


def test_replay_of_a_disabled_grid_trades_nothing(tmp_path: Path, candles: Path, grid: Path) -> None:
    for enabled in ("true", "false"):
        grid.write_text(grid.read_text().replace("enabled: true", f"enabled: {enabled}"))
        assert mm("replay", "--candles", candles, "--grid", grid, "--out", tmp_path / "out").exit_code == 0
    assert not (tmp_path / "out" / "fills.parquet").exists()
    assert not (tmp_path / "out" / "equity.parquet").exists()
