import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from mm_pipeline.adapters.frames.store import FrameMissing, FrameStore
from mm_pipeline.domain.errors import StorageError

MARKET = "kucoin_ETH-USDT"
JAN, FEB, MAR, APR = (datetime(2024, month, 1, tzinfo=UTC) for month in (1, 2, 3, 4))
BAR = timedelta(minutes=15)


@pytest.fixture(params=["local", "memory"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "frames") if request.param == "local" else f"memory://frames-{uuid.uuid4().hex}"


@pytest.fixture
def store(root: str) -> FrameStore:
    return FrameStore(root)


def bars(start: datetime, end: datetime, *, every: timedelta = timedelta(hours=6), close: float = 1.0) -> pl.DataFrame:
    times = pl.datetime_range(start, end, every, closed="left", time_unit="ms", time_zone="UTC", eager=True)
    return pl.DataFrame({"open_time": times, "close": [close] * len(times)}, schema_overrides={"close": pl.Float64})


def evaluations(times: list[datetime]) -> pl.DataFrame:
    return pl.DataFrame({"evaluated_at": times, "state": ["NORMAL"] * len(times)}).cast(
        {"evaluated_at": pl.Datetime("ms", "UTC")}
    )


def test_months_written_are_read_back_as_they_were(store: FrameStore) -> None:
    frame = bars(JAN, MAR)
    store.write("candles", MARKET, frame, start=JAN, end=MAR)
    assert store.read("candles", MARKET, start=JAN, end=MAR).equals(frame)
    assert store.months("candles", MARKET) == [JAN, FEB]
    assert store.keys("candles") == [MARKET]


def test_range_inside_months_filters_rows(store: FrameStore) -> None:
    store.write("candles", MARKET, bars(JAN, MAR), start=JAN, end=MAR)
    start, end = datetime(2024, 1, 20, 6, tzinfo=UTC), datetime(2024, 2, 3, 6, tzinfo=UTC)
    assert store.read("candles", MARKET, start=start, end=end).equals(bars(start, end))


def test_month_without_rows_replaces_what_was_there(store: FrameStore) -> None:
    store.write("candles", MARKET, bars(JAN, MAR), start=JAN, end=MAR)
    store.write("candles", MARKET, bars(JAN, FEB), start=JAN, end=MAR)
    february = store.read("candles", MARKET, start=FEB, end=MAR)
    assert february.is_empty()
    assert february.schema == bars(JAN, FEB).schema
    assert store.months("candles", MARKET) == [JAN, FEB]


def test_evaluation_at_the_first_midnight_belongs_to_the_month_before(store: FrameStore) -> None:
    store.write("exit_states", "eth-v3", evaluations([FEB - BAR, FEB]), start=JAN, end=FEB)
    store.write("exit_states", "eth-v3", evaluations([FEB + BAR]), start=FEB, end=MAR)
    assert store.read("exit_states", "eth-v3", start=JAN, end=FEB)["evaluated_at"].to_list() == [FEB - BAR, FEB]
    assert store.read("exit_states", "eth-v3", start=FEB, end=MAR)["evaluated_at"].to_list() == [FEB + BAR]


def test_row_after_the_range_is_refused_and_nothing_written(store: FrameStore) -> None:
    with pytest.raises(StorageError, match="at or after 2024-02-01"):
        store.write("candles", MARKET, bars(JAN, FEB + BAR), start=JAN, end=FEB)
    assert store.months("candles", MARKET) == []


@pytest.mark.parametrize(
    ("start", "end"), [(JAN + BAR, FEB), (JAN, FEB - BAR), (FEB, JAN), (JAN.replace(tzinfo=None), FEB)]
)
def test_range_that_is_not_whole_months_is_refused(store: FrameStore, start: datetime, end: datetime) -> None:
    with pytest.raises(StorageError, match="range of"):
        store.write("candles", MARKET, bars(FEB, FEB), start=start, end=end)


def test_rows_before_the_range_are_context_not_rows(store: FrameStore) -> None:
    frame = bars(JAN, MAR)
    store.write("bars", MARKET, frame, start=FEB, end=MAR)
    assert store.months("bars", MARKET) == [FEB]
    assert store.read("bars", MARKET, start=JAN, end=MAR).equals(bars(FEB, MAR))
    assert store.read_with_context("bars", MARKET, start=FEB, end=MAR).equals(frame)


def test_context_wins_over_earlier_months_that_happen_to_exist(store: FrameStore) -> None:
    store.write("bars", MARKET, bars(JAN, FEB, close=1.0), start=JAN, end=FEB)
    late = datetime(2024, 1, 30, tzinfo=UTC)
    store.write("bars", MARKET, bars(late, MAR, close=2.0), start=FEB, end=MAR)
    assert store.read_with_context("bars", MARKET, start=FEB, end=MAR).equals(bars(late, MAR, close=2.0))


def test_month_inside_a_longer_write_takes_the_months_before_it_and_their_context(store: FrameStore) -> None:
    store.write("bars", MARKET, bars(JAN, MAR, close=9.0), start=FEB, end=MAR)
    frame = bars(JAN - timedelta(days=3), APR)
    store.write("bars", MARKET, frame, start=JAN, end=APR)
    assert store.read_with_context("bars", MARKET, start=MAR, end=APR).equals(frame)
    recent = store.read_with_context("bars", MARKET, start=MAR, end=APR, context_start=FEB + BAR * 24)
    assert recent.equals(bars(FEB + BAR * 24, APR))


def test_context_stops_at_a_month_that_is_missing(store: FrameStore) -> None:
    store.upsert("candles", MARKET, pl.concat([bars(JAN, FEB), bars(MAR, APR + timedelta(days=2))]))
    april = store.read_with_context("candles", MARKET, start=APR, end=APR + timedelta(days=30))
    assert april.equals(bars(MAR, APR + timedelta(days=2)))


def test_context_start_after_the_range_start_leaves_no_row_out(store: FrameStore) -> None:
    store.upsert("candles", MARKET, bars(JAN, FEB))
    assert store.read_with_context("candles", MARKET, start=JAN, end=FEB, context_start=FEB).equals(bars(JAN, FEB))


def test_nothing_written_is_missing_with_the_mend(store: FrameStore) -> None:
    for read in (store.read, store.read_with_context):
        with pytest.raises(FrameMissing, match=rf"candles of {MARKET}.*mm backfill"):
            read("candles", MARKET, start=JAN, end=FEB)
    with pytest.raises(FrameMissing):
        store.metadata("candles", MARKET, JAN)
    assert store.keys("candles") == []


def test_upsert_later_row_supersedes_and_reports_its_month(store: FrameStore) -> None:
    assert store.upsert("candles", MARKET, bars(JAN, MAR)) == [JAN, FEB]
    revised = bars(FEB, FEB + timedelta(hours=6), close=7.0)
    assert store.upsert("candles", MARKET, revised) == [FEB]
    stored = store.read("candles", MARKET, start=JAN, end=MAR)
    assert stored.filter(pl.col("close") == 7.0)["open_time"].to_list() == [FEB]
    assert stored["open_time"].equals(bars(JAN, MAR)["open_time"])


def test_upsert_of_what_is_stored_touches_no_month(store: FrameStore) -> None:
    store.upsert("candles", MARKET, bars(JAN, MAR))
    assert store.upsert("candles", MARKET, bars(JAN, MAR)) == []
    assert store.upsert("candles", MARKET, bars(JAN, JAN)) == []


def test_upsert_out_of_order_with_duplicates_is_sorted_and_unique(store: FrameStore) -> None:
    frame = pl.concat([bars(JAN, FEB, close=1.0), bars(JAN, FEB, close=2.0)]).reverse()
    store.upsert("candles", MARKET, frame)
    assert store.read("candles", MARKET, start=JAN, end=FEB).equals(bars(JAN, FEB, close=1.0))


def test_metadata_is_kept_with_every_month(store: FrameStore) -> None:
    hashes = {"settings_hash": "ab12", "code_version": "0.1.0"}
    store.write("bars", MARKET, bars(JAN, MAR), start=JAN, end=MAR, metadata=hashes)
    assert [store.metadata("bars", MARKET, month) for month in (JAN, FEB)] == [hashes, hashes]


@pytest.mark.parametrize("name", ["..", "../x", "a/b", "", ".hidden", "a\\b", "/etc", "a\n", "x" * 101, "a b", "é"])
def test_name_unfit_for_a_path_is_refused(store: FrameStore, name: str) -> None:
    with pytest.raises(StorageError, match="cannot be part of a path"):
        store.write("candles", name, bars(JAN, FEB), start=JAN, end=FEB)
    with pytest.raises(StorageError, match="cannot be part of a path"):
        store.read(name, MARKET, start=JAN, end=FEB)


@pytest.mark.parametrize(
    "frame",
    [
        pl.DataFrame({"close": [1.0]}),
        bars(JAN, FEB).with_columns(pl.col("open_time").dt.cast_time_unit("us")),
        bars(JAN, FEB).with_columns(pl.col("open_time").dt.replace_time_zone(None)),
        bars(JAN, FEB).with_columns(open_time=pl.lit(None, pl.Datetime("ms", "UTC"))),
    ],
    ids=["absent", "microseconds", "naive", "null"],
)
def test_frame_without_a_proper_time_is_refused(store: FrameStore, frame: pl.DataFrame) -> None:
    with pytest.raises(StorageError, match="open_time"):
        store.write("candles", MARKET, frame, start=JAN, end=FEB)


def test_months_of_positions_may_be_of_several_versions(store: FrameStore) -> None:
    older, newer = bars(JAN, FEB), bars(FEB, MAR).with_columns(risk=pl.struct(a=pl.lit(1.0), b=pl.lit(2)))
    store.write("positions", MARKET, older.with_columns(risk=pl.struct(a=pl.lit(3.0))), start=JAN, end=FEB)
    store.write("positions", MARKET, newer, start=FEB, end=MAR)
    whole = store.read("positions", MARKET, start=JAN, end=MAR)
    assert whole.height == older.height + newer.height
    assert whole.row(0, named=True)["risk"] == {"a": 3.0, "b": None}


@pytest.mark.parametrize("newer_first", [True, False])
def test_column_that_one_version_lacks_is_null_there(store: FrameStore, newer_first: bool) -> None:
    wider = bars(JAN, FEB).with_columns(volume=pl.lit(1.0)) if newer_first else bars(JAN, FEB)
    other = bars(FEB, MAR) if newer_first else bars(FEB, MAR).with_columns(volume=pl.lit(1.0))
    store.write("bars", MARKET, wider, start=JAN, end=FEB)
    store.write("bars", MARKET, other, start=FEB, end=MAR)
    volume = store.read("bars", MARKET, start=JAN, end=MAR)["volume"]
    assert volume.is_null().sum() == (other if newer_first else wider).height
    assert volume.is_not_null().sum() == (wider if newer_first else other).height


def test_months_whose_types_do_not_fit_are_refused_with_the_hint(store: FrameStore) -> None:
    store.write("bars", MARKET, bars(JAN, FEB).with_columns(volume=pl.lit("much")), start=JAN, end=FEB)
    store.write("bars", MARKET, bars(FEB, MAR).with_columns(volume=pl.lit(1.0)), start=FEB, end=MAR)
    with pytest.raises(StorageError, match=r"do not fit together.*mm backfill"):
        store.read("bars", MARKET, start=JAN, end=MAR)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_truncated_file_is_an_error_naming_file_and_mend(tmp_path: Path, share: float) -> None:
    store = FrameStore(str(tmp_path))
    store.write("bars", MARKET, bars(JAN, FEB), start=JAN, end=FEB)
    file = tmp_path / "bars" / MARKET / "2024-01.parquet"
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])
    cut = file.read_bytes()
    with pytest.raises(StorageError, match=rf"{file}.*mm backfill"):
        store.read("bars", MARKET, start=JAN, end=FEB)
    file.write_bytes(cut)
    with pytest.raises(StorageError, match=str(file)):
        store.metadata("bars", MARKET, JAN)
    file.write_bytes(cut)
    with pytest.raises(StorageError, match=str(file)):  # rows of the month would be lost with it
        store.upsert("bars", MARKET, bars(JAN, FEB))


