"""Row 28: a start in the future, or a file that is gone, ends no watch in silence; through the real job."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from mm_pipeline.adapters.config.grid_files import load_grids
from mm_pipeline.application.operator.status import grid_statuses
from mm_pipeline.paper.clock import PaperClock
from mm_pipeline.paper.http.http_server import HttpServer
from mm_pipeline.paper.http.wire import Answer
from mm_pipeline.paper.pushover import PaperPushover
from mm_pipeline_tests.dagster_samples import BTC, DAGSTER_WARNINGS, ETH, FixedSources, metadata_of, ranging_candles
from mm_pipeline_tests.delivery_process import ENVIRONMENT
from mm_pipeline_tests.paging_samples import AT, BAR, MINUTE, START, PagingInstallation, calm_market, with_price

pytestmark = [pytest.mark.fault, *DAGSTER_WARNINGS]

BELOW_STOP = 2750.0
MANDATORY, UNKNOWN = "MANDATORY_EXIT", "UNKNOWN"
GONE = "BLIND on eth: its file cannot be used"
LONG_AGO = AT - timedelta(days=1)


@pytest.fixture(scope="module")
def calm() -> pl.DataFrame:
    return calm_market()


@pytest.fixture(scope="module")
def calm_btc() -> pl.DataFrame:
    return ranging_candles(START, 80, seed=5, price=90_000.0)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture(autouse=True)
def monitor(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    server = HttpServer("127.0.0.1", 0, lambda *_: Answer(status=200, payload={}))
    server.start()
    monkeypatch.setenv("MM_HEARTBEAT_URL", f"http://127.0.0.1:{server.server_port}/beat")
    yield
    server.stop()


@pytest.fixture
def watch(
    tmp_path: Path, calm: pl.DataFrame, calm_btc: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> Iterator[PagingInstallation]:
    for name, key in ENVIRONMENT.items():
        monkeypatch.setenv(name, key)
    with PaperPushover(clock=PaperClock.standing(AT)) as pushover:
        made = PagingInstallation(tmp_path, FixedSources({ETH: calm, BTC: calm_btc}), pushover=pushover)
        made.grid("eth")
        made.grid("btc", symbol="BTC/USDT", lower=87_000, upper=93_000, stop_loss=84_000)
        yield made


def tick(watch: PagingInstallation, instance: dg.DagsterInstance, *bars: int) -> str:
    """Live runs so many bars after ``AT``; what the last said of the heartbeat."""
    heartbeat = ""
    for bar in bars:
        heartbeat = str(metadata_of(watch.tick(AT + bar * BAR, instance), "deliveries")["heartbeat"])
    return heartbeat


def shown(watch: PagingInstallation, now: datetime) -> dict[str, tuple[str, str]]:
    """State and first reason of each grid in ``mm status``."""
    lateness = timedelta(minutes=20)
    with watch.journal() as journal:
        folder = load_grids(watch.folder / "grids")
        found = grid_statuses(journal, folder, now=now, max_lateness=lateness, overdue_after=lateness)
    return {one.report.grid_id: (one.report.state, (*one.report.reasons, "")[0]) for one in found}


def told(watch: PagingInstallation, grid: str = "eth") -> list[tuple[str, datetime, int]]:
    """Notice, evaluation and number of every page about one grid."""
    with watch.journal() as journal:
        made = journal.notifications.decisions(grid, since=AT)
    return [
        (one.decision.notice.value, one.decision.evaluated_at, one.decision.number)
        for one in made
        if one.decision.is_told
    ]


def pages(watch: PagingInstallation, notice: str) -> list[str]:
    """Texts of the pages with one notice."""
    with watch.journal() as journal:
        return [page.text for page in journal.notifications.pages(since=AT, notice=notice)]


def started(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


@pytest.mark.parametrize("ahead", [timedelta(hours=8), timedelta(days=365)], ids=["a slip of the zone", "of the year"])
def test_28_start_in_the_future_is_unknown_paged_and_withholds_the_heartbeat(
    watch: PagingInstallation, instance: dg.DagsterInstance, calm: pl.DataFrame, ahead: timedelta
) -> None:
    assert tick(watch, instance, 0) == "sent"
    watch.grid("eth", started_at=started(AT + ahead))
    watch.sources.candles[ETH] = with_price(calm, BELOW_STOP, AT)
    heartbeat = tick(watch, instance, 1, 2, 3)

    assert list(watch.states().values())[1:] == [UNKNOWN] * 3
    assert told(watch) == [(UNKNOWN, AT + 2 * BAR, 1)]
    (text,) = pages(watch, UNKNOWN)
    assert "starts in the future" in text
    assert heartbeat.startswith("withheld: eth starts in the future")
    state, reason = shown(watch, AT + 3 * BAR + MINUTE)["eth"]
    assert state == UNKNOWN
    assert f"{AT + ahead:%Y-%m-%d %H:%M} UTC" in reason
    with watch.journal() as journal:
        newest = journal.last_evaluation("eth")
    assert newest is not None
    assert any("eth.yaml: started_at" in told for told in newest.reasons)

    watch.grid("eth", started_at=started(AT + BAR))
    assert tick(watch, instance, 4) == "sent"
    assert watch.states()[AT + 4 * BAR] == MANDATORY  # the price is below the stop of the range that has begun
    assert told(watch)[-1] == (MANDATORY, AT + 4 * BAR, 1)


def test_28_start_at_the_next_evaluation_is_no_slip(watch: PagingInstallation, instance: dg.DagsterInstance) -> None:
    watch.grid("eth", started_at=started(AT + BAR))
    assert tick(watch, instance, 0) == "sent"
    assert watch.states() == {}
    assert tick(watch, instance, 1) == "sent"
    assert list(watch.states()) == [AT + BAR]


def test_28_disabling_ends_what_is_said_of_a_start_in_the_future(
    watch: PagingInstallation, instance: dg.DagsterInstance
) -> None:
    watch.grid("eth", started_at=started(AT + timedelta(days=300)))
    assert tick(watch, instance, 0).startswith("withheld")
    watch.grid("eth", started_at=started(AT + timedelta(days=300)), enabled=False)
    assert tick(watch, instance, 1, 2, 3) == "sent"
    assert told(watch) == []
    assert "eth" not in shown(watch, AT + 3 * BAR + MINUTE)


def test_28_removed_file_is_unknown_paged_and_withholds_the_heartbeat_until_it_is_retired(
    watch: PagingInstallation, instance: dg.DagsterInstance
) -> None:
    tick(watch, instance, 0)
    (watch.folder / "grids" / "eth.yaml").unlink()
    heartbeat = tick(watch, instance, 1, 2, 3)

    assert list(watch.states().values())[1:] == [UNKNOWN] * 3
    assert UNKNOWN not in watch.states("btc").values()
    assert told(watch) == [(UNKNOWN, AT + 2 * BAR, 1)]
    (text,) = pages(watch, UNKNOWN)
    assert "no longer watched" in text
    assert "mm grids retire eth" in heartbeat
    assert shown(watch, AT + 3 * BAR + MINUTE)["eth"][0] == UNKNOWN

    with watch.journal() as journal:
        assert journal.retire_grid("eth", AT + 3 * BAR + 2 * MINUTE, by="me")
    assert tick(watch, instance, 4) == "sent"
    assert list(watch.states())[-1] == AT + 3 * BAR
    assert "eth" not in shown(watch, AT + 4 * BAR + MINUTE)


def test_28_removed_file_keeps_a_standing_emergency_in_force(
    watch: PagingInstallation, instance: dg.DagsterInstance, calm: pl.DataFrame
) -> None:
    watch.sources.candles[ETH] = with_price(calm, BELOW_STOP, AT - BAR)
    tick(watch, instance, 0)
    (watch.folder / "grids" / "eth.yaml").unlink()
    tick(watch, instance, 1, 2, 12)
    # The model was stopped out: said once, and never called off while nobody watches. Closes outside are a new reason.
    assert told(watch) == [(MANDATORY, AT, 1), (MANDATORY, AT + 11 * BAR, 2)]
    (alarm,) = [page for page in watch.messages() if page.title == GONE]
    assert "its file is gone" in alarm.text


def test_28_stop_breached_under_a_removed_file_is_an_emergency(
    watch: PagingInstallation, instance: dg.DagsterInstance, calm: pl.DataFrame
) -> None:
    tick(watch, instance, 0)
    (watch.folder / "grids" / "eth.yaml").unlink()
    tick(watch, instance, 1)
    assert watch.states()[AT + BAR] == UNKNOWN
    watch.sources.candles[ETH] = with_price(calm, BELOW_STOP, AT + BAR)
    heartbeat = tick(watch, instance, 2, 3)
    assert list(watch.states().values())[2:] == [MANDATORY] * 2
    assert told(watch) == [(MANDATORY, AT + 2 * BAR, 1)]
    (text,) = pages(watch, MANDATORY)
    assert "its file is gone" in text
    assert heartbeat.startswith("withheld: eth no longer watched")
    state, reason = shown(watch, AT + 3 * BAR + MINUTE)["eth"]
    assert (state, "its file is gone" in reason) == (MANDATORY, True)
    assert GONE in [page.title for page in watch.messages()]


def test_28_file_that_comes_back_goes_on_where_it_was(
    watch: PagingInstallation, instance: dg.DagsterInstance, calm: pl.DataFrame
) -> None:
    tick(watch, instance, 0)
    (watch.folder / "grids" / "eth.yaml").unlink()
    # The stop is touched while nobody watches.
    watch.sources.candles[ETH] = with_price(calm, BELOW_STOP, AT + BAR, AT + 2 * BAR)
    tick(watch, instance, 1, 2)
    watch.grid("eth")
    assert tick(watch, instance, 3) == "sent"
    assert watch.states()[AT + 3 * BAR] == MANDATORY


def test_28_grid_in_another_file_is_no_removal(watch: PagingInstallation, instance: dg.DagsterInstance) -> None:
    tick(watch, instance, 0)
    (watch.folder / "grids" / "eth.yaml").rename(watch.folder / "grids" / "my range.yml")
    assert tick(watch, instance, 1, 2) == "sent"
    assert set(watch.states().values()) == {"NORMAL"}


def test_28_new_id_leaves_the_old_one_unknown_until_it_is_retired(
    watch: PagingInstallation, instance: dg.DagsterInstance
) -> None:
    tick(watch, instance, 0)
    (watch.folder / "grids" / "eth.yaml").unlink()
    watch.grid("eth-new")
    heartbeat = tick(watch, instance, 1, 2)
    assert heartbeat.startswith("withheld: eth no longer watched")
    assert watch.states()[AT + 2 * BAR] == UNKNOWN
    assert watch.states("eth-new")[AT + 2 * BAR] == "NORMAL"


def test_28_lost_folder_blinds_every_grid_and_is_paged_once(
    watch: PagingInstallation, instance: dg.DagsterInstance
) -> None:
    tick(watch, instance, 0)
    (watch.folder / "grids").rename(watch.folder / "elsewhere")
    tick(watch, instance, 1, 2)
    assert {watch.states(grid)[AT + 2 * BAR] for grid in ("eth", "btc")} == {UNKNOWN}
    (text,) = pages(watch, UNKNOWN)
    assert "grid folder" in text


def test_28_stop_breached_under_an_unreadable_file_is_an_emergency(
    watch: PagingInstallation, instance: dg.DagsterInstance, calm: pl.DataFrame
) -> None:
    tick(watch, instance, 0)
    watch.grid("eth", lower="no number")
    tick(watch, instance, 1)
    assert watch.states()[AT + BAR] == UNKNOWN
    watch.sources.candles[ETH] = with_price(calm, BELOW_STOP, AT + BAR)
    tick(watch, instance, 2)
    assert watch.states()[AT + 2 * BAR] == MANDATORY
    assert told(watch) == [(MANDATORY, AT + 2 * BAR, 1)]
    with watch.journal() as journal:
        newest = journal.last_evaluation("eth")
    assert newest is not None
    assert "stop_loss_breached" in newest.fired
    assert "eth.yaml: lower" in newest.reasons[0]


def test_28_broken_edit_of_a_disabled_grid_alarms_and_withholds_the_heartbeat(
    watch: PagingInstallation, instance: dg.DagsterInstance
) -> None:
    watch.grid("eth", enabled=False)
    assert tick(watch, instance, 0) == "sent"
    file = watch.folder / "grids" / "eth.yaml"
    file.write_text(file.read_text().replace("enabled: false", "enabled: true").replace("levels:", "levles:"))
    heartbeat = tick(watch, instance, 1)
    assert heartbeat.startswith("withheld: the file of eth cannot be used")
    assert "levels" in heartbeat
    tick(watch, instance, 2)
    titles = [page.title for page in watch.messages()]
    assert "BLIND on eth: its file cannot be used" in titles

    watch.grid("eth")
    assert tick(watch, instance, 3) == "sent"


def test_28_empty_folder_alarms_and_withholds_the_heartbeat(
    watch: PagingInstallation, instance: dg.DagsterInstance
) -> None:
    for file in (watch.folder / "grids").iterdir():
        file.unlink()
    assert tick(watch, instance, 0).startswith("withheld: the file of the grid folder cannot be used")
    tick(watch, instance, 1)
    assert "BLIND on the grid folder: its file cannot be used" in [page.title for page in watch.messages()]
