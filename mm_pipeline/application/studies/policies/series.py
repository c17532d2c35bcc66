"""One market's candles, ready to be studied in every configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from mm_pipeline.application.replay.inputs import RecordedMarket
from mm_pipeline.application.studies.policies.catalogue import studied_policies
from mm_pipeline.domain.arrays import Bools
from mm_pipeline.domain.candles import data_quality
from mm_pipeline.domain.exit_state.policy import ExitStatePolicy
from mm_pipeline.domain.lookback import longest_lookback_ms
from mm_pipeline.domain.market import Timeframe
from mm_pipeline.domain.pipeline import market_view
from mm_pipeline.domain.programme import ProgrammeMarket, Signals, StudiedPolicy, signals_of
from mm_pipeline.domain.risk import RiskHistory
from mm_pipeline.settings import Settings

RANDOM_DRAWS: Final = 1000


@dataclass(frozen=True, kw_only=True)
class StudySettings:
    """What a study runs with.

    Attributes
    ----------
    shipped
        Settings under the policy ``seed``; they judge the market, too.
    calibrated
        Thresholds of the policy ``calibrated``.
    random_draws
        Random exits that each policy is compared with.
    has_in_sample
        Bars before the first shipped table of probabilities are studied too.
    """

    shipped: Settings
    calibrated: ExitStatePolicy
    random_draws: int = RANDOM_DRAWS
    has_in_sample: bool = True

    @property
    def seed(self) -> ExitStatePolicy:
        """Thresholds of the policy ``seed``."""
        return self.shipped.exit_state

    @cached_property
    def policies(self) -> tuple[StudiedPolicy, ...]:
        """Every policy that is judged."""
        return studied_policies(self.seed, self.calibrated)


@dataclass(frozen=True, eq=False)
class Series:
    """One market's candles, with everything that is the same in every configuration."""

    name: str
    market: ProgrammeMarket
    settings: StudySettings

    @cached_property
    def is_entered(self) -> Bools:
        """Shape ``(n,)``: ENTER, under both shipped policies."""
        return self.market.is_quiet(self.settings.seed, self.settings.calibrated)

    @cached_property
    def signals(self) -> Mapping[str, Signals]:
        """By policy."""
        return {policy.name: signals_of(self.market, policy) for policy in self.settings.policies}

    @classmethod
    def of(cls, recorded: RecordedMarket, settings: StudySettings) -> Series:
        """From the candles of a market."""
        shipped = settings.shipped
        view = market_view(recorded.bars, recorded.quarantined_ms, shipped.market)
        quality = data_quality(
            recorded.bars,
            quarantined_ms=recorded.quarantined_ms,
            evaluated_ms=view.bars.closed_ms(Timeframe.M15),
            policy=shipped.data,
            lookback_ms=longest_lookback_ms(shipped.exit_state),
        )
        market = ProgrammeMarket(
            view,
            RiskHistory.of(recorded.bars, shipped.risk),
            shipped.risk,
            quality["is_good"].to_numpy(),
            settings.has_in_sample,
        )
        return cls(str(recorded.market), market, settings)
