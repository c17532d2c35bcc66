"""``mm grids check``: every problem named, exit code 1 where there is any."""

import json
from pathlib import Path

from click.testing import CliRunner

from mm_pipeline.cli import main

GRID = """
id: {id}
exchange: kucoin
symbol: ETH/USDT
enabled: {enabled}
lower: 3070
upper: {upper}
levels: 6
spacing: arithmetic
stop_loss: 2990
capital: 1000
fee: 0.001
started_at: 2025-01-01T00:00:00Z
"""


def grid_file(folder: Path, name: str, *, id: str = "eth", enabled: str = "true", upper: str = "3185") -> Path:
    """Write a grid file."""
    path = folder / name
    path.write_text(GRID.format(id=id, enabled=enabled, upper=upper))
    return path


def test_good_grids_are_listed(tmp_path: Path) -> None:
    grid_file(tmp_path, "a.yaml")
    grid_file(tmp_path, "b.yaml", id="eth-v3", enabled="false")
    result = CliRunner().invoke(main, ["grids", "check", str(tmp_path)])
    assert result.exit_code == 0
    assert "for its exit" in result.stdout
    assert "for its entry" in result.stdout
    assert "2 grids can be used, 0 problems." in result.stdout


def test_bad_grid_is_named_and_the_good_one_still_listed(tmp_path: Path) -> None:
    grid_file(tmp_path, "a.yaml")
    grid_file(tmp_path, "b.yaml", id="wide", upper="3000")
    result = CliRunner().invoke(main, ["grids", "check", "--json", str(tmp_path)])
    assert result.exit_code == 1
    data = json.loads(result.stdout)
    assert [grid["id"] for grid in data["grids"]] == ["eth"]
    [problem] = data["problems"]
    assert (problem["grid"], problem["key"]) == ("wide", "upper")
    assert problem["file"].endswith("b.yaml")
    assert problem["problem"] == "upper 3000 is not above lower 3070."
    assert problem["mend"] == "Swap or correct lower and upper."


def test_files_that_declare_one_id_are_a_problem(tmp_path: Path) -> None:
    one, two = grid_file(tmp_path, "a.yaml"), grid_file(tmp_path, "b.yaml")
    result = CliRunner().invoke(main, ["grids", "check", str(one), str(two)])
    assert result.exit_code == 1
    assert "2 files declare the id eth" in result.stdout


def test_folder_of_the_settings_is_checked_by_default(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    grid_file(tmp_path / "mine", "a.yaml", id="from-settings")
    settings = tmp_path / "settings.yaml"
    settings.write_text("grids: mine\n")
    result = CliRunner().invoke(main, ["grids", "check", "--settings", str(settings), "--json"])
    assert [grid["id"] for grid in json.loads(result.stdout)["grids"]] == ["from-settings"]


def test_missing_path_is_bad_usage(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["grids", "check", str(tmp_path / "none.yaml")])
    assert result.exit_code == 2
    assert "does not exist" in result.stderr


def test_empty_folder_is_a_problem(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["grids", "check", str(tmp_path)])
    assert result.exit_code == 1
    assert "holds no *.yaml file" in result.stdout
