"""What a study declares: a grid relative to the price, when it is placed, and by which policies it is judged."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Final

import numpy as np
from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from mm_pipeline.domain.errors import ConfigError
from mm_pipeline.domain.grid import Spacing
from mm_pipeline.domain.market import Market
from mm_pipeline.domain.policy import Policy, threshold

_STUDY: Final = "the study's file"
_POLICY: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}|\S.*\.ya?ml")
_MADE_ANEW_BY: Final = ("placed", "when_over", "template")


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


Texts = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]


class PlacedEvery(StrEnum):
    """When a grid is placed: at 00:00 UTC on the first of each month, or on each Monday."""

    MONTHLY = "monthly"
    WEEKLY = "weekly"


class WhenOver(StrEnum):
    """What follows a grid before the next date.

    ``stay_out``: nothing follows one that was stopped, and one that has sold everything keeps its orders.
    ``place_anew``: the next one is placed at the close at which it was stopped, or had sold everything.
    """

    STAY_OUT = "stay_out"
    PLACE_ANEW = "place_anew"


class Distance(Policy):
    """A distance in price, by one of two measures."""

    pct: float | None = threshold(unit="% of the price at placement", source=_STUDY, default=None, gt=0, le=50)
    atr_4h: float | None = threshold(unit="ATR(14) of 4h bars at placement", source=_STUDY, default=None, gt=0, le=100)

    @model_validator(mode="after")
    def _has_one_measure(self) -> Distance:
        if (self.pct is None) == (self.atr_4h is None):
            raise ValueError("it needs one measure; write either {pct: 5.0} or {atr_4h: 6.0}")
        return self

    def quote(self, price_quote: float, atr_4h_quote: float) -> float:
        """The distance in quote; NaN where it is measured in an ATR that is not known."""
        if self.pct is not None:
            return price_quote * self.pct / 100
        return float(self.atr_4h or np.nan) * atr_4h_quote


class GridTemplate(Policy):
    """A grid relative to the price at which it is placed.

    ``half_width`` reaches from the price to either bound, ``stop_distance`` from the lower bound down to the stop.
    """

    half_width: Distance
    levels: int = threshold(unit="prices", source=_STUDY, ge=2, le=1000)
    spacing: Annotated[Spacing, Field(strict=False)]
    stop_distance: Distance
    capital: float = threshold(unit="quote", source=_STUDY, gt=0)
    fee: float = threshold(unit="fraction of a fill, a side; a rebate below 0", source=_STUDY, ge=-0.001, le=0.05)


class StudyDeclaration(Policy):
    """A study file: which grids are placed, from when on, and by which policies they are judged.

    Attributes
    ----------
    markets
        As ``kucoin:ETH/USDT``; no two with the same base, which names the grids.
    candles
        Files of 15m candles; a market without a file is asked from its exchange.
    policies
        Names of packaged policies, or paths of policy files.
    first_month
        First month (UTC) in which a grid is placed, ``2024-01``.
    """

    markets: Texts
    candles: Texts = ()
    placed: Annotated[PlacedEvery, Field(strict=False)]
    when_over: Annotated[WhenOver, Field(strict=False)]
    policies: Texts
    first_month: Annotated[str, Field(pattern=r"^20[0-9]{2}-(0[1-9]|1[0-2])$")]
    template: GridTemplate

    @field_validator("markets", "policies")
    @classmethod
    def _names_some_once(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if not value:
            raise ValueError(f"it names no {_ONE_OF[str(info.field_name)]}; write at least one")
        twice = [name for name, count in Counter(value).items() if count > 1]
        if twice:
            raise ValueError(f"{twice[0]} is named twice; keep one of the two")
        return value

    @field_validator("markets")
    @classmethod
    def _names_markets(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        bases: dict[str, str] = {}
        for text in value:
            try:
                base = base_of(Market.parse(text))
            except ConfigError as error:
                raise ValueError(f"{error.problem.removesuffix('.')}; {error.hint}") from error
            if base in bases:
                raise ValueError(
                    f"{bases[base]} and {text} have the same base, by which grids are named; "
                    "write a study of its own for one of them"
                )
            bases[base] = text
        return value

    @field_validator("policies")
    @classmethod
    def _names_policies(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            if not _POLICY.fullmatch(text):
                raise ValueError(f"{text!r} is no policy; write a name like calibrated, or the path of a .yaml file")
        return value

    @property
    def all_markets(self) -> tuple[Market, ...]:
        """The markets, in the order of the file."""
        return tuple(Market.parse(text) for text in self.markets)

    @property
    def hash(self) -> str:
        """First 16 hex digits of the SHA-256 of what decides a market's grids: equal content, equal grids."""
        declared: Mapping[str, Any] = self.model_dump(mode="json")
        content = json.dumps({name: declared[name] for name in _MADE_ANEW_BY}, sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16]


_ONE_OF: Final = {"markets": "market", "policies": "policy"}


def base_of(market: Market) -> str:
    """The base of a market as it begins the ids of its study grids: ``eth``."""
    return market.symbol.partition("/")[0].lower()
