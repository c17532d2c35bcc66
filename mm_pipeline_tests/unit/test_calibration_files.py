"""Calibration files: what is written is read back; anything else is refused by file, key and hint."""

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from mm_pipeline.adapters.config.calibration_files import (
    candles_used,
    load_calibration,
    load_model_file,
    model_files,
    save_model_files,
    shipped_calibration,
)
from mm_pipeline.adapters.config.calibration_records import CandlesUsed, ModelFile, Provenance
from mm_pipeline.domain.errors import ConfigError, StorageError
from mm_pipeline.domain.regime.calibration import FittedModels, Schedule, fit_models
from mm_pipeline_tests.reference.calibration import DAY_MS, SETTINGS, history_of, random_walk

MADE_BY = Provenance(
    command="mm calibrate --candles a.parquet",
    code_version="0.1.0",
    policy_sha256="0" * 64,
    candles=(CandlesUsed(name="a.parquet", sha256="12e5" * 16),),
)


@cache
def models() -> FittedModels:
    schedule = Schedule(first_fit_ms=20 * DAY_MS, step_ms=20 * DAY_MS)
    return fit_models([history_of(random_walk(days=110, seed=7))], policy=SETTINGS.regime, schedule=schedule)


def saved(folder: Path) -> tuple[ModelFile, ...]:
    files = model_files(models(), MADE_BY)
    save_model_files(folder, files)
    return files


def test_saved_models_are_read_back_as_they_were(tmp_path: Path) -> None:
    files = saved(tmp_path / "deep" / "folder")
    loaded = load_calibration(tmp_path / "deep" / "folder")
    assert loaded == models().calibration
    assert load_model_file(tmp_path / "deep" / "folder", "confidence") == files[1]
    assert sorted(path.name for path in (tmp_path / "deep" / "folder").iterdir()) == [
        "confidence.yaml",
        "p_transition.yaml",
    ]


