"""``mm grids check``: every problem named, exit code 1 where there is any."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from mm_pipeline.adapters.config.grid_files import load_grids
from mm_pipeline.adapters.config.home import data_home, journal_file
from mm_pipeline.adapters.journal import Journal, sqlite_url
from mm_pipeline.cli import main
from mm_pipeline.settings import load_settings

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
    assert problem["hint"] == "Swap or correct lower and upper."


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


def test_grid_that_starts_in_the_future_is_a_problem_with_what_to_write(tmp_path: Path) -> None:
    path = grid_file(tmp_path, "a.yaml")
    path.write_text(path.read_text().replace("2025-01-01", "2098-01-01"))
    result = CliRunner().invoke(main, ["grids", "check", "--json", str(tmp_path)])
    assert result.exit_code == 1
    data = json.loads(result.stdout)
    assert [grid["id"] for grid in data["grids"]] == ["eth"]
    [problem] = data["problems"]
    assert (problem["grid"], problem["key"]) == ("eth", "started_at")
    assert problem["file"].endswith("a.yaml")
    assert "starts in the future" in problem["problem"]
    assert "`enabled: false`" in problem["hint"]


def test_grid_whose_file_is_gone_is_a_problem_until_it_is_retired(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MM_HOME", str(tmp_path / "home"))
    (tmp_path / "mine").mkdir()
    gone, kept = grid_file(tmp_path / "mine", "a.yaml"), grid_file(tmp_path / "mine", "b.yaml", id="kept")
    settings = tmp_path / "settings.yaml"
    settings.write_text("grids: mine\n")
    with Journal(sqlite_url(journal_file(data_home(is_paper=load_settings(settings).is_paper)))) as journal:
        journal.observe_grids(load_grids(kept.parent).grids, datetime(2025, 2, 1, tzinfo=UTC))
    options = ["--settings", str(settings), "--json"]
    refused = CliRunner().invoke(main, ["grids", "retire", "eth", *options])
    assert refused.exit_code == 2
    assert "a.yaml declares eth" in refused.stderr
    gone.unlink()
    checked = CliRunner().invoke(main, ["grids", "check", *options])
    assert checked.exit_code == 1
    [problem] = json.loads(checked.stdout)["problems"]
    assert (problem["grid"], "no longer watched" in problem["problem"]) == ("eth", True)
    assert "mm grids retire eth" in problem["hint"].lower()
    retired = CliRunner().invoke(main, ["grids", "retire", "eth", "--by", "me", *options])
    assert json.loads(retired.stdout) == {"grids": [{"grid": "eth", "retired": True, "alarm_ended": False}]}
    assert CliRunner().invoke(main, ["grids", "check", *options]).exit_code == 0
