import tempfile
from datetime import UTC, datetime, timedelta

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_pipeline.adapters.frames.store import FrameStore
from mm_pipeline.domain.months import month_start, next_month

FIRST = datetime(2023, 11, 1, tzinfo=UTC)
BAR = timedelta(minutes=15)
BARS_IN_ALL = 2 * 366 * 96

bar_times = st.integers(0, BARS_IN_ALL).map(lambda index: FIRST + index * BAR)


def frame_of(times: list[datetime], column: str) -> pl.DataFrame:
    lag = BAR if column == "evaluated_at" else timedelta(0)
    return pl.DataFrame(
        {column: [time + lag for time in times], "value": [time.timestamp() for time in times]},
        schema={column: pl.Datetime("ms", "UTC"), "value": pl.Float64},
    )


@settings(max_examples=40, deadline=None)
@given(
    times=st.lists(bar_times, unique=True, max_size=30),
    one=bar_times,
    other=bar_times,
    column=st.sampled_from(["open_time", "evaluated_at"]),
)
def test_any_range_read_is_the_rows_of_that_range(
    times: list[datetime], one: datetime, other: datetime, column: str
) -> None:
    start, end = min(one, other), max(one, other) + BAR
    frame = frame_of(sorted(times), column)
    with tempfile.TemporaryDirectory() as root:
        store = FrameStore(root)
        store.write("d", "k", frame, start=FIRST, end=datetime(2026, 1, 1, tzinfo=UTC))
        expected = frame_of([time for time in sorted(times) if start <= time < end], column)
        assert store.read("d", "k", start=start, end=end).equals(expected)


@settings(max_examples=40, deadline=None)
@given(times=st.lists(bar_times, unique=True, max_size=30), at=bar_times)
def test_any_partition_read_with_context_is_what_was_written(times: list[datetime], at: datetime) -> None:
    start, end = month_start(at), next_month(next_month(at))
    frame = frame_of(sorted(time for time in times if time < end), "open_time")
    with tempfile.TemporaryDirectory() as root:
        store = FrameStore(root)
        store.write("d", "k", frame, start=start, end=end)
        assert store.read_with_context("d", "k", start=start, end=end).equals(frame)
        later = store.read_with_context("d", "k", start=next_month(start), end=end)
        assert later.equals(frame)


@settings(max_examples=30, deadline=None)
@given(batches=st.lists(st.lists(st.tuples(bar_times, st.integers(0, 9)), max_size=12), max_size=5))
def test_upserts_in_any_order_keep_the_last_row_of_each_bar(batches: list[list[tuple[datetime, int]]]) -> None:
    expected: dict[datetime, int] = {}
    with tempfile.TemporaryDirectory() as root:
        store = FrameStore(root)
        for batch in batches:
            before = dict(expected)
            expected.update(batch)
            frame = pl.DataFrame(batch, schema={"open_time": pl.Datetime("ms", "UTC"), "close": pl.Int64}, orient="row")
            changed = {month_start(time) for time in expected if before.get(time) != expected[time]}
            assert store.upsert("candles", "k", frame) == sorted(changed)
        assert store.months("candles", "k") == sorted({month_start(time) for time in expected})
        if expected:
            stored = store.read("candles", "k", start=FIRST, end=datetime(2026, 1, 1, tzinfo=UTC))
            assert stored.rows() == sorted(expected.items())
