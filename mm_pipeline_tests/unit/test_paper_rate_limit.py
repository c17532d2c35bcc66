"""The weight pool: a window that opens with its first request."""

from hypothesis import given
from hypothesis import strategies as st

from mm_pipeline.paper.http.rate_limit import RateLimit, WeightPool


class _Time:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_window_opens_with_the_first_request_and_refills_when_it_ends() -> None:
    time = _Time()
    pool = WeightPool(RateLimit(limit=6, window_s=30), monotonic=time)
    time.now_s = 100
    assert pool.take(3).reset_ms == 30_000
    time.now_s = 110
    state = pool.take(3)
    assert (state.is_granted, state.remaining, state.reset_ms, state.used) == (True, 0, 20_000, 6)
    refused = pool.take(3)
    assert (refused.is_granted, refused.remaining) == (False, 0)
    time.now_s = 130
    assert pool.take(3).is_granted


def test_request_heavier_than_the_rest_takes_nothing() -> None:
    pool = WeightPool(RateLimit(limit=5, window_s=30), monotonic=_Time())
    pool.take(3)
    assert not pool.take(3).is_granted
    assert pool.take(2).is_granted


@given(st.lists(st.tuples(st.integers(1, 20), st.floats(0, 10)), max_size=60))
def test_granted_weights_never_exceed_the_limit_in_a_window(requests: list[tuple[int, float]]) -> None:
    time = _Time()
    pool = WeightPool(RateLimit(limit=30, window_s=15), monotonic=time)
    granted, window_ends_s = 0, float("-inf")
    for weight, wait_s in requests:
        time.now_s += wait_s
        if time.now_s >= window_ends_s:
            granted, window_ends_s = 0, time.now_s + 15
        granted += weight if pool.take(weight).is_granted else 0
        assert granted <= 30
