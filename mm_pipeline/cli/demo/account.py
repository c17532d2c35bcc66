"""The demo's account: the paper exchange's own bot trades the demo's KuCoin grids, and a key that may only read."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from mm_pipeline.cli.demo.markets import DEMO_MARKETS, demo_grid

if TYPE_CHECKING:
    from mm_pipeline.paper.trading.account import PaperAccount

KEY_VARIABLES: Final = ("MM_DEMO_KUCOIN_KEY", "MM_DEMO_KUCOIN_SECRET", "MM_DEMO_KUCOIN_PASSPHRASE")
_VALUES: Final = ("demo-key", "demo-secret", "demo-passphrase")
_FREE_USDT: Final = 500
"""What the account holds beside the capital of its grids."""


def demo_account(now: datetime) -> PaperAccount:
    """The account with the enabled KuCoin grids, traded since they started."""
    from mm_pipeline.paper.trading.account import PaperAccount, PaperKey

    traded = [demo for demo in DEMO_MARKETS if demo.is_enabled and demo.market.exchange == "kucoin"]
    grids = [demo_grid(demo, now=now) for demo in traded]
    capital = sum((Decimal(str(grid.capital)) for grid in grids), Decimal(0))
    key, secret, passphrase = _VALUES
    return PaperAccount(
        keys=[PaperKey(key=key, secret=secret, passphrase=passphrase)],
        balances={"USDT": capital + _FREE_USDT},
        grids=grids,
    )


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Variables of the environment for as long as the block lasts."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def account_keys() -> dict[str, str]:
    """The reading key of the demo's account, by the variables that its settings name."""
    return dict(zip(KEY_VARIABLES, _VALUES, strict=True))
