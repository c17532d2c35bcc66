"""Settings: packaged defaults, a named policy over them, the operator's file over both; frozen, strict, hashed.

The packaged values stand in ``settings/defaults.yaml`` and ``settings/policies/NAME.yaml``; bounds, units and sources
stand beside the fields of the policies. Nothing else in the package holds a threshold.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError, field_validator

from mm_pipeline.adapters.archive.policy import ArchivePolicy
from mm_pipeline.adapters.channels import ChannelAccess, ChannelConfigs
from mm_pipeline.adapters.config.calibration_files import load_calibration
from mm_pipeline.adapters.config.home import mm_home, project_root
from mm_pipeline.adapters.config.strict_yaml import load_mapping, parse_mapping, validation_errors
from mm_pipeline.adapters.frames.policy import BackfillPolicy
from mm_pipeline.adapters.last_resort.policy import LastResortPolicy
from mm_pipeline.adapters.page.policy import PagePolicy
from mm_pipeline.adapters.writing import WritingPolicy
from mm_pipeline.domain.account import AccountPolicy
from mm_pipeline.domain.advice import AdvicePolicy
from mm_pipeline.domain.candles import DataPolicy, ExchangePolicy
from mm_pipeline.domain.errors import ConfigError
from mm_pipeline.domain.exit_state import EntryPolicy, ExitStatePolicy
from mm_pipeline.domain.housekeeping import HousekeepingPolicy
from mm_pipeline.domain.lookback import longest_lookback_ms
from mm_pipeline.domain.market import Market
from mm_pipeline.domain.metrics import MetricsPolicy
from mm_pipeline.domain.notifications import DeliveryPolicy, NotifyPolicy
from mm_pipeline.domain.pipeline import MarketPolicy
from mm_pipeline.domain.policy import Policy, print_duration
from mm_pipeline.domain.regime import Calibration, RegimePolicy
from mm_pipeline.domain.risk import RiskPolicy
from mm_pipeline.domain.supervision import SupervisionPolicy, UiPolicy

PAPER = "paper"
"""Value of ``exchange`` that sends every market to the paper exchange on loopback."""

_PACKAGED = Path(__file__).parent
CALIBRATION_FOLDER = _PACKAGED / "calibration"
"""Tables that ship with the package; ``mm calibrate`` writes them."""

_DECIDING = ("data", "metrics", "regime", "exit_state", "entry", "risk")
_POLICY_SECTIONS = frozenset({"exit_state", "notify"})
"""What a policy file may hold; the rest is the installation's."""


@cache
def _shipped_calibration() -> Calibration:
    """The packaged tables, read once a process: like code, they do not change under it."""
    return load_calibration(CALIBRATION_FOLDER)


