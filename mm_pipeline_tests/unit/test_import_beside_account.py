"""An import never costs what the account itself tells: it is read for grids that are left, in an attempt of its own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from mm_pipeline.adapters.account import FrameFills
from mm_pipeline.application import account_positions as module
from mm_pipeline.application.read_accounts import Accounts
from mm_pipeline.domain.account import PositionSource
from mm_pipeline.domain.errors import ConflictingFills
from mm_pipeline.domain.market import Market

MARKET = Market("kucoin", "ETH/USDT")


@pytest.fixture
def looking(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A look at two grids whose imported fills cannot be read."""

    def conflict(_store: object, _account: str, _market: Market) -> None:
        raise ConflictingFills("trade 1 was told in two ways.")

    monkeypatch.setattr(FrameFills, "fills", conflict)
    sources = (PositionSource.EXCHANGE, PositionSource.IMPORT, PositionSource.MODELLED)
    settings = SimpleNamespace(account=SimpleNamespace(sources=sources))
    watch = SimpleNamespace(settings=settings, frames_root=str(tmp_path))
    grids = {"one": object(), "two": object()}
    return module._MarketAccount(watch, None, Accounts(), MARKET, grids, {}, True)  # type: ignore[arg-type]


@pytest.mark.parametrize("told", [{"one"}, {"one", "two"}])
def test_import_that_cannot_be_read_leaves_what_the_account_told(
    looking: Any, told: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def on_exchange(_looking: object, grids: dict[str, object]) -> dict[str, object]:
        return {name: name if name in told else None for name in grids}

    monkeypatch.setattr(module._MarketAccount, "_on_exchange", on_exchange)
    assert looking.seen() == {name: name for name in told}
    problems = set() if len(told) == 2 else {f"{MARKET} (import)"}
    assert set(looking.accounts.problems) == problems
