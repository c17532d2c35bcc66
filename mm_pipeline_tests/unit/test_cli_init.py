"""``mm init`` makes a home that commands use from every directory, and overwrites nothing."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from mm_pipeline.adapters.config.grid_files import load_grids
from mm_pipeline.adapters.config.study_files import load_studies
from mm_pipeline.cli import main
from mm_pipeline.cli.up.command import studied_markets, write_example_study
from mm_pipeline.settings import load_deployment, policy_names
from mm_pipeline_tests.study_samples import write_study


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of a user without a checkout."""
    monkeypatch.setenv("MM_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MM_SETTINGS", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


def init() -> str:
    done = CliRunner().invoke(main, ["init"])
    assert done.exit_code == 0, done.output
    return done.output


def test_new_home_has_settings_a_grid_and_a_study_that_pass_the_check(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "written" in init()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    deployment = load_deployment()
    assert deployment.file == home / "settings.yaml"
    folder = load_grids(deployment.grids_folder)
    assert [(grid.id, grid.enabled) for grid in folder.grids] == [("eth-example", False)]
    studies = load_studies(home / "studies", policy_names())
    assert ([study.name for study in studies.studies], studies.problems) == (["example"], ())
    checked = CliRunner().invoke(main, ["grids", "check"])
    assert checked.exit_code == 0, checked.output
    assert "eth-example" in checked.output


def test_what_is_there_stays(home: Path) -> None:
    init()
    (home / "settings.yaml").write_text("policy: seed\n")
    (home / "grids" / "eth-example.yaml").unlink()
    said = init()
    assert f"kept     {home / 'settings.yaml'}" in said
    assert (home / "settings.yaml").read_text() == "policy: seed\n"
    assert (home / "grids" / "eth-example.yaml").exists()


def test_named_settings_come_before_those_of_the_home(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    init()
    other = tmp_path / "other.yaml"
    other.write_text("policy: seed\n")
    monkeypatch.setenv("MM_SETTINGS", str(other))
    assert load_deployment().file == other
    assert load_deployment(home / "settings.yaml").file == home / "settings.yaml"


def test_home_is_its_owners_alone(home: Path) -> None:
    init()
    for path in (home, home / "settings.yaml", home / "grids" / "eth-example.yaml"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_home_of_simulated_markets_gets_an_example_study_once(home: Path) -> None:
    write_example_study(home)
    assert [file.name for file in (home / "studies").iterdir()] == ["example.yaml"]
    (home / "studies" / "example.yaml").unlink()
    write_example_study(home)
    assert list((home / "studies").iterdir()) == []


def test_exchange_is_asked_for_markets_without_a_candle_file(home: Path) -> None:
    assert studied_markets(home) == set()
    file = home / "binance_ETH-USDT_15m.parquet"
    home.mkdir()
    file.touch()
    write_study(home / "studies", markets=["binance:ETH/USDT", "kucoin:BTC/USDT"], candles=[str(file)])
    assert studied_markets(home) == {"kucoin:BTC/USDT"}
