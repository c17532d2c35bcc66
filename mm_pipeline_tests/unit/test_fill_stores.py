"""One suite for every store of fills and flows: append-only by their ids, the span last, nothing torn."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mm_pipeline.adapters.account import FrameFills, MemoryFills
from mm_pipeline.adapters.account import fill_stores as module
from mm_pipeline.domain.account import FillStore, ReadSpan
from mm_pipeline.domain.errors import ConflictingFills, ConflictingFlows, FrameDamaged, StorageError
from mm_pipeline.domain.market import Market
from mm_pipeline_tests.account_samples import fill, flow

MARKET = Market("kucoin", "ETH/USDT")
ACCOUNT = "kucoin-1"
MONTH_MS = 32 * 86_400_000
FILLS = [
    fill(1, "buy", 100.0),
    fill(2, "sell", 110.0, fee=0.1),
    fill(3, "buy", 100.0, time_ms=fill(3, "buy", 1.0).time_ms + MONTH_MS),
]
FLOWS = [flow(1, 100.0), flow(2, -0.5, currency="ETH"), flow(3, -7.25, time_ms=flow(3, 1.0).time_ms + MONTH_MS)]

Opener = Callable[[], FillStore]


@pytest.fixture(params=["memory", "files"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    """Opens the store as another process would, where the kind can."""
    memory = MemoryFills()
    return (lambda: memory) if request.param == "memory" else (lambda: FrameFills(str(tmp_path)))


def test_nothing_kept_is_no_fills_and_no_span(opened: Opener) -> None:
    assert opened().fills(ACCOUNT, MARKET) == []
    assert opened().span(ACCOUNT, MARKET) is None


def test_kept_fills_come_back_in_order_with_their_span(opened: Opener) -> None:
    assert opened().append(ACCOUNT, MARKET, FILLS[::-1], span=ReadSpan(1, 2)) == 3
    assert opened().fills(ACCOUNT, MARKET) == FILLS
    assert opened().span(ACCOUNT, MARKET) == ReadSpan(1, 2)


def test_known_fills_are_not_kept_twice(opened: Opener) -> None:
    opened().append(ACCOUNT, MARKET, FILLS[:2], span=None)
    assert opened().append(ACCOUNT, MARKET, [*FILLS[1:], FILLS[2]], span=ReadSpan(1, 9)) == 1
    assert opened().fills(ACCOUNT, MARKET) == FILLS


def test_fill_that_is_told_otherwise_later_changes_nothing(opened: Opener) -> None:
    opened().append(ACCOUNT, MARKET, FILLS[:1], span=ReadSpan(1, 2))
    with pytest.raises(ConflictingFills, match="trade 1"):
        opened().append(ACCOUNT, MARKET, [replace(FILLS[0], price=101.0), FILLS[1]], span=ReadSpan(1, 3))
    assert opened().fills(ACCOUNT, MARKET) == FILLS[:1]
    assert opened().span(ACCOUNT, MARKET) == ReadSpan(1, 2)


def test_fill_that_is_told_otherwise_in_another_month_changes_nothing(opened: Opener) -> None:
    opened().append(ACCOUNT, MARKET, FILLS[:1], span=None)
    other = replace(FILLS[0], time_ms=FILLS[0].time_ms + MONTH_MS, price=101.0)
    with pytest.raises(ConflictingFills, match="trade 1"):
        opened().append(ACCOUNT, MARKET, [other], span=None)
    assert opened().fills(ACCOUNT, MARKET) == FILLS[:1]


def test_accounts_and_markets_do_not_mix(opened: Opener) -> None:
    opened().append(ACCOUNT, MARKET, FILLS[:1], span=ReadSpan(1, 2))
    for account, market in (("kucoin-2", MARKET), (ACCOUNT, Market("kucoin", "BTC/USDT"))):
        assert opened().fills(account, market) == []
        assert opened().span(account, market) is None


def test_account_that_would_leave_the_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be part of a path"):
        FrameFills(str(tmp_path)).fills("../other", MARKET)


def test_months_without_new_fills_are_not_written_again(tmp_path: Path) -> None:
    FrameFills(str(tmp_path)).append(ACCOUNT, MARKET, FILLS, span=None)
    files = sorted(tmp_path.rglob("*.parquet"))
    before = {path.name: path.stat().st_ino for path in files}
    FrameFills(str(tmp_path)).append(ACCOUNT, MARKET, [*FILLS, fill(9, "buy", 100.0)], span=None)
    after = {path.name: path.stat().st_ino for path in files}
    assert [path.name for path in files] == ["2025-01.parquet", "2025-02.parquet"]
    assert [name for name in before if before[name] != after[name]] == ["2025-01.parquet"]


def test_write_that_ends_halfway_leaves_the_span_of_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FrameFills(str(tmp_path))
    store.append(ACCOUNT, MARKET, FILLS[:1], span=ReadSpan(1, 2))

    replaced: list[str] = []
    put_in_place = module.FrameFiles._put_in_place

    def dies_before_the_last(self: object, temporary: str, path: str) -> None:
        if path.endswith("span.parquet"):
            raise KeyboardInterrupt
        replaced.append(path)
        put_in_place(self, temporary, path)  # type: ignore[arg-type]

    monkeypatch.setattr(module.FrameFiles, "_put_in_place", dies_before_the_last)
    with pytest.raises(KeyboardInterrupt):
        store.append(ACCOUNT, MARKET, FILLS, span=ReadSpan(1, 9))
    monkeypatch.undo()
    again = FrameFills(str(tmp_path))
    assert len(replaced) == 2
    assert again.span(ACCOUNT, MARKET) == ReadSpan(1, 2)
    assert again.append(ACCOUNT, MARKET, FILLS, span=ReadSpan(1, 9)) == 0
    assert again.fills(ACCOUNT, MARKET) == FILLS
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize("damage", [Path.unlink, lambda file: file.write_bytes(file.read_bytes()[:-9])])
def test_lost_month_is_named_and_read_from_the_account_again(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    store = FrameFills(str(tmp_path))
    span = ReadSpan(FILLS[0].time_ms, FILLS[-1].time_ms)
    store.append("main", MARKET, FILLS, span=span)
    (file,) = tmp_path.rglob("2025-01.parquet")
    damage(file)
    with contextlib.suppress(FrameDamaged):  # the first reader moves it aside
        store.fills("main", MARKET)
    assert store.lost("main", MARKET) == ["2025-01"]
    assert store.span("main", MARKET) is None
    store.append("main", MARKET, FILLS, span=span)
    assert store.fills("main", MARKET) == FILLS
    assert (store.lost("main", MARKET), store.span("main", MARKET)) == ([], span)


def test_no_flows_kept_is_no_span_either(opened: Opener) -> None:
    assert opened().flows(ACCOUNT) == []
    assert opened().flow_span(ACCOUNT) is None


def test_kept_flows_come_back_in_order_once_each_with_their_span(opened: Opener) -> None:
    assert opened().append_flows(ACCOUNT, FLOWS[1::-1], span=ReadSpan(1, 2)) == 2
    assert opened().append_flows(ACCOUNT, [*FLOWS[1:], FLOWS[2]], span=ReadSpan(1, 9)) == 1
    assert opened().flows(ACCOUNT) == FLOWS
    assert opened().flow_span(ACCOUNT) == ReadSpan(1, 9)


def test_flow_that_is_told_otherwise_later_changes_nothing(opened: Opener) -> None:
    opened().append_flows(ACCOUNT, FLOWS[:1], span=ReadSpan(1, 2))
    with pytest.raises(ConflictingFlows, match="ledger entry 1"):
        opened().append_flows(ACCOUNT, [replace(FLOWS[0], amount=101.0), FLOWS[1]], span=ReadSpan(1, 3))
    assert opened().flows(ACCOUNT) == FLOWS[:1]
    assert opened().flow_span(ACCOUNT) == ReadSpan(1, 2)


def test_flows_and_fills_and_other_accounts_do_not_mix(opened: Opener) -> None:
    opened().append_flows(ACCOUNT, FLOWS, span=ReadSpan(1, 2))
    opened().append("kucoin-2", MARKET, FILLS, span=ReadSpan(3, 4))
    assert (opened().flows("kucoin-2"), opened().flow_span("kucoin-2")) == ([], None)
    assert (opened().fills(ACCOUNT, MARKET), opened().span(ACCOUNT, MARKET)) == ([], None)


def test_flows_are_in_files_by_account_and_month(tmp_path: Path) -> None:
    FrameFills(str(tmp_path)).append_flows(ACCOUNT, FLOWS, span=ReadSpan(1, 2))
    files = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.parquet"))
    assert files == [f"account_flows/{ACCOUNT}/{name}.parquet" for name in ("2025-01", "2025-02", "span")]
