"""The fitted models of the verdict as versioned YAML: one file per model, with all that is needed to trust it.

``p_transition.yaml`` and ``confidence.yaml`` of a folder belong together. Fitting does not belong here.
"""

from __future__ import annotations

import hashlib
import json
import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import ValidationError

import mm_pipeline
from mm_pipeline.adapters.config.calibration_records import (
    EPOCH,
    FORMAT_VERSION,
    CandlesUsed,
    ModelFile,
    ModelName,
    Provenance,
)
from mm_pipeline.adapters.config.strict_yaml import load_mapping, shown, validation_errors
from mm_pipeline.domain.errors import ConfigError, StorageError
from mm_pipeline.domain.metrics import MetricsPolicy
from mm_pipeline.domain.regime import Calibration, RegimePolicy
from mm_pipeline.domain.regime.calibration import SIGNIFICANT_DIGITS, FittedModels, FittedTable, WalkForward
from mm_pipeline.domain.regime.forecast_quality import ForecastQuality
from mm_pipeline.domain.regime.samples import HORIZON_BARS


def shipped_calibration() -> Path:
    """Folder of the tables that ship with the package."""
    return Path(mm_pipeline.__file__).parent / "settings" / "calibration"


def load_calibration(folder: Path) -> Calibration:
    """Read both models of a folder.

    Raises
    ------
    ConfigError
        When a file is missing, is not strict YAML, or could not have come from ``mm calibrate`` of this version.
    """
    return Calibration(
        p_transition=load_model_file(folder, "p_transition").series,
        confidence=load_model_file(folder, "confidence").series,
    )


def load_model_file(folder: Path, model: ModelName) -> ModelFile:
    """Read one model with its fit windows, scores and provenance. Raises :class:`ConfigError` like the above."""
    path = _path(folder, model)
    try:
        content = ModelFile.model_validate(load_mapping(path))
    except ValidationError as error:
        raise validation_errors(shown(path), error, ModelFile) from error
    if content.model != model:
        problem = f"holds the model {content.model}, not {model}."
        raise ConfigError(problem, "Put each file back under its own name.", file=shown(path), key="model")
    return content


def model_files(models: FittedModels, made_by: Provenance) -> tuple[ModelFile, ModelFile]:
    """What is to be written: ``p_transition``, then ``confidence``; numbers to ten significant digits."""
    return (
        _model_file("p_transition", models.p_transition, made_by),
        _model_file("confidence", models.confidence, made_by),
    )


def save_model_files(folder: Path, files: tuple[ModelFile, ...]) -> None:
    """Write each file whole or not at all. Raises :class:`StorageError`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for content in files:
            path = _path(folder, content.model)
            staged = path.with_name(f".{path.name}.tmp")
            staged.write_text(_as_yaml(content), encoding="utf-8")
            os.replace(staged, path)
    except OSError as error:
        raise StorageError(f"{folder} cannot be written: {error}.", "Mend its permissions or free space.") from error


def candles_used(path: Path) -> CandlesUsed:
    """Name and SHA-256 of a candle file."""
    with path.open("rb") as stream:
        return CandlesUsed(name=path.name, sha256=hashlib.file_digest(stream, "sha256").hexdigest())


def policy_sha256(metrics: MetricsPolicy, regime: RegimePolicy) -> str:
    """Hash of every threshold that the models' inputs and outcomes depend on."""
    thresholds = {"metrics": metrics.model_dump(mode="json"), "regime": regime.model_dump(mode="json")}
    return hashlib.sha256(json.dumps(thresholds, sort_keys=True).encode()).hexdigest()


def _path(folder: Path, model: ModelName) -> Path:
    return folder / f"{model}.yaml"


def _model_file(model: ModelName, fitted: WalkForward, made_by: Provenance) -> ModelFile:
    quality = _quality(fitted.out_of_sample)
    return ModelFile.model_validate(
        {
            "format_version": FORMAT_VERSION,
            "model": model,
            "horizon_bars": HORIZON_BARS,
            "made_by": made_by,
            "features": fitted.features,
            "out_of_sample": quality,
            "tables": [_table(table, fitted.features) for table in fitted.tables],
        }
    )


def _table(fitted: FittedTable, features: tuple[str, ...]) -> dict[str, Any]:
    return {
        "valid_from": _time(fitted.table.valid_from_ms),
        "fit_from": _time(fitted.fit_from_ms),
        "fit_until": _time(fitted.fit_until_ms),
        "fit_rows": fitted.fit_rows,
        "fit_base_rate": fitted.fit_base_rate,
        "intercept": fitted.table.intercept,
        "coefficients": dict(zip(features, fitted.table.coefficients, strict=True)),
        "out_of_sample": None if fitted.out_of_sample is None else _quality(fitted.out_of_sample),
    }


def _quality(quality: ForecastQuality) -> dict[str, Any]:
    record = {name: _rounded(value) for name, value in vars(quality).items() if name != "reliability"}
    bins = [{name: _rounded(value) for name, value in vars(part).items()} for part in quality.reliability]
    return record | {"reliability": bins}


def _rounded(value: float) -> float:
    return value if isinstance(value, int) else float(f"{value:.{SIGNIFICANT_DIGITS}g}")


def _time(ms: int) -> datetime:
    return EPOCH + timedelta(milliseconds=ms)


def _as_yaml(content: ModelFile) -> str:
    import yaml

    class Dumper(yaml.SafeDumper):
        """Quotes text, writes times with Z and each bin on a line."""

    Dumper.add_representer(_Text, lambda d, text: d.represent_scalar("tag:yaml.org,2002:str", str(text), style='"'))
    Dumper.add_representer(
        datetime, lambda d, time: d.represent_scalar("tag:yaml.org,2002:timestamp", f"{time:%Y-%m-%dT%H:%M:%SZ}")
    )
    Dumper.add_representer(
        _Line, lambda d, line: d.represent_mapping("tag:yaml.org,2002:map", dict(line), flow_style=True)
    )
    return yaml.dump(_dumpable(content.model_dump()), Dumper=Dumper, sort_keys=False, width=1_000_000)


class _Text(str):
    """Text to be quoted: a hash of digits alone must not read as a number."""

    __slots__ = ()


class _Line(dict[str, Any]):
    """A mapping to be written on one line."""


def _dumpable(value: Any) -> Any:
    if isinstance(value, dict):
        entries = {name: _dumpable(entry) for name, entry in value.items()}
        return _Line(entries) if "mean_predicted" in value or "sha256" in value else entries
    if isinstance(value, tuple | list):
        return [_dumpable(entry) for entry in value]
    return _Text(value) if isinstance(value, str) else value
