"""Study files: what is read, and that every refusal names file, line, key and what to write."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from mm_pipeline.adapters.config.study_files import load_studies, read_study, with_candles
from mm_pipeline.domain.errors import ConfigError
from mm_pipeline.domain.market import Market
from mm_pipeline.settings import load_settings
from mm_pipeline_tests.study_samples import write_study

PACKAGED = ("calibrated", "seed")
ETH_FILE = "binance_ETH-USDT_15m.parquet"
MY_POLICY = """exit_state:
  stop_likely: {p_stop_24h: 0.7}
"""


def refused(path: Path) -> ConfigError:
    with pytest.raises(ConfigError) as error:
        read_study(path, PACKAGED)
    return error.value


def test_paths_begin_at_the_file(tmp_path: Path) -> None:
    (tmp_path / "candles").mkdir()
    (tmp_path / "candles" / ETH_FILE).touch()
    (tmp_path / "mine.yaml").write_text(MY_POLICY)
    path = write_study(tmp_path / "studies", candles=[f"../candles/{ETH_FILE}"], policies=["seed", "../mine.yaml"])
    study = read_study(path, PACKAGED)
    assert study.name == "wide"
    assert [(file.path, file.market) for file in study.candles] == [
        (tmp_path / "candles" / ETH_FILE, Market("binance", "ETH/USDT"))
    ]
    assert {name: file and file.name for name, file in study.policies.items()} == {"seed": None, "mine": "mine.yaml"}


@pytest.mark.parametrize(
    ("changes", "line", "told"),
    [
        ({"markets": ["eth"]}, 1, "markets: (line 1) market 'eth' names no exchange. Write it like kucoin:ETH/USDT."),
        (
            {"policies": ["seed", "wild"]},
            7,
            "policies[1]: (line 7) there is no policy 'wild'. Write one of calibrated,",
        ),
        ({"policies": ["no.yaml"]}, 6, "policies[0]: (line 6) there is no file"),
        ({"candles": ["no_ETH-USDT_15m.parquet"]}, 10, "candles[0]: (line 10) there is no file"),
        ({"template": {"levels": 1}}, 12, "template.levels: (line 12) is refused"),
        ({"template": {"half_width": {"pct": 99.0}}}, 11, "template.half_width.pct: (line 11) is refused"),
        ({"bogus": 1}, 9, "bogus: (line 9) is not a known key."),
    ],
)
def test_refusal_names_file_line_key_and_what_to_write(
    tmp_path: Path, changes: dict[str, Any], line: int, told: str
) -> None:
    path = write_study(tmp_path, **changes)
    named = told.partition(":")[0].rpartition(".")[2].partition("[")[0]
    assert named in path.read_text().splitlines()[line - 1] or "[" in told
    error = refused(path)
    assert str(error).startswith(f"{path}: ")
    assert told in str(error)


def test_policy_file_whose_name_fits_no_partition_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "my policy.yaml").write_text(MY_POLICY)
    error = refused(write_study(tmp_path / "studies", policies=["seed", "../my policy.yaml"]))
    assert "policies[1]: (line 7) 'my policy' cannot be the name of a policy. Rename the file" in str(error)


def test_missing_key_of_the_template_names_the_templates_line(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    path.write_text(path.read_text().replace("  levels: 11\n", ""))
    assert "template.levels: (line 9) is missing." in str(refused(path))


def test_fault_of_the_yaml_names_its_line_once(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    path.write_text(path.read_text() + "placed: weekly\n")
    assert str(refused(path)).count("(line ") == 1


def test_candles_of_another_market_are_refused(tmp_path: Path) -> None:
    (tmp_path / "binance_BTC-USDT_15m.parquet").touch()
    error = refused(write_study(tmp_path, candles=["binance_BTC-USDT_15m.parquet"]))
    assert "is of binance:BTC/USDT, which is not studied. Write binance:BTC/USDT among the markets" in str(error)


@pytest.mark.parametrize("name", ["my-study", "1st", "Wide"])
def test_name_that_no_asset_can_bear_is_refused(tmp_path: Path, name: str) -> None:
    assert "cannot be the name of a study. Use small letters" in str(refused(write_study(tmp_path, name)))


def test_bad_file_stops_no_other(tmp_path: Path) -> None:
    write_study(tmp_path, "good")
    write_study(tmp_path, "bad", placed="daily")
    (tmp_path / "notes.txt").write_text("no study")
    found = load_studies(tmp_path, PACKAGED)
    assert [study.name for study in found.studies] == ["good"]
    assert [problem.file for problem in found.problems] == [str(tmp_path / "bad.yaml")]


def test_two_files_of_one_name_are_one_study_and_one_problem(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    (tmp_path / "wide.yml").write_text(path.read_text())
    found = load_studies(tmp_path, PACKAGED)
    assert [study.path.name for study in found.studies] == ["wide.yaml"]
    assert "wide.yaml has the same name" in str(found.problems[0].error)


def test_folder_that_is_not_there_holds_no_study(tmp_path: Path) -> None:
    found = load_studies(tmp_path / "none", PACKAGED)
    assert (found.studies, found.problems) == ((), ())


def test_other_candles_are_studied_on_their_own_markets(tmp_path: Path) -> None:
    study = read_study(write_study(tmp_path), PACKAGED)
    file = tmp_path / "kucoin_BTC-USDT_15m.parquet"
    pl.DataFrame().write_parquet(file)
    changed = with_candles(study, [file, file])
    assert changed.declaration.markets == ("kucoin:BTC/USDT",)
    assert [candles.path for candles in changed.candles] == [file]


def test_policy_file_changes_its_own_thresholds_alone(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text((Path(__file__).parents[2] / "mm_pipeline/settings/policies/seed.yaml").read_text())
    packaged, own = load_settings(policy="seed"), load_settings(policy_file=file)
    assert own.policy == "mine"
    assert own.exit_state == packaged.exit_state
    assert own.hash != packaged.hash


def test_policy_file_holds_nothing_but_a_policy(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("risk: {history_days: 90}\n")
    with pytest.raises(ConfigError, match=r"risk: is no part of a policy. Write exit_state and notify alone"):
        load_settings(policy_file=file)


def test_fault_in_a_policy_file_names_that_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("exit_state: {closes_outside: {count: 0}}\n")
    with pytest.raises(ConfigError) as error:
        load_settings(policy_file=file)
    assert error.value.file == str(file)
    assert "exit_state.closes_outside.count" in str(error.value)


@pytest.mark.parametrize("named", ["~nobody-of-this-name/x.parquet", f"{'n' * 300}.parquet", "a\0b.parquet"])
@pytest.mark.parametrize("key", ["candles", "policies"])
def test_path_that_cannot_be_looked_at_stops_no_other_study(tmp_path: Path, named: str, key: str) -> None:
    named = named.replace(".parquet", ".yaml") if key == "policies" else named
    write_study(tmp_path, "odd", **{key: [named]})
    write_study(tmp_path)
    found = load_studies(tmp_path, PACKAGED)
    assert [study.name for study in found.studies] == ["wide"]
    (problem,) = found.problems
    assert f"{key}" in str(problem.error)


def test_folder_that_cannot_be_looked_at_is_a_problem_and_no_fault(tmp_path: Path) -> None:
    (tmp_path / "studies").symlink_to("n" * 300)
    found = load_studies(tmp_path / "studies", PACKAGED)
    assert found.studies == ()
    assert "cannot be read" in str(found.problems[0].error)