def test_leftover_of_a_killed_write_is_not_a_month(tmp_path: Path) -> None:
    store = FrameStore(str(tmp_path))
    store.write("bars", MARKET, bars(JAN, FEB), start=JAN, end=FEB)
    (tmp_path / "bars" / MARKET / ".2024-02.parquet.0f.tmp").write_bytes(b"half")
    (tmp_path / "bars" / "not a key").mkdir()
    assert store.months("bars", MARKET) == [JAN]
    assert store.keys("bars") == [MARKET]


def test_write_leaves_no_temporary_file(tmp_path: Path) -> None:
    FrameStore(str(tmp_path)).write("bars", MARKET, bars(JAN, MAR), start=JAN, end=MAR)
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".json") == [
        "2024-01.parquet",
        "2024-01.parquet",
        "2024-02.parquet",
    ]


def test_remote_with_real_folders_is_given_the_missing_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FrameStore(str(tmp_path))
    monkeypatch.setattr(store._files, "_is_local", False)  # the way of file servers, on a disk that is at hand
    for _ in range(2):
        store.write("bars", MARKET, bars(JAN, MAR), start=JAN, end=MAR)
    assert store.read("bars", MARKET, start=JAN, end=MAR).equals(bars(JAN, MAR))
    assert not list(tmp_path.rglob("*.tmp"))


def test_unknown_protocol_is_refused_with_the_mend() -> None:
    with pytest.raises(StorageError, match="fsspec package"):
        FrameStore("nonsense://frames")
