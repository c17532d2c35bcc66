"""Row 45: a stored file that is flipped, cut, emptied, swapped or deleted is noticed, and its market alone pays."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from mm_pipeline.adapters.config.home import frames_dir
from mm_pipeline.adapters.frames.files import DAMAGED_FOLDER
from mm_pipeline.adapters.frames.store import FrameMissing, FrameStore
from mm_pipeline.domain.candles import RAW_SCHEMA
from mm_pipeline.domain.errors import ExchangeUnavailable, FrameDamaged, StorageError
from mm_pipeline_tests.dagster_samples import BTC, DAGSTER_WARNINGS, ETH, FixedSources, Installation, ranging_candles

pytestmark = [pytest.mark.fault, *DAGSTER_WARNINGS]

JAN, FEB, MAR = (datetime(2025, month, 1, tzinfo=UTC) for month in (1, 2, 3))
AT = datetime(2025, 3, 3, 14, tzinfo=UTC)
BAR_MIN = 15
FLIPS = 300
DOWN = ExchangeUnavailable("the exchange is away.", "Wait.")


@pytest.fixture(scope="module")
def months() -> pl.DataFrame:
    return ranging_candles(JAN, 59, seed=5).select(list(RAW_SCHEMA))


@pytest.fixture
def stored(tmp_path: Path, months: pl.DataFrame) -> tuple[FrameStore, Path]:
    store = FrameStore(str(tmp_path))
    store.write("candles", "kucoin_ETH-USDT", months, start=JAN, end=MAR, metadata={"settings_hash": "ab12"})
    return store, tmp_path / "candles" / "kucoin_ETH-USDT" / "2025-02.parquet"


def read(store: FrameStore) -> pl.DataFrame:
    return store.read("candles", "kucoin_ETH-USDT", start=FEB, end=MAR)


def test_45_every_single_bit_flip_is_noticed(stored: tuple[FrameStore, Path]) -> None:
    store, file = stored
    whole, draw = file.read_bytes(), random.Random(45)  # noqa: S311
    # The last bytes hold metadata, the checksum among it: some flips hit that too.
    bits = [draw.randrange(len(whole) * 8) for _ in range(FLIPS)]
    bits += [draw.randrange((len(whole) - 600) * 8, len(whole) * 8) for _ in range(100)]
    unnoticed = []
    for bit in bits:
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        file.write_bytes(flipped)
        try:
            read(store)
            unnoticed.append(bit)
        except FrameDamaged:
            pass
    file.write_bytes(whole)
    assert unnoticed == []
    assert read(store).height > 0


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99, 0.9999])
def test_45_cut_or_emptied_file_is_moved_aside_and_named(stored: tuple[FrameStore, Path], share: float) -> None:
    store, file = stored
    cut = file.read_bytes()[: int(file.stat().st_size * share)]
    file.write_bytes(cut)
    with pytest.raises(FrameDamaged, match=rf"{file}.*moved to.*{DAMAGED_FOLDER}"):
        read(store)
    (kept,) = (file.parents[2] / DAMAGED_FOLDER).rglob("2025-02.parquet.*")
    assert kept.read_bytes() == cut
    with pytest.raises(FrameMissing, match="candles of 2025-02 of kucoin_ETH-USDT are missing"):
        read(store)
    assert list(store.losses("candles", "kucoin_ETH-USDT")) == [FEB]


def test_45_two_months_swapped_are_noticed_though_each_is_whole(stored: tuple[FrameStore, Path]) -> None:
    store, february = stored
    january = february.with_name("2025-01.parquet")
    first, second = january.read_bytes(), february.read_bytes()
    january.write_bytes(second)
    february.write_bytes(first)
    assert list(store.losses("candles", "kucoin_ETH-USDT")) == [JAN, FEB]


def test_45_file_of_another_market_is_noticed(stored: tuple[FrameStore, Path], months: pl.DataFrame) -> None:
    store, file = stored
    store.write("candles", "kucoin_BTC-USDT", months, start=JAN, end=MAR)
    file.write_bytes((file.parents[1] / "kucoin_BTC-USDT" / file.name).read_bytes())
    with pytest.raises(FrameDamaged):
        read(store)


def test_45_files_of_an_earlier_version_are_read_and_get_a_checksum_at_the_next_write(
    tmp_path: Path, months: pl.DataFrame
) -> None:
    folder = tmp_path / "candles" / "kucoin_ETH-USDT"
    folder.mkdir(parents=True)
    february = months.filter(pl.col("open_time") >= FEB)
    february.write_parquet(folder / "2025-02.parquet", metadata={"settings_hash": "old"})
    store = FrameStore(str(tmp_path))
    assert read(store).equals(february)
    store.upsert("candles", "kucoin_ETH-USDT", months.filter(pl.col("open_time") < FEB))
    assert read(store).equals(february)
    assert store.metadata("candles", "kucoin_ETH-USDT", FEB) == {"settings_hash": "old"}
    whole = (folder / "2025-02.parquet").read_bytes()
    (folder / "2025-02.parquet").write_bytes(whole[:200] + bytes([whole[200] ^ 1]) + whole[201:])
    with pytest.raises(FrameDamaged):
        read(store)
    february.write_parquet(folder / "2025-02.parquet")  # whole, but not what was written here
    with pytest.raises(FrameDamaged):
        read(store)


def test_45_damaged_list_costs_no_file(stored: tuple[FrameStore, Path]) -> None:
    store, file = stored
    list_file = file.with_name(".written.json")
    for content in (b"", b"{", list_file.read_bytes().replace(b"2025-01", b"2025-09")):
        list_file.write_bytes(content)
        assert store.losses("candles", "kucoin_ETH-USDT") == {}
        assert read(store).height > 0


class Watched:
    """Two markets with a grid each, ticked once; the second month of ETH is then damaged."""

    def __init__(self, folder: Path) -> None:
        start = datetime(2024, 12, 20, tzinfo=UTC)
        candles = {ETH: ranging_candles(start, 80, seed=3), BTC: ranging_candles(start, 80, seed=4)}
        self.made = Installation(folder, FixedSources(candles))
        self.made.grid("eth")
        self.made.grid("btc", symbol="BTC/USDT")
        self.file = frames_dir(self.made.home) / "candles" / ETH.path_key / "2025-02.parquet"

    def states(self, at: datetime) -> dict[str, str]:
        with self.made.journal() as journal:
            return {row.grid: row.state for row in journal.evaluations(since=at)}

    def reasons(self, at: datetime) -> str:
        with self.made.journal() as journal:
            return " ".join(reason for row in journal.evaluations("eth", since=at) for reason in row.reasons)


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)


@pytest.mark.parametrize("damage", [flip, Path.unlink, lambda file: file.write_bytes(b"")])
def test_45_damaged_month_is_fetched_again_within_the_tick(
    watched: Watched, instance: dg.DagsterInstance, damage: object
) -> None:
    watched.made.tick_once(AT)
    before = watched.made.store.read("candles", ETH.path_key, start=FEB, end=MAR)
    damage(watched.file)  # type: ignore[operator]
    later = AT + (datetime(2025, 1, 1, 0, BAR_MIN, tzinfo=UTC) - JAN)
    watched.made.tick(later, instance)
    assert watched.states(later) == {"eth": "NORMAL", "btc": "NORMAL"}
    assert watched.made.store.read("candles", ETH.path_key, start=FEB, end=MAR).equals(before)
    assert watched.made.store.losses("candles", ETH.path_key) == {}
    with watched.made.journal() as journal:
        pages = journal.notifications.pages(since=JAN, notice="ALARM")
    assert any("2025-02" in page.text and "kucoin:ETH/USDT" in page.text for page in pages)


@pytest.mark.parametrize("damage", [flip, Path.unlink])
def test_45_month_that_cannot_be_had_again_makes_its_market_unknown_by_name_and_no_other(
    watched: Watched, instance: dg.DagsterInstance, damage: object
) -> None:
    watched.made.tick_once(AT)
    damage(watched.file)  # type: ignore[operator]
    watched.made.sources.problems = {ETH: DOWN}
    later = AT + (datetime(2025, 1, 1, 0, BAR_MIN, tzinfo=UTC) - JAN)
    watched.made.tick(later, instance)
    assert watched.states(later) == {"eth": "UNKNOWN", "btc": "NORMAL"}
    assert "the candles of 2025-02 of kucoin:ETH/USDT are" in watched.reasons(later)
    assert "no infinity" not in watched.reasons(later)
    watched.made.sources.problems = {}
    again = later + (later - AT)
    watched.made.tick(again, instance)
    assert watched.states(again) == {"eth": "NORMAL", "btc": "NORMAL"}


@pytest.mark.parametrize("dataset", ["quarantine", "candle_starts", "exit_states", "positions", "regime_metrics_1h"])
def test_45_other_damaged_frames_stop_no_grid(watched: Watched, instance: dg.DagsterInstance, dataset: str) -> None:
    watched.made.tick_once(AT)
    files = sorted((frames_dir(watched.made.home) / dataset).rglob("*.parquet"))
    for file in files:
        flip(file)
    later = AT + (datetime(2025, 1, 1, 0, BAR_MIN, tzinfo=UTC) - JAN)
    watched.made.tick(later, instance)
    assert watched.states(later) == {"eth": "NORMAL", "btc": "NORMAL"}


OF_GRID = ("positions", "risk", "grid_analysis", "exit_states", "notifications", "deliveries")
OF_MARKET = ("candles", "regime_metrics_1h", "regime_4h")
JUDGED_ALL_THE_SAME = ("exit_states", "notifications", "deliveries")
"""What a tick writes, and reads nothing from: the state is known, and is told."""


def unreadable(watched: Watched, dataset: str) -> Path:
    """A folder where a file of ETH should be: what root too cannot read."""
    key = ETH.path_key if dataset in OF_MARKET else "eth"
    file = frames_dir(watched.made.home) / dataset / key / "2025-03.parquet"
    file.unlink(missing_ok=True)
    file.mkdir(parents=True)
    return file


@pytest.mark.parametrize("dataset", [*OF_GRID, *OF_MARKET])
def test_45_unreadable_file_costs_its_own_grid_or_market_and_is_named(
    watched: Watched, instance: dg.DagsterInstance, dataset: str
) -> None:
    watched.made.tick_once(AT)
    file = unreadable(watched, dataset)
    later = AT + (datetime(2025, 1, 1, 0, BAR_MIN, tzinfo=UTC) - JAN)
    watched.made.tick(later, instance)
    expected = "NORMAL" if dataset in JUDGED_ALL_THE_SAME else "UNKNOWN"
    assert watched.states(later) == {"eth": expected, "btc": "NORMAL"}
    with watched.made.journal() as journal:
        pages = journal.notifications.pages(since=JAN, notice="ALARM")
    assert not any(page.title.startswith("BLIND") for page in pages)
    told = watched.reasons(later) if expected == "UNKNOWN" else " ".join(page.text for page in pages)
    assert f"{file} cannot be read" in told
    assert file.is_dir(), "nothing was written in its place"

    file.rmdir()
    again = later + (later - AT)
    watched.made.tick(again, instance)
    assert watched.states(again) == {"eth": "NORMAL", "btc": "NORMAL"}


@pytest.mark.parametrize("dataset", ["positions", *JUDGED_ALL_THE_SAME])
def test_45_unreadable_file_keeps_no_page_back(tmp_path: Path, instance: dg.DagsterInstance, dataset: str) -> None:
    watched = Watched(tmp_path)
    for grid, symbol in (("eth", "ETH/USDT"), ("btc", "BTC/USDT")):
        watched.made.grid(grid, symbol=symbol, lower=3900, upper=4100, stop_loss=3800)
    unreadable(watched, dataset)
    watched.made.tick(AT, instance)
    with watched.made.journal() as journal:
        pages = journal.notifications.pages(since=JAN, notice="MANDATORY_EXIT")
    paged = {grid for page in pages for grid in page.grids}
    assert paged == ({"btc", "eth"} if dataset in JUDGED_ALL_THE_SAME else {"btc"})


def test_45_damage_on_a_store_that_cannot_be_changed_is_named(
    stored: tuple[FrameStore, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, file = stored
    flip(file)
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError(30, "Read-only file system")))
    with pytest.raises(StorageError, match="could not be moved aside"):
        read(store)
    assert list(store.losses("candles", "kucoin_ETH-USDT")) == [FEB]