class Settings(Policy):
    """Everything that can be set. Sections are policies; their fields carry unit, source and bounds."""

    exchange: Annotated[str, Field(pattern=r"^[a-z0-9]{2,32}$")]
    paper_url: Annotated[str, Field(pattern=r"^http://(127\.0\.0\.1|localhost|\[::1\]):\d+$")]
    policy: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")]
    grids: str
    first_month: Annotated[str, Field(pattern=r"^20[0-9]{2}-(0[1-9]|1[0-2])$")]
    extra_markets: tuple[str, ...]
    data: DataPolicy
    exchange_access: ExchangePolicy
    metrics: MetricsPolicy
    regime: RegimePolicy
    exit_state: ExitStatePolicy
    entry: EntryPolicy
    risk: RiskPolicy
    notify: NotifyPolicy
    delivery: DeliveryPolicy
    channel_access: ChannelAccess
    channels: ChannelConfigs
    heartbeat_url_env: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]{0,79}$")]
    account: AccountPolicy
    archive: ArchivePolicy
    supervision: SupervisionPolicy
    ui: UiPolicy
    page: PagePolicy
    last_resort: LastResortPolicy
    writing: WritingPolicy
    backfill: BackfillPolicy
    housekeeping: HousekeepingPolicy

    @field_validator("extra_markets", mode="before")
    @classmethod
    def _names_markets(cls, value: object) -> object:
        if isinstance(value, list | tuple):
            for text in value:
                try:
                    Market.parse(str(text))
                except ConfigError as error:
                    raise ValueError(f"{error.problem.removesuffix('.')}; {error.hint}") from error
            return tuple(value)
        return value

    @cached_property
    def hash(self) -> str:
        """First 16 hex digits of the SHA-256 of what decides a state: these sections and the calibration tables."""
        deciding = {name: value for name, value in self.model_dump(mode="json").items() if name in _DECIDING}
        tables = [path.read_bytes() for path in sorted(CALIBRATION_FOLDER.glob("*.yaml"))]
        content = json.dumps({"policy": self.policy, **deciding}, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(b"".join([content.encode(), *tables])).hexdigest()[:16]

    @property
    def advice(self) -> AdvicePolicy:
        """The thresholds that turn analysis into advice."""
        return AdvicePolicy(name=self.policy, data=self.data, exit_state=self.exit_state, entry=self.entry)

    @cached_property
    def market(self) -> MarketPolicy:
        """What a market is judged by, the shipped calibration tables included."""
        return MarketPolicy(
            metrics=self.metrics, regime=self.regime, calibration=_shipped_calibration(), risk=self.risk
        )

    @property
    def archive_policy(self) -> ArchivePolicy:
        """The archive; simulated markets have a branch of their own."""
        branch = f"{self.archive.branch}-paper" if self.is_paper else self.archive.branch
        return self.archive.model_copy(update={"branch": branch})

    @property
    def is_paper(self) -> bool:
        """Whether markets are served by the paper exchange."""
        return self.exchange == PAPER


@dataclass(frozen=True)
class Deployment:
    """Settings and the file they come from; relative paths in it start at that file's folder."""

    settings: Settings
    file: Path | None

    @property
    def grids_folder(self) -> Path:
        """Folder of the grid files."""
        base = self.file.parent if self.file else Path.cwd()
        return (base / self.settings.grids).resolve()

    def check_first_month(self, now: datetime) -> None:
        """Refuse a ``first_month`` that has not begun: there would be no month to evaluate.

        Raises
        ------
        ConfigError
            With file, key and hint.
        """
        present = f"{now:%Y-%m}"
        if self.settings.first_month > present:
            raise ConfigError(
                f"{self.settings.first_month} is later than the present month, {present}.",
                f"Write {present} or an earlier month, or set this machine's clock.",
                file=str(self.file or "defaults.yaml"),
                key="first_month",
            )


@dataclass(frozen=True)
class SettingInfo:
    """One setting as it can be looked up: dotted key, value, unit, bounds and source."""

    key: str
    value: Any
    unit: str
    bounds: str
    source: str


def load_settings(file: Path | None = None, *, policy: str | None = None, policy_file: Path | None = None) -> Settings:
    """Load settings.

    Parameters
    ----------
    file
        The operator's file; None for the packaged defaults alone.
    policy
        Overrides the policy that the files name.
    policy_file
        A policy that is not packaged, named like the file; it stands in the place of ``policy``.

    Raises
    ------
    ConfigError
        With file, key and hint, for anything unknown, missing, out of bounds or of the wrong type.
    """
    defaults = parse_mapping((_PACKAGED / "defaults.yaml").read_text(), file="defaults.yaml")
    own = load_mapping(file) if file else {}
    if policy_file is None:
        name = str(policy or own.get("policy", defaults["policy"]))
        thresholds = _policy(name, None if policy else file)
    else:
        name, thresholds = policy_file.stem, _own_policy(policy_file)
    merged = _merged(_merged(defaults, thresholds), own) | {"policy": name}
    try:
        settings = Settings.model_validate(merged)
    except ValidationError as error:
        raise validation_errors(str(policy_file or file or "defaults.yaml"), error, Settings) from error
    _check_warm_up(settings, file)
    return settings


def load_deployment(file: Path | None = None, *, policy: str | None = None) -> Deployment:
    """Settings of this installation: ``file``, ``$MM_SETTINGS``, the home's, the checkout's, or the packaged ones.

    The home's are those that ``mm init`` wrote, the checkout's ``deploy/local/settings.yaml``; the first there is.
    """
    named = file or (Path(os.environ["MM_SETTINGS"]) if os.environ.get("MM_SETTINGS") else None)
    root = project_root()
    lying = [root / "deploy" / "local" / "settings.yaml"] if root else []
    with suppress(ConfigError):  # the command itself says what is wrong with MM_HOME
        lying.insert(0, mm_home() / "settings.yaml")
    chosen = named or next((one for one in lying if one.is_file()), None)
    return Deployment(load_settings(chosen, policy=policy), chosen)


def policy_names() -> list[str]:
    """Names of the packaged policies."""
    return sorted(path.stem for path in (_PACKAGED / "policies").glob("*.yaml"))


def describe(settings: BaseModel, prefix: str = "") -> Iterator[SettingInfo]:
    """Every threshold with its value, unit, bounds and source, in the order of the settings file."""
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        if isinstance(value, BaseModel):
            yield from describe(value, f"{prefix}{name}.")
            continue
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        yield SettingInfo(
            key=f"{prefix}{name}",
            value=settings.model_dump(mode="json")[name],
            unit=str(extra.get("unit", "")),
            bounds=", ".join(
                f"{sign} {_shown_bound(getattr(meta, key))}"
                for meta in field.metadata
                for key, sign in _SIGNS
                if hasattr(meta, key)
            ),
            source=str(extra.get("source", "")),
        )


def _shown_bound(bound: object) -> str:
    return print_duration(bound) if isinstance(bound, timedelta) else f"{bound:g}"


_SIGNS = (("ge", ">="), ("gt", ">"), ("le", "<="), ("lt", "<"))


def _policy(name: str, file: Path | None) -> dict[str, Any]:
    if name not in policy_names():
        hint = f"Use one of: {', '.join(policy_names())}."
        raise ConfigError(f"there is no policy {name!r}.", hint, file=str(file or ""), key="policy")
    return parse_mapping((_PACKAGED / "policies" / f"{name}.yaml").read_text(), file=f"{name}.yaml")


def _own_policy(file: Path) -> dict[str, Any]:
    found = load_mapping(file)
    for key in found:
        if key not in _POLICY_SECTIONS:
            hint = f"Write {' and '.join(sorted(_POLICY_SECTIONS))} alone; the rest belongs into the settings file."
            raise ConfigError("is no part of a policy.", hint, file=str(file), key=key)
    return found


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Deep merge; a key that only ``over`` has is kept, so that validation can refuse it by name."""
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        result[key] = _merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return result


def _check_warm_up(settings: Settings, file: Path | None) -> None:
    needed_days = longest_lookback_ms(settings.exit_state) / 86_400_000
    if settings.data.warm_up_days < needed_days:
        raise ConfigError(
            f"{settings.data.warm_up_days} days are less than the longest lookback, {needed_days:.1f} days.",
            "Raise it, or ask for fewer bars running.",
            file=str(file or "defaults.yaml"),
            key="data.warm_up_days",
        )
