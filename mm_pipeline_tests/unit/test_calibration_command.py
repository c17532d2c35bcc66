"""``mm calibrate`` from files to files."""

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner, Result

from mm_pipeline.adapters.config.calibration_files import load_calibration, load_model_file
from mm_pipeline.cli.history.calibrate import calibrate
from mm_pipeline.domain.errors import PipelineError
from mm_pipeline_tests.reference.calibration import random_walk

NAME = "kucoin_ETH-USDT_15m_2021-01-01_2021-06-30.parquet"
OTHER = "kucoin_BTC-USDT_15m_2021-01-01_2021-06-30.parquet"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Candle files of two made-up markets."""
    folder = tmp_path_factory.mktemp("candles")
    since_2021 = pl.col("open_time") + pl.duration(days=18_628)  # a random walk begins in 1970
    random_walk(days=150, seed=11).with_columns(since_2021).write_parquet(folder / NAME)
    random_walk(days=150, seed=12).with_columns(since_2021).write_parquet(folder / OTHER)
    return folder


def run(folder: Path, *options: str) -> Result:
    arguments = ["--candles", str(folder / NAME), str(folder / OTHER), "--first-fit-days", "30", "--step-days", "20"]
    return CliRunner().invoke(calibrate, [*arguments, *options], catch_exceptions=False)


def test_two_runs_write_the_same_files_that_load(folder: Path, tmp_path: Path) -> None:
    for name in ("one", "other"):
        result = run(folder, "--out", str(tmp_path / name))
        assert result.exit_code == 0, result.output
    for name in ("p_transition.yaml", "confidence.yaml"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()
    assert len(load_calibration(tmp_path / "one").p_transition.tables) == 4


def test_files_may_be_given_in_any_order_and_by_repeated_options(folder: Path, tmp_path: Path) -> None:
    run(folder, "--out", str(tmp_path / "one"))
    arguments = ["--candles", str(folder / OTHER), "--candles", str(folder / NAME)]
    rest = ["--first-fit-days", "30", "--step-days", "20", "--out", str(tmp_path / "other")]
    assert CliRunner().invoke(calibrate, [*arguments, *rest]).exit_code == 0
    assert load_calibration(tmp_path / "one") == load_calibration(tmp_path / "other")


def test_the_file_says_how_to_make_it_again(folder: Path, tmp_path: Path) -> None:
    run(folder, "--out", str(tmp_path))
    made_by = load_model_file(tmp_path, "confidence").made_by
    assert made_by.command == f"mm calibrate --candles {OTHER} {NAME} --first-fit-days 30 --step-days 20"
    assert [used.name for used in made_by.candles] == [OTHER, NAME]


def test_the_table_shows_each_fit_and_that_nothing_was_written(folder: Path) -> None:
    output = run(folder).output
    for expected in ("p_transition", "confidence", "valid from", "base rate", "Brier", "skill", "Wilson", "2021-04-"):
        assert expected in output
    assert "Nothing was written" in output


def test_json_holds_what_the_files_hold(folder: Path, tmp_path: Path) -> None:
    printed = json.loads(run(folder, "--out", str(tmp_path), "--json").output)
    for model in ("p_transition", "confidence"):
        kept = load_model_file(tmp_path, model).model_dump(mode="json")  # type: ignore[arg-type]
        assert printed[model] == kept


def test_a_chart_is_a_png(folder: Path, tmp_path: Path) -> None:
    assert run(folder, "--chart", str(tmp_path / "chart.png")).exit_code == 0
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG\r\n")


def test_candles_too_short_for_the_schedule_are_refused_with_the_mend(folder: Path) -> None:
    with pytest.raises(PipelineError, match="--first-fit-days"):
        run(folder, "--first-fit-days", "90")


def test_a_file_without_candles_is_refused(folder: Path, tmp_path: Path) -> None:
    pl.read_parquet(folder / NAME).clear().write_parquet(tmp_path / NAME)
    with pytest.raises(PipelineError, match="holds no candles"):
        CliRunner().invoke(calibrate, ["--candles", str(tmp_path / NAME)], catch_exceptions=False)


def test_a_path_that_is_not_there_is_bad_usage(folder: Path) -> None:
    result = CliRunner().invoke(calibrate, ["--candles", str(folder / "absent.parquet")])
    assert result.exit_code == 2
    assert "absent.parquet" in result.output


def test_the_command_needs_no_orchestrator(folder: Path) -> None:
    program = (
        "import sys\n"
        "from mm_pipeline.cli.history.calibrate import calibrate\n"
        "calibrate(sys.argv[1:], standalone_mode=False)\n"
        "print(sorted(name for name in ('dagster', 'ccxt', 'sqlalchemy', 'matplotlib') if name in sys.modules))\n"
    )
    arguments = ["--candles", str(folder / NAME), "--first-fit-days", "30", "--json"]
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith("[]")
