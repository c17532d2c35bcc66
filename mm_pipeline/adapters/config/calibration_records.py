"""What a calibration file holds, field by field, and what can be told wrong from its content alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from mm_pipeline.domain.policy import Policy
from mm_pipeline.domain.regime.confidence import CONFIDENCE_FEATURES
from mm_pipeline.domain.regime.features import TRANSITION_FEATURES
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
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

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

    @model_validator(mode="after")
    def _bins_hold_every_row(self) -> Self:
        if sum(part.count for part in self.reliability) != self.rows:
            raise ValueError(f"reliability does not hold {self.rows} rows, so part of it is missing; {_REMAKE}")
        return self


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
        rows = sum(table.out_of_sample.rows for table in self.tables if table.out_of_sample)
        if rows != self.out_of_sample.rows:
            raise ValueError(f"tables judged {rows} rows, not {self.out_of_sample.rows}: one is missing; {_REMAKE}")
        return self

    @property
    def series(self) -> LogisticSeries:
        """The tables as the verdict uses them."""
        tables = (
            LogisticTable(_ms(table.valid_from), table.intercept, tuple(table.coefficients[n] for n in self.features))
            for table in self.tables
        )
        return LogisticSeries(self.features, tuple(tables))


def _ms(time: datetime) -> int:
    return (time - EPOCH) // timedelta(milliseconds=1)
