"""Whether the settings look where an account trades: through which order API, in which mode, behind which orders."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Final, NamedTuple

from mm_pipeline.adapters.account.kucoin_client import KucoinAccountClient
from mm_pipeline.adapters.exchange.retries import Asking
from mm_pipeline.domain.account import AccountPolicy, Balance, OpenOrder, OrderApi, OrderApis, Side

_LOOKED_BACK: Final = timedelta(days=7)
"""One question for fills; KuCoin refuses more."""
_HAIR: Final = 1e-6


class StateProblem(NamedTuple):
    """What the settings miss of an account, and what to write."""

    seen: str
    hint: str
    is_certain: bool


@dataclass(frozen=True, kw_only=True)
class AccountState:
    """What an account shows of some symbols, whatever the settings say.

    Attributes
    ----------
    is_hf_opened
        Whether it may trade through the hf API.
    is_unified
        Whether it is in KuCoin's unified mode; None where the exchange does not tell.
    orders, fills
        By order API: what rests now, and how many fills the last week saw.
    balances
        Of its spot accounts.
    """

    is_hf_opened: bool
    is_unified: bool | None
    orders: Mapping[OrderApi, Sequence[OpenOrder]]
    fills: Mapping[OrderApi, int]
    balances: Sequence[Balance]

    def problems(self, setting: OrderApis) -> list[StateProblem]:
        """What is wrong with ``account.order_api``, or with the account's mode."""
        if self.is_unified:
            return [
                StateProblem(
                    "the account is in unified mode: its orders and fills are not in the spot lists that are read",
                    "Trade the grids from an account in classic mode, or import their fills (mm import-fills).",
                    is_certain=True,
                )
            ]
        used = [api for api in OrderApi if self.orders[api] or self.fills[api]]
        unread = [api for api in used if api not in setting.read]
        if unread:
            wanted = OrderApis.BOTH if len(used) > 1 else OrderApis(used[0].value)
            return [self._wrong_api(setting, api, wanted) for api in unread]
        if setting is OrderApis.HF and not self.is_hf_opened:
            seen = "order_api is hf, and the account has no hf account opened"
            return [StateProblem(seen, "Write account.order_api: classic.", is_certain=True)]
        return self._held_behind_nothing(setting)

    def _wrong_api(self, setting: OrderApis, api: OrderApi, wanted: OrderApis) -> StateProblem:
        seen = (
            f"order_api is {setting.value}, and {len(self.orders[api])} orders rest and {self.fills[api]} fills of the "
            f"last 7 days are told through {api.value} alone"
        )
        return StateProblem(seen, f"Write account.order_api: {wanted.value}.", is_certain=True)

    def _held_behind_nothing(self, setting: OrderApis) -> list[StateProblem]:
        """Base that is locked, and no resting order of either API explains it."""
        resting = [order for orders in self.orders.values() for order in orders]
        found = []
        for balance in self.balances:
            sells = [
                order for order in resting if order.side is Side.SELL and order.symbol.split("/")[0] == balance.currency
            ]
            behind = math.fsum(order.remaining_base for order in sells)
            if balance.locked > behind + _HAIR * balance.total:
                found.append(
                    StateProblem(
                        f"{balance.locked - behind:,.6g} {balance.currency} are locked behind no order that is listed "
                        f"(order_api {setting.value})",
                        "Look for stop or OCO orders, a withdrawal, or another account mode on the exchange.",
                        is_certain=False,
                    )
                )
        return found


def read_state(
    asking: Asking[KucoinAccountClient], symbols: Sequence[str], *, now_ms: int, policy: AccountPolicy
) -> AccountState:
    """Ask both order APIs about symbols, the newest page of fills each, and the account for its mode."""
    client, rows = asking.client, policy.page_rows
    start_ms = now_ms - _LOOKED_BACK // timedelta(milliseconds=1)
    listed = [symbol for symbol in symbols if symbol in asking.ask("its symbols", client.symbols)]
    orders: dict[OrderApi, list[OpenOrder]] = {}
    fills: dict[OrderApi, int] = {}
    for api in OrderApi:
        orders[api], fills[api] = [], 0
        for symbol in listed:
            resting = partial(client.open_orders, symbol, rows=rows, api=api)
            orders[api] += asking.ask(f"open orders of {symbol}", resting)
            newest = partial(client.fills, symbol, start_ms=start_ms, end_ms=now_ms, rows=rows, page=None, api=api)
            fills[api] += len(asking.ask(f"fills of {symbol}", newest).items)
    bases = {symbol.split("/")[0] for symbol in listed}
    balances = [one for one in asking.ask("balances", client.balances) if one.currency in bases]
    return AccountState(
        is_hf_opened=asking.ask("whether its hf account is open", client.is_hf_opened),
        is_unified=client.is_unified(),
        orders=orders,
        fills=fills,
        balances=balances,
    )
