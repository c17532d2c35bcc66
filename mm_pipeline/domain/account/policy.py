"""How accounts are read and judged: settings key ``account``."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import Field, field_validator

from mm_pipeline.domain.account.bounds import FeeBounds
from mm_pipeline.domain.account.values import PositionSource
from mm_pipeline.domain.policy import Duration, Policy, threshold

_KUCOIN_WINDOW = timedelta(days=7)


class OrderApi(StrEnum):
    """KuCoin's two spot order APIs; most accounts trade through one of them. Other exchanges have one."""

    HF = "hf"
    CLASSIC = "classic"


class OrderApis(StrEnum):
    """Which of them an account is read through."""

    HF = "hf"
    CLASSIC = "classic"
    BOTH = "both"

    @property
    def read(self) -> tuple[OrderApi, ...]:
        """Those that are asked."""
        return tuple(OrderApi) if self is OrderApis.BOTH else (OrderApi(self.value),)


def _environment_name(what: str) -> object:
    return Field(
        pattern=r"^[A-Z][A-Z0-9_]{0,99}$",
        json_schema_extra={"unit": "name of an environment variable", "source": f"{what}; the value is never stored"},
    )


class AccountPolicy(Policy):
    """Whose account is read, with what key, and how far it may differ from the model (SPEC 7)."""

    sources: tuple[Annotated[PositionSource, Field(strict=False)], ...] = Field(
        json_schema_extra={"unit": "sources, the first that has something counts", "source": "SPEC 7"}
    )
    api_key_env: Annotated[str, _environment_name("the exchange's API key")]
    api_secret_env: Annotated[str, _environment_name("its secret")]
    api_passphrase_env: Annotated[str, _environment_name("its passphrase, where the exchange has one")]
    allow_trading_key: bool = Field(
        json_schema_extra={
            "unit": "true or false",
            "source": "reading needs no more than the general permission; a key that can trade or withdraw is a risk",
        }
    )
    order_api: Annotated[OrderApis, Field(strict=False)] = Field(
        json_schema_extra={"unit": "hf, classic or both", "source": "KuCoin's present accounts trade through hf"}
    )
    window: Duration = threshold(
        unit="duration of one question for fills",
        source="KuCoin refuses more than 7 days",
        ge=timedelta(minutes=1),
        le=_KUCOIN_WINDOW,
    )
    overlap: Duration = threshold(
        unit="duration that is asked for again",
        source="fills may be listed some seconds late; the time between two ticks",
        ge=timedelta(0),
        le=timedelta(days=1),
    )
    page_rows: int = threshold(unit="rows per page", source="KuCoin's most for hf fills", ge=10, le=100)
    start_window: Duration = threshold(
        unit="duration before and after started_at",
        source="the grid begins with the first 15m bar, at most one bar later; another for the order to fill",
        ge=timedelta(minutes=1),
        le=timedelta(days=1),
    )
    start_slippage: float = threshold(
        unit="share of the price",
        source="a market order of a few hundred USDT pays a few bps more than the price that the bot started at",
        ge=0.0,
        le=0.05,
    )
    ladder_tolerance_bps: float = threshold(
        unit="bps of the price",
        source="a tick of 0.01 at KuCoin's ETH-USDT is 0.03 bps; bots round levels by a tick or two",
        ge=0.0,
        le=100.0,
    )
    quantity_tolerance: float = threshold(
        unit="share of an interval's quantity",
        source="SPEC 7: other bots round quantities and keep fees in base; an own order is seldom that near",
        ge=0.0,
        le=0.5,
    )
    ladder_strays: int = threshold(
        unit="orders of an interval's quantity beside the ladder, of more than lie on it",
        source="an order or two of that size may be the operator's own; a bot on another ladder places more",
        ge=1,
        le=1000,
    )
    dust_share: float = threshold(
        unit="share of the smallest interval's quantity",
        source="rounding and fees in base leave thousandths of an interval; half of one may be a fill that is missing",
        ge=0.0,
        le=0.5,
    )
    coarsest_step_share: float = threshold(
        unit="share of the smallest price or quantity among imported fills",
        source="coarser price steps than 10 bps are rare; two round fills must not make a step of the round number",
        ge=0.0,
        le=0.01,
    )
    order_price_spread: float = threshold(
        unit="share of the price",
        source="parts of one limit order trade at its price or little better; a wrong row is seldom that near",
        ge=0.0,
        le=0.5,
    )
    max_rebate_share: float = threshold(
        unit="share of what was traded",
        source="SPEC 5: the fee of a grid goes down to -0.1 %; rebates of market makers are smaller",
        ge=0.0,
        le=0.01,
    )
    max_fee_share: float = threshold(
        unit="share of what was traded",
        source="spot fees of large exchanges end below 1 %; a fee in the wrong currency or place is far above 5 %",
        ge=0.001,
        le=1.0,
    )
    import_max_age: Duration = threshold(
        unit="duration since the newest imported fill",
        source="SPEC 8; a grid of ten intervals fills several times a day, so that after one the model knows more",
        ge=timedelta(minutes=15),
        le=timedelta(days=90),
    )
    flow_time_share: float = threshold(
        unit="share of exchange_access.deadline",
        source="a ledger of three days is three questions; states wait for the rest",
        ge=0.01,
        le=1.0,
    )
    max_inventory_drift: float = threshold(
        unit="share of capital", source="half of an interval of a grid of ten", ge=0.0, le=1.0
    )
    max_fill_drift: int = threshold(
        unit="filled ladder orders", source="one fill may lie between a bar's close and the reading", ge=0, le=1000
    )
    max_pnl_drift: float = threshold(unit="share of capital", source="ten fees of 0.1 %", ge=0.0, le=1.0)

    @property
    def fees(self) -> FeeBounds:
        """How much the fee of a fill may be."""
        return FeeBounds(-self.max_rebate_share, self.max_fee_share)

    @field_validator("sources", mode="before")
    @classmethod
    def _from_list(cls, value: object) -> object:
        return tuple(value) if isinstance(value, list) else value

    @field_validator("sources")
    @classmethod
    def _once_each(cls, value: tuple[PositionSource, ...]) -> tuple[PositionSource, ...]:
        if not value or len(set(value)) != len(value):
            raise ValueError("name each source once; write for example [exchange, import, modelled]")
        return value
