"""The paper Pushover holds clients to the real service's rules: what it refuses, what receipts tell, and the quota."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from mm_pipeline.domain.errors import ConfigError
from mm_pipeline.paper.clock import PaperClock
from mm_pipeline.paper.pushover import AcceptedMessage, PaperPushover
from mm_pipeline.paper.pushover.forms import read_form

NOW = datetime(2026, 3, 31, 12, 0, tzinfo=UTC)
NOW_S = 1_774_958_400
TOKEN, OTHER_TOKEN = "a" * 30, "b" * 30
USER = "u" * 30
PLAIN = {"token": TOKEN, "user": USER, "message": "hello"}
EMERGENCY = {**PLAIN, "priority": "2", "retry": "60", "expire": "3600"}
FOUR_BYTES = "\N{CHART WITH DOWNWARDS TREND}"
PNG = b"\x89PNG\r\n\x1a\n\r\n--\x00\xff" + bytes(range(256))


@pytest.fixture
def server() -> Iterator[PaperPushover]:
    with PaperPushover(clock=PaperClock.standing(NOW), monthly_limit=50) as pushover:
        yield pushover


@pytest.fixture(scope="module")
def http() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        yield session


def post(http: requests.Session, server: PaperPushover, fields: dict[str, str], **more: Any) -> requests.Response:
    return http.post(f"{server.url}/1/messages.json", data=fields, timeout=5, **more)


def receipt_of(http: requests.Session, server: PaperPushover, receipt: str, token: str = TOKEN) -> dict[str, Any]:
    answer = http.get(f"{server.url}/1/receipts/{receipt}.json", params={"token": token}, timeout=5)
    body: dict[str, Any] = answer.json()
    assert answer.status_code == (200 if body["status"] == 1 else 404)
    return body


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"message": FOUR_BYTES * 1024},
        {"title": FOUR_BYTES * 250},
        {"priority": "-2"},
        {"priority": "1"},
        {"timestamp": "1774958400"},
        {"device": "phone,tablet-2"},
        {"url": "x" * 512, "url_title": "y" * 100},
        {"priority": "2", "retry": "30", "expire": "10800"},
        {"priority": "1", "retry": "1"},
    ],
)
def test_message_at_the_limits_is_taken(server: PaperPushover, http: requests.Session, fields: dict[str, str]) -> None:
    answer = post(http, server, {**PLAIN, **fields})
    assert answer.status_code == 200
    assert answer.json()["status"] == 1
    assert len(answer.json()["request"]) == 36
    assert ("receipt" in answer.json()) == (fields.get("priority") == "2")
    assert server.messages[0].at == NOW
    assert server.messages[0].fields == {**PLAIN, **fields}


@pytest.mark.parametrize(
    ("fields", "field", "error"),
    [
        ({"token": "a" * 29}, "token", "application token is invalid"),
        ({"token": "a" * 29 + "!"}, "token", "application token is invalid"),
        ({"token": ""}, "token", "application token is invalid"),
        ({"user": "u" * 31}, "user", "user identifier is not a valid user"),
        ({"message": " "}, "message", "message cannot be blank"),
        ({"message": FOUR_BYTES * 1025}, "message", "maximum is 1024 characters"),
        ({"title": "x" * 251}, "title", "maximum is 250 characters"),
        ({"url": "x" * 513}, "url", "maximum is 512 characters"),
        ({"url_title": "x" * 101}, "url_title", "maximum is 100 characters"),
        ({"priority": "3"}, "priority", "priority is invalid"),
        ({"priority": "-3"}, "priority", "priority is invalid"),
        ({"priority": "high"}, "priority", "priority is invalid"),
        ({"priority": "2", "retry": "60"}, "expire", "expire must be supplied with priority=2"),
        ({"priority": "2", "expire": "60"}, "retry", "retry must be supplied with priority=2"),
        ({"priority": "2", "retry": "29", "expire": "60"}, "retry", "at least 30 seconds"),
        ({"priority": "2", "retry": "30", "expire": "10801"}, "expire", "at most 10800 seconds"),
        ({"timestamp": "yesterday"}, "timestamp", "not a Unix timestamp"),
        ({"device": "my phone"}, "device", "device name is not valid"),
    ],
)
def test_message_that_breaks_a_rule_is_refused_with_its_field(
    server: PaperPushover, http: requests.Session, fields: dict[str, str], field: str, error: str
) -> None:
    answer = post(http, server, {**PLAIN, **fields})
    body = answer.json()
    assert answer.status_code == 400
    assert body["status"] == 0
    assert field in body
    assert len(body["errors"]) == 1
    assert error in body["errors"][0]
    assert server.messages == ()
    assert [record.status for record in server.requests] == [400]


def test_unknown_application_or_user_is_refused_where_they_are_named(http: requests.Session) -> None:
    with PaperPushover(token=TOKEN, user=USER) as server:
        assert post(http, server, PLAIN).status_code == 200
        assert post(http, server, {**PLAIN, "token": OTHER_TOKEN}).json()["errors"] == ["application token is invalid"]
        assert post(http, server, {**PLAIN, "user": "x" * 30}).json()["user"] == "invalid"
        assert len(server.messages) == 1


def test_image_arrives_byte_for_byte(server: PaperPushover, http: requests.Session) -> None:
    text = {"message": "two\r\nlines -- \N{EURO SIGN}"}
    answer = post(http, server, {**PLAIN, **text}, files={"attachment": ("chart.png", PNG, "image/png")})
    assert answer.status_code == 200
    assert server.messages[0].image == PNG
    assert server.messages[0].text == text["message"]
    assert server.messages[0].attachment is not None
    assert server.messages[0].attachment.content_type == "image/png"


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (bytes(5_242_880), "image/png", 200),
        (bytes(5_242_881), "image/png", 413),
        (b"%PDF", "application/pdf", 400),
    ],
)
def test_attachment_of_wrong_size_or_kind_is_refused(
    server: PaperPushover, http: requests.Session, content: bytes, kind: str, status: int
) -> None:
    assert post(http, server, PLAIN, files={"attachment": ("a", content, kind)}).status_code == status
    assert len(server.messages) == (status == 200)


def test_json_body_is_read_and_a_torn_one_refused(server: PaperPushover, http: requests.Session) -> None:
    url = f"{server.url}/1/messages.json"
    assert http.post(url, json={**PLAIN, "priority": 1}, timeout=5).status_code == 200
    assert server.messages[0].priority == 1
    torn = http.post(url, data=b'{"token": ', headers={"Content-Type": "application/json"}, timeout=5)
    assert torn.status_code == 400
    with pytest.raises(ValueError, match="does not end"):
        read_form("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n')


def test_receipt_of_an_acknowledged_emergency_names_who_and_when(server: PaperPushover, http: requests.Session) -> None:
    receipt = post(http, server, EMERGENCY).json()["receipt"]
    open_ = receipt_of(http, server, receipt)
    assert (open_["acknowledged"], open_["expired"], open_["expires_at"]) == (0, 0, NOW_S + 3600)
    assert (open_["acknowledged_at"], open_["last_delivered_at"]) == (0, NOW_S)
    server.clock.advance(timedelta(seconds=150))
    assert receipt_of(http, server, receipt)["last_delivered_at"] == NOW_S + 120
    assert server.acknowledge(receipt, by="m" * 30, device="tablet")
    assert not server.acknowledge(receipt, by=USER)
    server.clock.advance(timedelta(hours=2))
    done = receipt_of(http, server, receipt)
    assert (done["acknowledged"], done["acknowledged_at"], done["last_delivered_at"]) == (1, NOW_S + 150, NOW_S + 120)
    assert (done["acknowledged_by"], done["acknowledged_by_device"]) == ("m" * 30, "tablet")
    assert (done["called_back"], done["called_back_at"]) == (0, 0)


def test_unacknowledged_emergency_expires_by_the_servers_clock_and_is_forgotten_after_a_week(
    server: PaperPushover, http: requests.Session
) -> None:
    receipt = post(http, server, EMERGENCY).json()["receipt"]
    server.clock.advance(timedelta(seconds=3599))
    assert receipt_of(http, server, receipt)["expired"] == 0
    server.clock.advance(timedelta(seconds=1))
    expired = receipt_of(http, server, receipt)
    assert (expired["expired"], expired["acknowledged"]) == (1, 0)
    assert not server.acknowledge(receipt)
    server.clock.advance(timedelta(days=7))
    assert receipt_of(http, server, receipt)["receipt"] == "not found"


def test_receipt_is_hidden_from_another_application(server: PaperPushover, http: requests.Session) -> None:
    receipt = post(http, server, EMERGENCY).json()["receipt"]
    assert receipt_of(http, server, receipt, OTHER_TOKEN)["status"] == 0
    assert receipt_of(http, server, "z" * 30)["status"] == 0
    with pytest.raises(ConfigError, match="no receipt"):
        server.acknowledge("z" * 30)


def test_cancel_by_tag_ends_that_tags_emergencies_and_no_others(server: PaperPushover, http: requests.Session) -> None:
    def send(**more: str) -> str:
        return str(post(http, server, {**EMERGENCY, **more}).json()["receipt"])

    first, second = send(tags="grid=eth 1,all"), send(tags="all, grid=btc")
    foreign = send(tags="all", token=OTHER_TOKEN)
    done = send(tags="all")
    server.acknowledge(done)
    url = f"{server.url}/1/receipts"
    one = http.post(f"{url}/cancel_by_tag/grid%3Deth%201.json", data={"token": TOKEN}, timeout=5)
    assert one.json()["canceled"] == 1
    assert receipt_of(http, server, first)["expired"] == 1
    assert receipt_of(http, server, second)["expired"] == 0
    assert http.post(f"{url}/cancel_by_tag/all.json", data={"token": TOKEN}, timeout=5).json()["canceled"] == 1
    assert receipt_of(http, server, second)["expired"] == 1
    assert receipt_of(http, server, foreign, OTHER_TOKEN)["expired"] == 0
    cancelled = http.post(f"{url}/{foreign}/cancel.json", data={"token": OTHER_TOKEN}, timeout=5)
    assert cancelled.json()["canceled"] == 1
    assert receipt_of(http, server, foreign, OTHER_TOKEN)["expired"] == 1
    assert http.post(f"{url}/cancel_by_tag/all.json", data={}, timeout=5).status_code == 400
    assert http.post(f"{url}/{'z' * 30}/cancel.json", data={"token": TOKEN}, timeout=5).status_code == 404


def test_used_up_quota_is_refused_until_the_first_of_the_month_in_chicago(http: requests.Session) -> None:
    with PaperPushover(clock=PaperClock.standing(NOW), monthly_limit=2) as server:
        left = [post(http, server, PLAIN).headers["X-Limit-App-Remaining"] for _ in range(2)]
        assert left == ["1", "0"]
        refused = post(http, server, PLAIN)
        assert refused.status_code == 429
        assert refused.json()["status"] == 0
        reset = datetime(2026, 4, 1, 5, 0, tzinfo=UTC)  # midnight in summer time
        assert refused.headers["X-Limit-App-Limit"] == "2"
        assert refused.headers["X-Limit-App-Reset"] == str(int(reset.timestamp()))
        server.clock.stand_at(reset - timedelta(seconds=1))
        assert post(http, server, PLAIN).status_code == 429
        server.clock.stand_at(reset)
        assert post(http, server, PLAIN).status_code == 200
        assert post(http, server, {**PLAIN, "message": ""}).status_code == 400
        assert len(server.messages) == 3


def test_quota_of_december_resets_in_the_next_year(http: requests.Session) -> None:
    with PaperPushover(clock=PaperClock.standing(datetime(2026, 12, 5, tzinfo=UTC))) as server:
        reset = post(http, server, PLAIN).headers["X-Limit-App-Reset"]
        assert datetime.fromtimestamp(int(reset), UTC) == datetime(2027, 1, 1, 6, 0, tzinfo=UTC)


def test_another_process_reads_and_acknowledges_over_http(server: PaperPushover, http: requests.Session) -> None:
    receipt = post(http, server, EMERGENCY, files={"attachment": ("c.png", PNG, "image/png")}).json()["receipt"]
    shown = http.get(f"{server.url}/control/messages", timeout=5)
    assert TOKEN not in shown.text
    assert USER not in shown.text
    (message,) = shown.json()
    assert (message["receipt"], message["text"], message["priority"]) == (receipt, "hello", 2)
    assert (message["at"], message["image_bytes"]) == (NOW.isoformat(), len(PNG))
    acknowledge = f"{server.url}/control/acknowledge"
    assert http.post(f"{acknowledge}/{receipt}?by={'m' * 30}", timeout=5).json() == {"acknowledged": True}
    assert http.post(f"{acknowledge}/{receipt}", timeout=5).json() == {"acknowledged": False}
    assert http.post(f"{acknowledge}/unknown", timeout=5).status_code == 404
    assert receipt_of(http, server, receipt)["acknowledged_by"] == "m" * 30
    asked = http.get(f"{server.url}/control/requests", timeout=5).json()
    assert [(record["method"], record["path"].split("/")[2], record["status"]) for record in asked] == [
        ("POST", "messages.json", 200),
        ("GET", "receipts", 200),
    ]
    assert http.get(f"{server.url}/control/nothing", timeout=5).status_code == 404
    assert http.get(f"{server.url}/1/nothing.json", timeout=5).json()["status"] == 0


def test_hook_is_called_when_the_message_is_taken_and_not_yet_answered(
    server: PaperPushover, http: requests.Session
) -> None:
    seen: list[tuple[AcceptedMessage, int, int]] = []
    server.on_accepted = lambda message: seen.append((message, len(server.messages), len(server.requests)))
    post(http, server, PLAIN)
    post(http, server, {**PLAIN, "message": ""})
    assert [(message.text, taken, answered) for message, taken, answered in seen] == [("hello", 1, 0)]
    assert len(server.requests) == 2


def test_failure_takes_nothing_and_a_lost_answer_takes_the_message(
    server: PaperPushover, http: requests.Session
) -> None:
    server.fail_next(2, status=503)
    assert [post(http, server, PLAIN).status_code for _ in range(2)] == [503, 503]
    server.fail_next(status=200, body="<html>")
    assert post(http, server, PLAIN).text == "<html>"
    assert server.messages == ()
    server.hang_up_next()
    with pytest.raises(requests.ConnectionError):
        post(http, server, PLAIN)
    assert len(server.messages) == 1
    assert post(http, server, PLAIN).status_code == 200


def test_stopped_server_comes_back_on_its_port_with_what_it_knew(server: PaperPushover, http: requests.Session) -> None:
    receipt = post(http, server, EMERGENCY).json()["receipt"]
    url = server.url
    server.stop()
    with pytest.raises(requests.ConnectionError):
        post(http, server, PLAIN)
    server.start()
    assert server.url == url
    assert receipt_of(http, server, receipt)["status"] == 1
