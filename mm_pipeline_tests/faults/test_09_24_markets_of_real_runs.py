"""Rows 9 and 24 through the whole job over HTTP: missing and quiet bars, a market that goes, and summer time."""

from __future__ import annotations

import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from mm_pipeline.adapters.candles.candle_store import CandleStore
from mm_pipeline.domain.instants import to_ms
from mm_pipeline.paper.http.bar_edits import drop_bar, revise_bar
from mm_pipeline.paper.http.faults import EditedBars, RemovedSymbol
from mm_pipeline_tests.clock_samples import AT, BAR, ClockedInstallation, calm_market, clocked, crashing
from mm_pipeline_tests.dagster_samples import BTC, DAGSTER_WARNINGS, ETH, ranging_candles
from mm_pipeline_tests.delivery_process import ENVIRONMENT

pytestmark = [pytest.mark.fault, *DAGSTER_WARNINGS]

CANDLES = "market/candles"
DAY = timedelta(days=1)
MANDATORY, UNKNOWN = "MANDATORY_EXIT", "UNKNOWN"


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, key in ENVIRONMENT.items():
        monkeypatch.setenv(name, key)


def reasons(watch: ClockedInstallation, grid: str, at: datetime) -> str:
    """Why the newest row of an evaluation says what it says."""
    with watch.journal() as journal:
        return " ".join([row for row in journal.evaluations(grid, since=at) if row.evaluated_at == at][-1].reasons)


def bars_of(watch: ClockedInstallation, since: datetime, until: datetime) -> pl.DataFrame:
    """The bars of ETH/USDT that a run reads from the home."""
    stored = CandleStore(watch.store).bars(ETH, start_ms=to_ms(since - DAY), end_ms=to_ms(until))
    return stored.bars.filter(pl.col("open_time").is_between(since, until, closed="left"))


def test_09_missing_bar_is_synthetic_once_asked_for_again_and_one_without_trades_is_a_bar(tmp_path: Path) -> None:
    missing, quiet = AT - 3 * BAR, AT - 2 * BAR
    with clocked(tmp_path, calm_market()) as watch:
        assert watch.paper is not None
        watch.paper.faults.add(EditedBars(edit=drop_bar(to_ms(missing))), path_contains=CANDLES)
        watch.paper.faults.add(EditedBars(edit=revise_bar(to_ms(quiet), volume=0.0)), path_contains=CANDLES)
        watch.tick_shown(AT)
        assert watch.states() == {AT: UNKNOWN}
        assert f"1 bar of {ETH} from {missing:%Y-%m-%d %H:%M}" in reasons(watch, "eth", AT)

        watch.tick_shown(AT + BAR)
        assert watch.states()[AT + BAR] == "NORMAL"
        bars = bars_of(watch, missing, AT)
    assert bars["open_time"].to_list() == [missing, quiet, AT - BAR]
    assert bars["is_synthetic"].to_list() == [True, False, False]
    assert (bars["volume"] > 0).to_list() == [False, False, True]
    assert watch.messages() == []


def test_24_delisted_market_is_named_and_the_other_grid_goes_on(tmp_path: Path) -> None:
    others = {BTC: crashing(calm_market(), AT + BAR)}
    with clocked(tmp_path, calm_market(), others) as watch:
        assert watch.paper is not None
        watch.grid("btc", symbol="BTC/USDT", started_at="2024-03-01T00:00:00Z")
        watch.tick_shown(AT)
        watch.paper.faults.add(RemovedSymbol(symbol="ETH/USDT"), path_contains="/kucoin/")
        for bars in (1, 2):
            watch.tick_shown(AT + bars * BAR)
        assert "does not list ETH/USDT" in reasons(watch, "eth", AT + 2 * BAR)
        assert watch.states("eth")[AT + 2 * BAR] == UNKNOWN
        assert list(watch.states("btc").values()) == ["NORMAL", "NORMAL", MANDATORY]
        assert {(told[0], told[1]) for told in watch.told()} == {(UNKNOWN, AT + 2 * BAR), (MANDATORY, AT + 2 * BAR)}
        (blind,) = [message for message in watch.messages() if message.title.startswith(UNKNOWN)]
    assert "does not list ETH/USDT" in blind.text


def test_24_day_on_which_summer_time_begins_has_96_evaluations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    day = datetime(2024, 3, 31, tzinfo=UTC)
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        with clocked(tmp_path, ranging_candles(datetime(2024, 1, 20, tzinfo=UTC), 80)) as watch:
            watch.grid("eth", started_at="2024-03-30T00:00:00Z")
            watch.tick_shown(day)
            watch.tick_shown(day + DAY)
            states = watch.states(since=day + BAR)
            with watch.journal() as journal:
                rows = Counter(row.evaluated_at for row in journal.evaluations("eth", since=day + BAR))
    finally:
        monkeypatch.undo()
        time.tzset()
    assert list(states) == [day + number * BAR for number in range(1, 97)]
    assert set(rows.values()) == {1}
    assert UNKNOWN not in states.values()
