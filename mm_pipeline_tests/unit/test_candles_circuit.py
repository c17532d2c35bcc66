"""The circuit breaker's table, and the token bucket and deadline beside it."""

from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_pipeline.adapters.exchange.deadline import Deadline, run_within
from mm_pipeline.adapters.exchange.memory_circuits import MemoryCircuits
from mm_pipeline.adapters.exchange.request_budget import RequestBudget
from mm_pipeline.domain.candles import HEALTHY, CircuitPhase, CircuitState, after_failure, circuit_phase
from mm_pipeline.domain.errors import DeadlineExceeded, MalformedAnswer
from mm_pipeline_tests.candle_samples import exchange_policy

POLICY = exchange_policy(breaker_failures=3, breaker_cool_down="5min")
COOL_DOWN_MS = 300_000


def fail(state: CircuitState, *, now_ms: int = 0, rest_ms: int = 0) -> CircuitState:
    return after_failure(state, now_ms=now_ms, policy=POLICY, problem="no route", rest_ms=rest_ms)


def phase(state: CircuitState, now_ms: int) -> CircuitPhase:
    return circuit_phase(state, now_ms=now_ms, policy=POLICY)


def test_circuit_opens_at_the_threshold_and_half_opens_after_the_cool_down() -> None:
    twice = fail(fail(HEALTHY))
    thrice = fail(twice, now_ms=10)

    assert (phase(HEALTHY, 0), phase(twice, 10)) == (CircuitPhase.CLOSED, CircuitPhase.CLOSED)
    assert phase(thrice, 10) is CircuitPhase.OPEN
    assert phase(thrice, 10 + COOL_DOWN_MS - 1) is CircuitPhase.OPEN
    assert phase(thrice, 10 + COOL_DOWN_MS) is CircuitPhase.HALF_OPEN


def test_failed_trial_opens_the_circuit_again() -> None:
    tripped = fail(fail(fail(HEALTHY)))

    again = fail(tripped, now_ms=COOL_DOWN_MS)

    assert phase(again, COOL_DOWN_MS + 1) is CircuitPhase.OPEN


def test_rate_limit_rests_the_exchange_until_its_reset_and_then_asks_as_before() -> None:
    limited = fail(HEALTHY, rest_ms=20_000)

    assert phase(limited, 19_999) is CircuitPhase.OPEN
    assert phase(limited, 20_000) is CircuitPhase.CLOSED


def test_rest_longer_than_the_cool_down_is_cut() -> None:
    assert phase(fail(HEALTHY, rest_ms=10**9), COOL_DOWN_MS) is CircuitPhase.CLOSED


@given(st.integers(0, 10), st.one_of(st.none(), st.integers(-(10**13), 10**13)), st.integers(0, 2 * 10**12))
def test_no_stored_state_keeps_an_exchange_closed_off_for_longer_than_the_cool_down(
    failures: int, open_until_ms: int | None, now_ms: int
) -> None:
    state = CircuitState(failures, open_until_ms)

    if phase(state, now_ms) is CircuitPhase.OPEN:
        assert phase(state, now_ms + COOL_DOWN_MS) is not CircuitPhase.OPEN


def test_memory_circuits_know_nothing_at_first_and_what_was_saved_then() -> None:
    circuits = MemoryCircuits()
    state = fail(HEALTHY)

    circuits.save("kucoin", state, at_ms=0)

    assert (circuits.load("kucoin"), circuits.load("binance")) == (state, HEALTHY)


def test_budget_lets_the_burst_through_and_then_spaces_requests() -> None:
    waits: list[float] = []
    now = [0.0]

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        now[0] += seconds

    budget = RequestBudget(requests_per_s=2.0, burst_requests=3, now_s=lambda: now[0], sleep=sleep)
    for _ in range(5):
        budget.acquire()
    now[0] += 100.0
    for _ in range(3):
        budget.acquire()

    assert waits == pytest.approx([0.5, 0.5])


def test_budget_is_shared_by_waiting_callers() -> None:
    waits: list[float] = []
    budget = RequestBudget(requests_per_s=4.0, burst_requests=1, now_s=lambda: 0.0, sleep=waits.append)

    for _ in range(4):
        budget.acquire()

    assert waits == pytest.approx([0.25, 0.5, 0.75])


def test_work_done_in_time_gives_its_result_and_its_errors() -> None:
    def fails(_: Deadline) -> None:
        raise MalformedAnswer("half a page")

    assert run_within(5.0, lambda _: 7) == 7
    with pytest.raises(MalformedAnswer):
        run_within(5.0, fails)


def test_work_that_hangs_is_given_up_with_its_last_problem_and_may_ask_nothing_more() -> None:
    released, ended = threading.Event(), threading.Event()
    seen: list[Exception] = []

    def hangs(deadline: Deadline) -> None:
        deadline.last_problem = MalformedAnswer("half a page")
        released.wait(10.0)
        try:
            deadline.check()
        except DeadlineExceeded as error:
            seen.append(error)
        ended.set()

    started_s = time.monotonic()
    with pytest.raises(DeadlineExceeded, match=r"within 0.05 s.*half a page"):
        run_within(0.05, hangs)

    assert time.monotonic() - started_s < 5.0
    released.set()
    assert ended.wait(10.0)
    assert len(seen) == 1
