"""The fitted models of the verdict as versioned YAML: one file per model, with all that is needed to trust it.

``p_transition.yaml`` and ``confidence.yaml`` of a folder belong together. Fitting does not belong here.
"""

from __future__ import annotations

import hashlib
import json
import os
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, ValidationError, model_validator

import mm_pipeline
from mm_pipeline.adapters.strict_yaml import load_mapping, shown, validation_errors
from mm_pipeline.domain.errors import ConfigError, StorageError
from mm_pipeline.domain.metrics import MetricsPolicy
from mm_pipeline.domain.policy import Policy
from mm_pipeline.domain.regime import Calibration, RegimePolicy
from mm_pipeline.domain.regime.calibration import SIGNIFICANT_DIGITS, FittedModels, FittedTable, WalkForward
from mm_pipeline.domain.regime.confidence import CONFIDENCE_FEATURES
from mm_pipeline.domain.regime.features import TRANSITION_FEATURES
from mm_pipeline.domain.regime.forecast_quality import ForecastQuality
from mm_pipeline.domain.regime.logistic import LogisticSeries, LogisticTable
from mm_pipeline.domain.regime.samples import HORIZON_BARS

ModelName = Literal["p_transition", "confidence"]
FORMAT_VERSION: Final = 1
MODEL_FEATURES: Final[dict[ModelName, tuple[str, ...]]] = {
    "p_transition": TRANSITION_FEATURES,
    "confidence": CONFIDENCE_FEATURES,
}
_REMAKE = "make the file again with mm calibrate"
_HASH = r"^[0-9a-f]{64}$"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Probability = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(gt=0)]
Coefficient = Annotated[float, Field(ge=-1e4, le=1e4)]


class CandlesUsed(Policy):
    """A candle file that went into the fit, by name and content."""

    name: str
    sha256: Annotated[str, Field(pattern=_HASH)]


class Provenance(Policy):
    """What made the file: with the same candles and policy, the command makes it again, byte for byte."""

    command: str
    code_version: str
    policy_sha256: Annotated[str, Field(pattern=_HASH)]
    candles: Annotated[tuple[CandlesUsed, ...], Field(strict=False, min_length=1)]


class BinRecord(Policy):
    """One bin of a reliability curve, see :class:`~mm_pipeline.domain.regime.forecast_quality.ReliabilityBin`."""

    count: Count
    mean_predicted: Probability
    observed_share: Probability
    share_low: Probability
    share_high: Probability


class QualityRecord(Policy):
    """Scores out of sample, see :class:`~mm_pipeline.domain.regime.forecast_quality.ForecastQuality`."""

    rows: Count
    base_rate: Probability
    brier: Probability
    brier_of_base_rate: Probability
    skill: Annotated[float, Field(le=1)]
    skill_low: Annotated[float, Field(le=1)]
    skill_high: Annotated[float, Field(le=1)]
    log_loss: Annotated[float, Field(ge=0)]
    reliability: Annotated[tuple[BinRecord, ...], Field(strict=False, min_length=1)]


class TableRecord(Policy):
    """One table: from when it may judge, the closes of the first and last bar of its fit, and how it did since."""

    valid_from: datetime
    fit_from: datetime
    fit_until: datetime
    fit_rows: Count
    fit_base_rate: Annotated[float, Field(gt=0, lt=1)]
    intercept: Coefficient
    coefficients: dict[str, Coefficient]
    out_of_sample: QualityRecord | None

    @model_validator(mode="after")
    def _fitted_on_the_past(self) -> Self:
        if self.fit_from > self.fit_until:
            raise ValueError(f"fit_from is after fit_until; {_REMAKE}")
        if self.valid_from - self.fit_until < timedelta(hours=HORIZON_BARS):
            raise ValueError(
                f"fit_until is less than {HORIZON_BARS} h before valid_from, so the fit saw the future; {_REMAKE}"
            )
        return self


class ModelFile(Policy):
    """Content of one file."""

    format_version: Literal[1]
    model: ModelName
    horizon_bars: Annotated[int, Field(ge=HORIZON_BARS, le=HORIZON_BARS)]
    made_by: Provenance
    features: Annotated[tuple[str, ...], Field(strict=False)]
    out_of_sample: QualityRecord
    tables: Annotated[tuple[TableRecord, ...], Field(strict=False, min_length=1)]

    @model_validator(mode="after")
    def _fits_this_version(self) -> Self:
        known = MODEL_FEATURES[self.model]
        if sorted(self.features) != sorted(known):
            raise ValueError(f"features are not those of this version ({', '.join(known)}); {_REMAKE}")
        for number, table in enumerate(self.tables):
            if sorted(table.coefficients) != sorted(known):
                raise ValueError(f"coefficients of tables[{number}] are not one per feature; {_REMAKE}")
        starts = [table.valid_from for table in self.tables]
        if any(later <= earlier for earlier, later in pairwise(starts)):
            raise ValueError(f"tables are not ordered by valid_from, each later than the one before; {_REMAKE}")
        return self

    @property
    def series(self) -> LogisticSeries:
        """The tables as the verdict uses them."""
        tables = (
            LogisticTable(_ms(table.valid_from), table.intercept, tuple(table.coefficients[n] for n in self.features))
            for table in self.tables
        )
        return LogisticSeries(self.features, tuple(tables))


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
    return _EPOCH + timedelta(milliseconds=ms)


def _ms(time: datetime) -> int:
    return (time - _EPOCH) // timedelta(milliseconds=1)


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