def test_saving_again_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "other"):
        saved(tmp_path / name)
    for name in ("p_transition.yaml", "confidence.yaml"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        save_model_files(tmp_path / "file" / "folder", model_files(models(), MADE_BY))


def test_a_candle_file_is_recorded_by_name_and_content(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"abc")
    used = candles_used(tmp_path / "a.parquet")
    assert used.name == "a.parquet"
    assert used.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


Edit = Callable[[dict[str, Any]], Any]

HOSTILE: dict[str, tuple[str, Edit]] = {
    "unknown key": ("fitted_by", lambda c: c.update(fitted_by="me")),
    "missing key": ("horizon_bars", lambda c: c.pop("horizon_bars")),
    "another format": ("format_version", lambda c: c.update(format_version=2)),
    "another model": ("model", lambda c: c.update(model="p_trend")),
    "another horizon": ("horizon_bars", lambda c: c.update(horizon_bars=9)),
    "no tables": ("tables", lambda c: c.update(tables=[])),
    "tables as text": ("tables", lambda c: c.update(tables="none")),
    "null": ("tables[0].intercept", lambda c: c["tables"][0].update(intercept=None)),
    "text coefficient": ("hour_sin", lambda c: c["tables"][0]["coefficients"].update(hour_sin="1.0")),
    "huge coefficient": ("hour_sin", lambda c: c["tables"][0]["coefficients"].update(hour_sin=1e9)),
    "true as number": ("tables[0].intercept", lambda c: c["tables"][0].update(intercept=True)),
    "coefficient missing": ("tables[0]", lambda c: c["tables"][0]["coefficients"].pop("hour_sin")),
    "coefficient too many": ("tables[0]", lambda c: c["tables"][0]["coefficients"].update(moon=1.0)),
    "feature unknown": ("features", lambda c: c["features"].append("moon")),
    "feature missing": ("features", lambda c: c["features"].remove("hour_sin")),
    "tables out of order": ("valid_from", lambda c: c["tables"].reverse()),
    "table twice": ("valid_from", lambda c: c["tables"].insert(0, c["tables"][0])),
    "fit after its table": ("fit_until", lambda c: c["tables"][0].update(fit_until=c["tables"][0]["valid_from"])),
    "fit ends before it begins": ("fit_from", lambda c: c["tables"][0].update(fit_from=c["tables"][0]["valid_from"])),
    "date for a time": ("valid_from", lambda c: c["tables"][0].update(valid_from="2022-08-20")),
    "base rate above one": ("fit_base_rate", lambda c: c["tables"][0].update(fit_base_rate=1.5)),
    "negative rows": ("fit_rows", lambda c: c["tables"][0].update(fit_rows=-1)),
    "Brier above one": ("brier", lambda c: c["out_of_sample"].update(brier=1.01)),
    "bin missing": ("reliability", lambda c: c["tables"][0]["out_of_sample"]["reliability"].pop()),
    "table missing": ("tables", lambda c: c["tables"].pop()),
    "not a hash": ("sha256", lambda c: c["made_by"]["candles"][0].update(sha256="../../etc")),
    "no candles": ("candles", lambda c: c["made_by"].update(candles=[])),
}


@pytest.mark.parametrize("situation", HOSTILE)
def test_a_file_that_calibrate_cannot_have_made_is_refused(situation: str, tmp_path: Path) -> None:
    key, edit = HOSTILE[situation]
    saved(tmp_path)
    path = tmp_path / "p_transition.yaml"
    content = yaml.safe_load(path.read_text())
    edit(content)
    path.write_text(_dumped(content))
    with pytest.raises(ConfigError) as refusal:
        load_calibration(tmp_path)
    assert refusal.value.file == str(path)
    assert key in str(refusal.value)
    assert refusal.value.hint


@pytest.mark.parametrize(
    "text",
    ["", "null", "[]", "<html>busy</html>", "a: 1\na: 2", "a: &x 1\nb: *x", "a: !!python/object:os.system 1", "\x00"],
)
def test_a_file_that_is_not_a_strict_mapping_is_refused(text: str, tmp_path: Path) -> None:
    saved(tmp_path)
    (tmp_path / "confidence.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"confidence\.yaml") as refusal:
        load_calibration(tmp_path)
    assert refusal.value.hint


def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path: Path) -> None:
    saved(tmp_path)
    path = tmp_path / "confidence.yaml"
    whole = path.read_bytes()
    line_ends = [place for place, byte in enumerate(whole) if byte == ord("\n")][:-1]
    for end in (*range(0, len(whole), len(whole) // 20), *line_ends[-25:]):
        path.write_bytes(whole[:end])
        with pytest.raises(ConfigError):
            load_model_file(tmp_path, "confidence")


@pytest.mark.parametrize("name", ["p_transition.yaml", "confidence.yaml"])
def test_a_missing_file_is_named(name: str, tmp_path: Path) -> None:
    saved(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(ConfigError, match=re.escape(name)):
        load_calibration(tmp_path)


def test_swapped_files_are_refused(tmp_path: Path) -> None:
    saved(tmp_path)
    (tmp_path / "p_transition.yaml").write_bytes((tmp_path / "confidence.yaml").read_bytes())
    with pytest.raises(ConfigError, match="holds the model confidence") as refusal:
        load_calibration(tmp_path)
    assert refusal.value.key == "model"


def test_editing_nothing_of_a_file_is_accepted(tmp_path: Path) -> None:
    """Guards the refusals above: rewriting the file alone must not be what is refused."""
    folder = tmp_path / "rewritten"
    folder.mkdir()
    for name in ("p_transition.yaml", "confidence.yaml"):
        (folder / name).write_text(_dumped(yaml.safe_load((shipped_calibration() / name).read_text())))
    assert load_calibration(folder) == load_calibration(shipped_calibration())


def _dumped(content: dict[str, Any]) -> str:
    class Dumper(yaml.SafeDumper):
        """Quotes text, and writes the same list twice instead of an alias."""

        def ignore_aliases(self, data: Any) -> bool:
            return True

    Dumper.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))
    return str(yaml.dump(content, Dumper=Dumper, sort_keys=False))
