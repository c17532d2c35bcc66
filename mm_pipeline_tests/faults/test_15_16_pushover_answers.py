"""Rows 15 and 16 of the reliability table at the channel: which of Pushover's answers may be tried again, and when."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from mm_pipeline.adapters.channels.pushover import PushoverChannel
from mm_pipeline.domain.notifications.channel import ChannelError, Message
from mm_pipeline.paper.http.faults import PAGE_BAD_GATEWAY, ErrorStatus, TruncatedJson
from mm_pipeline.paper.http.http_server import HttpServer
from mm_pipeline.paper.http.wire import Answer
from mm_pipeline.paper.pushover import AcceptedMessage, PaperPushover

pytestmark = pytest.mark.fault

TOKEN, USER = "t0kEn" * 6, "uSeR9" * 6
PAGE = Message(page_id="p1", title="MANDATORY_EXIT eth", text="exit", priority=1, at=datetime(2026, 3, 1, tzinfo=UTC))
MESSAGES = "/1/messages.json"


@pytest.fixture
def server() -> Iterator[PaperPushover]:
    with PaperPushover(token=TOKEN, user=USER) as pushover:
        yield pushover


def channel_to(api_url: str, *, read_timeout_s: float = 0.4, deadline_s: float = 0.6) -> PushoverChannel:
    return PushoverChannel(
        "phone", token=TOKEN, user=USER, api_url=api_url, read_timeout_s=read_timeout_s, deadline_s=deadline_s
    )


def refusal(channel: PushoverChannel) -> ChannelError:
    with pytest.raises(ChannelError) as caught:
        channel.send(PAGE)
    return caught.value


def spoilt(fault: Any) -> Callable[[PaperPushover], None]:
    def spoil(server: PaperPushover) -> None:
        server.faults.add(fault, path_contains=MESSAGES, times=1)

    return spoil


TRANSIENT: dict[str, Callable[[PaperPushover], None]] = {
    "500": lambda server: server.fail_next(status=500),
    "502 page": lambda server: server.fail_next(status=502, body=PAGE_BAD_GATEWAY),
    "503 claiming success": lambda server: server.fail_next(status=503, body={"status": 1}),
    "201": lambda server: server.fail_next(status=201, body={"status": 1}),
    "200 page": lambda server: server.fail_next(status=200, body="<html>maintenance</html>"),
    "200 empty": lambda server: server.fail_next(status=200, body=""),
    "200 list": lambda server: server.fail_next(status=200, body="[1]"),
    "200 without status": lambda server: server.fail_next(status=200, body={"result": "ok"}),
    "200 nested past parsing": lambda server: server.fail_next(status=200, body="[" * 60_000),
    "200 null": lambda server: server.fail_next(status=200, body="null"),
    "truncated": spoilt(TruncatedJson()),
    "reset": lambda server: server.hang_up_next(is_reset=True),
    "closed": lambda server: server.hang_up_next(),
    "silent": lambda server: server.hang_next(),
    "dripped": lambda server: server.drip_next(pause_s=0.2),
}


@pytest.mark.parametrize("go_wrong", TRANSIENT.values(), ids=TRANSIENT.keys())
def test_15_failure_may_be_repeated_no_sooner_than_five_seconds_later(
    server: PaperPushover, go_wrong: Callable[[PaperPushover], None]
) -> None:
    channel = channel_to(server.url)
    go_wrong(server)
    error = refusal(channel)
    assert not error.is_final
    assert error.retry_after_s >= 5.0
    assert len(server.requests) == 1  # the channel itself repeats nothing
    assert channel.send(PAGE).request == server.messages[-1].request


def test_15_error_then_success_is_one_delivery(server: PaperPushover) -> None:
    channel = channel_to(server.url)
    server.fail_next(status=500)
    assert not refusal(channel).is_final
    accepted = channel.send(PAGE)
    assert [record.status for record in server.requests] == [500, 200]
    assert [message.request for message in server.messages] == [accepted.request]


def test_15_server_that_is_away_may_be_tried_again(server: PaperPushover) -> None:
    channel = channel_to(server.url)
    server.stop()
    error = refusal(channel)
    assert not error.is_final
    assert error.retry_after_s >= 5.0
    assert "refused" in error.problem.lower()
    server.start()
    channel.send(PAGE)
    assert len(server.messages) == 1


def test_15_unknown_host_may_be_tried_again() -> None:
    error = refusal(channel_to("http://pushover.invalid:80", deadline_s=5.0))
    assert not error.is_final
    assert error.retry_after_s >= 5.0


@pytest.mark.parametrize(("go_wrong", "read_timeout_s", "pause_s"), [("silent", 0.6, 0.4), ("dripped", 5.0, 0.0)])
def test_15_deadline_holds_on_the_wall_clock_and_frees_the_connection(
    server: PaperPushover, go_wrong: str, read_timeout_s: float, pause_s: float
) -> None:
    # A dripped answer ends no read, and would hold its connection for 15 s.
    channel = channel_to(server.url, read_timeout_s=read_timeout_s, deadline_s=0.4)
    for _ in range(3):  # more than there are connections
        TRANSIENT[go_wrong](server)
        start_s = time.monotonic()
        error = refusal(channel)
        assert 0.3 < time.monotonic() - start_s < 1.4
        assert "in full within 0.4 s" in error.problem
        assert not error.is_final
        time.sleep(pause_s)
    channel.send(PAGE)
    assert len(server.messages) == 4


def test_15_answer_lost_after_the_message_was_taken_says_that_nobody_knows(server: PaperPushover) -> None:
    server.hang_up_next()
    error = refusal(channel_to(server.url))
    assert len(server.messages) == 1
    assert not error.is_final
    assert "may have been taken" in str(error)


def test_15_no_more_than_two_requests_run_at_one_time(server: PaperPushover) -> None:
    both_are_in, released = threading.Barrier(2), threading.Event()

    def hold(_message: AcceptedMessage) -> None:
        if not released.is_set():
            both_are_in.wait(5)
            time.sleep(0.2)  # a third would come in now
            released.set()

    server.on_accepted = hold
    channel = channel_to(server.url, read_timeout_s=5.0, deadline_s=10.0)
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: channel.send(PAGE), range(6)))
    assert len(server.messages) == 6
    assert server.most_at_once == 2


def test_15_request_that_gets_no_connection_in_time_is_never_sent(server: PaperPushover) -> None:
    released = threading.Event()
    server.on_accepted = lambda _message: released.wait(5)
    channel = channel_to(server.url, read_timeout_s=5.0, deadline_s=0.4)
    with ThreadPoolExecutor(3) as pool:
        errors = list(pool.map(lambda _: refusal(channel), range(3)))
    assert sorted("earlier requests" in error.problem for error in errors) == [False, False, True]
    assert not any(error.is_final for error in errors)
    released.set()
    server.on_accepted = None
    end_s = time.monotonic() + 5
    while len(server.requests) < 2 and time.monotonic() < end_s:
        time.sleep(0.01)
    assert len(server.requests) == len(server.messages) == 2


FINAL: dict[str, tuple[int, dict[str, Any]]] = {
    "400": (400, {"status": 0, "user": "invalid", "errors": ["user identifier is not valid"]}),
    "401": (401, {"status": 0, "errors": ["denied"]}),
    "404": (404, {"status": 0, "errors": ["no such application"]}),
    "408": (408, {"status": 0, "errors": ["too slow"]}),
    "413": (413, {"status": 0, "errors": ["too large"]}),
    "429": (429, {"status": 0, "errors": ["over quota"]}),
    "400 claiming success": (400, {"status": 1, "errors": ["odd"]}),
    "200 with status 0": (200, {"status": 0, "errors": ["device is not valid"]}),
}


@pytest.mark.parametrize(("status", "body"), FINAL.values(), ids=FINAL.keys())
def test_16_refusal_is_final_and_told_in_pushovers_words(
    server: PaperPushover, status: int, body: dict[str, Any]
) -> None:
    server.fail_next(5, status=status, body=body)
    error = refusal(channel_to(server.url))
    assert error.is_final
    assert body["errors"][0] in error.problem
    assert error.problem.startswith("channel phone: ")
    assert error.hint
    assert len(server.requests) == 1
    assert server.messages == ()


def test_16_refusal_in_another_form_is_final_too(server: PaperPushover) -> None:
    server.fail_next(status=403, body="<html>forbidden</html>")
    assert refusal(channel_to(server.url)).is_final


def test_16_used_up_quota_is_final_and_named(server: PaperPushover) -> None:
    server.account.monthly_limit = 1
    channel = channel_to(server.url)
    assert channel.send(PAGE).quota_remaining == 0
    error = refusal(channel)
    assert error.is_final
    assert "quota" in error.problem


def test_redirect_is_not_followed_so_keys_go_nowhere_else(server: PaperPushover) -> None:
    asked: list[str] = []

    def elsewhere(_method: str, target: str, _headers: dict[str, str], _body: bytes) -> Answer:
        asked.append(target)
        return Answer(payload={"status": 1, "request": "stolen"})

    other = HttpServer("127.0.0.1", 0, elsewhere)
    other.start()
    try:
        moved = ErrorStatus(status=307, payload={}, headers={"Location": f"http://127.0.0.1:{other.server_port}/x"})
        server.faults.add(moved, path_contains=MESSAGES, times=1)
        assert not refusal(channel_to(server.url)).is_final
    finally:
        other.stop()
    assert asked == []


def test_14_lost_answer_is_unclear_and_a_refused_connection_is_not(server: PaperPushover) -> None:
    channel = channel_to(server.url)
    server.hang_up_next()
    lost = refusal(channel)
    assert (lost.is_final, lost.is_unclear, len(server.messages)) == (False, True, 1)
    for status, is_unclear in ((500, False), (502, True), (504, True)):
        server.fail_next(status=status)
        assert refusal(channel).is_unclear is is_unclear
    server.stop()
    refused = refusal(channel)
    assert (refused.is_final, refused.is_unclear) == (False, False)
