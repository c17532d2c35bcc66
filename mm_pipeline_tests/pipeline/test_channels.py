"""Every channel hands over a page the same way: one suite for all, then what is each one's own."""

from __future__ import annotations

import base64
import io
import json
import logging
import os
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from mm_pipeline.adapters.channels import ChannelAccess, ChannelConfigs, channel_of, open_channels
from mm_pipeline.adapters.channels.apprise_channel import AppriseChannel
from mm_pipeline.adapters.channels.console import ConsoleChannel
from mm_pipeline.adapters.channels.file import FileChannel
from mm_pipeline.adapters.channels.pushover import PushoverChannel, cut
from mm_pipeline.adapters.config.strict_yaml import validation_errors
from mm_pipeline.domain.errors import ConfigError
from mm_pipeline.domain.notifications.channel import (
    Accepted,
    Channel,
    ChannelError,
    Message,
    ReceiptChannel,
    ReceiptState,
    ReceiptStatus,
)
from mm_pipeline.paper.clock import PaperClock
from mm_pipeline.paper.http.http_server import HttpServer
from mm_pipeline.paper.http.wire import Answer, Drip
from mm_pipeline.paper.pushover import PaperPushover

NOW = datetime(2026, 3, 1, 12, 15, tzinfo=UTC)
PAPER_LOG = "mm_pipeline.paper.http.http_server"  # the server's own log is not the channel's
TOKEN, USER = "t0kEn" * 6, "uSeR9" * 6
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
PAGE = Message(
    page_id="2026-03-01T12:15Z/eth",
    title="MANDATORY_EXIT eth",
    text="price 2680.11 < stop 2990\nexit at once",
    priority=1,
    at=NOW,
    tags=("grid=eth", "all"),
)
EMERGENCY = replace(PAGE, priority=2, retry_s=60, expire_s=10_800)
ACCESS = ChannelAccess(read_timeout=timedelta(seconds=2), deadline=timedelta(seconds=5))
CONFIGS: TypeAdapter[Any] = TypeAdapter(ChannelConfigs)
PHONE = {
    "name": "phone",
    "kind": "pushover",
    "token_env": "PUSHOVER_TOKEN",
    "user_env": "PUSHOVER_USER",
    "api_url": "https://api.pushover.net",
}
ENVIRONMENT = {"PUSHOVER_TOKEN": TOKEN, "PUSHOVER_USER": f"{USER}\n", "TEAM_URL": "json://127.0.0.1:9/s3cret"}


@dataclass(frozen=True)
class Arrived:
    """A page at its destination."""

    title: str
    text: str
    image: bytes | int | None


@dataclass
class Rig:
    """A channel, what arrived at its far end, and a way to break and repair that end."""

    channel: Channel
    arrived: Callable[[], list[Arrived]]
    take_away: Callable[[], object]
    bring_back: Callable[[], object]
    shows_image: Callable[[bytes], bytes | int | None] = lambda image: image


class WebHook:
    """A local HTTP endpoint as apprise's ``json://`` calls it; keeps its port."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.answer = Answer(payload={})
        self.port = 0
        self.start()

    def start(self) -> None:
        self._server = HttpServer("127.0.0.1", self.port, self._respond)
        self.port = self._server.server_port
        self._server.start()

    def stop(self) -> None:
        self._server.stop()

    def _respond(self, _method: str, _target: str, _headers: dict[str, str], body: bytes) -> Answer:
        if self.answer.status == 200:
            self.bodies.append(json.loads(body))
        return self.answer

    @property
    def url(self) -> str:
        return f"json://127.0.0.1:{self.port}/s3cret"

    def arrived(self) -> list[Arrived]:
        return [
            Arrived(
                body["title"],
                body["message"],
                base64.b64decode(body["attachments"][0]["base64"]) if body["attachments"] else None,
            )
            for body in self.bodies
        ]


class Terminal(io.StringIO):
    """A stream that can go away."""

    encoding = "utf-8"
    is_gone = False

    def write(self, text: str) -> int:
        if self.is_gone:
            raise BrokenPipeError(32, "Broken pipe")
        return super().write(text)

    def arrived(self) -> list[Arrived]:
        blocks = [block.replace("| ", "").split("\n") for block in self.getvalue().split("\n\n") if block]
        return [
            Arrived(lines[1], "\n".join(line for line in lines[2:] if "chart of" not in line), _image_size(lines[-1]))
            for lines in blocks
        ]


def _image_size(line: str) -> int | None:
    return int(line.split()[4]) if "chart of" in line else None


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def _pushover(to: ExitStack, _folder: Path) -> Rig:
    server = to.enter_context(PaperPushover(token=TOKEN, user=USER))
    return Rig(
        channel_to(server),
        lambda: [Arrived(message.title, message.text, message.image) for message in server.messages],
        server.stop,
        server.start,
    )


def _apprise(to: ExitStack, _folder: Path) -> Rig:
    hook = WebHook()
    to.callback(hook.stop)
    return Rig(AppriseChannel("team", hook.url, deadline_s=5.0), hook.arrived, hook.stop, hook.start)


def _console(_to: ExitStack, _folder: Path) -> Rig:
    terminal = Terminal()
    return Rig(
        ConsoleChannel("console", terminal),
        terminal.arrived,
        lambda: setattr(terminal, "is_gone", True),
        lambda: setattr(terminal, "is_gone", False),
        len,
    )


def _file(_to: ExitStack, folder: Path) -> Rig:
    path = folder / "pages" / "pages.jsonl"
    return Rig(
        FileChannel("file", path),
        lambda: [Arrived(line["title"], line["text"], line["image_bytes"]) for line in _lines(path)],
        lambda: path.mkdir(parents=True),
        path.rmdir,
        len,
    )


def channel_to(server: PaperPushover, **more: Any) -> PushoverChannel:
    times = {"read_timeout_s": 2.0, "deadline_s": 5.0}
    return PushoverChannel("phone", token=TOKEN, user=USER, api_url=server.url, **{**times, **more})


@pytest.fixture(params=[_pushover, _apprise, _console, _file], ids=["pushover", "apprise", "console", "file"])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    with ExitStack() as stack:
        yield request.param(stack, tmp_path)


@pytest.fixture
def server() -> Iterator[PaperPushover]:
    with PaperPushover(clock=PaperClock.standing(NOW), token=TOKEN, user=USER, monthly_limit=100) as pushover:
        yield pushover


@pytest.fixture
def hook() -> Iterator[WebHook]:
    endpoint = WebHook()
    yield endpoint
    endpoint.stop()


def test_page_arrives_with_its_title_and_text(rig: Rig) -> None:
    assert isinstance(rig.channel.send(PAGE), Accepted)
    assert rig.arrived() == [Arrived(PAGE.title, PAGE.text, None)]


def test_page_with_a_chart_arrives_with_it(rig: Rig) -> None:
    rig.channel.send(replace(PAGE, image_png=PNG))
    assert rig.arrived() == [Arrived(PAGE.title, PAGE.text, rig.shows_image(PNG))]


def test_unusual_characters_arrive_as_they_are(rig: Rig) -> None:
    page = replace(PAGE, title='3 > 2 & "so"', text="\N{EURO SIGN} <b>*_%0A\\n 100 % \N{CHART WITH DOWNWARDS TREND}")
    rig.channel.send(page)
    assert rig.arrived() == [Arrived(page.title, page.text, None)]


def test_page_sent_again_arrives_again(rig: Rig) -> None:
    for _ in range(2):
        rig.channel.send(PAGE)
    assert len(rig.arrived()) == 2


@pytest.mark.parametrize("priority", [-1, 0, 1, 2])
def test_page_of_each_priority_is_taken(rig: Rig, priority: int) -> None:
    accepted = rig.channel.send(replace(EMERGENCY, priority=priority))
    assert (accepted.receipt is not None) == (priority == 2 and isinstance(rig.channel, ReceiptChannel))
    assert len(rig.arrived()) == 1


def test_far_end_that_is_away_is_transient_and_the_page_arrives_once_it_is_back(rig: Rig) -> None:
    rig.take_away()
    with pytest.raises(ChannelError) as caught:
        rig.channel.send(PAGE)
    assert not caught.value.is_final
    assert caught.value.retry_after_s >= 5.0
    assert f"channel {rig.channel.name}: " in caught.value.problem
    assert caught.value.hint
    rig.bring_back()
    rig.channel.send(PAGE)
    assert len(rig.arrived()) == 1


def test_pushover_is_sent_every_field_of_an_emergency(server: PaperPushover) -> None:
    accepted = channel_to(server, device="phone-1").send(EMERGENCY)
    (message,) = server.messages
    assert message.fields == {
        "token": TOKEN,
        "user": USER,
        "title": PAGE.title,
        "message": PAGE.text,
        "priority": "2",
        "timestamp": "1772367300",
        "tags": "grid=eth,all",
        "retry": "60",
        "expire": "10800",
        "device": "phone-1",
    }
    assert accepted == Accepted(request=message.request, receipt=message.receipt, quota_remaining=99, quota_limit=100)


def test_pushover_page_below_emergency_has_no_alarm_times(server: PaperPushover) -> None:
    channel_to(server).send(replace(EMERGENCY, priority=1, tags=()))
    assert {"retry", "expire", "tags", "device"}.isdisjoint(server.messages[0].fields)


@pytest.mark.parametrize(
    ("retry_s", "expire_s", "sent"),
    [(1, 20_000, ("30", "10800")), (None, None, ("30", "10800")), (30, 600, ("30", "600"))],
)
def test_pushover_emergency_is_brought_within_its_bounds(
    server: PaperPushover, retry_s: int | None, expire_s: int | None, sent: tuple[str, str]
) -> None:
    channel_to(server).send(replace(EMERGENCY, retry_s=retry_s, expire_s=expire_s))
    fields = server.messages[0].fields
    assert (fields["retry"], fields["expire"]) == sent


def test_pushover_page_that_is_too_long_is_cut_by_characters(server: PaperPushover) -> None:
    wide = "\N{CHART WITH DOWNWARDS TREND}"
    channel_to(server).send(replace(PAGE, title=wide * 250, text=wide * 1025))
    (message,) = server.messages
    assert message.title == wide * 250
    assert message.text == wide * 1023 + "\N{HORIZONTAL ELLIPSIS}"
    assert cut("abcd", 3) == "ab\N{HORIZONTAL ELLIPSIS}"


def test_pushover_page_without_a_text_says_its_title(server: PaperPushover) -> None:
    channel_to(server).send(replace(PAGE, text=" \n"))
    assert server.messages[0].text == PAGE.title


@pytest.mark.parametrize(("size", "is_sent"), [(5 * 1024 * 1024, True), (5 * 1024 * 1024 + 1, False)])
def test_pushover_chart_over_five_mebibytes_stays_behind_and_the_page_goes(
    server: PaperPushover, size: int, is_sent: bool
) -> None:
    channel_to(server).send(replace(PAGE, image_png=bytes(size)))
    (message,) = server.messages
    assert (message.image is not None) == is_sent
    assert message.text == PAGE.text


def test_pushover_receipt_tells_open_then_who_acknowledged_and_when(server: PaperPushover) -> None:
    channel = channel_to(server)
    assert isinstance(channel, ReceiptChannel)
    receipt = channel.send(EMERGENCY).receipt or ""
    assert channel.receipt(receipt) == ReceiptStatus(state=ReceiptState.OPEN)
    server.clock.advance(timedelta(minutes=3))
    server.acknowledge(receipt, device="tablet")
    server.clock.advance(timedelta(hours=5))
    told = channel.receipt(receipt)
    assert told == ReceiptStatus(state=ReceiptState.ACKNOWLEDGED, at=NOW + timedelta(minutes=3), by="tablet")


def test_pushover_receipt_without_a_device_shows_the_beginning_of_the_key_alone(server: PaperPushover) -> None:
    channel = channel_to(server)
    receipt = channel.send(EMERGENCY).receipt or ""
    server.acknowledge(receipt, by="mEmBeR" * 5, device="")
    assert channel.receipt(receipt).by == "mEmB"


def test_pushover_receipt_expires_unanswered(server: PaperPushover) -> None:
    channel = channel_to(server)
    receipt = channel.send(EMERGENCY).receipt or ""
    server.clock.advance(timedelta(hours=3))
    assert channel.receipt(receipt) == ReceiptStatus(state=ReceiptState.EXPIRED, at=NOW + timedelta(hours=3))


def test_pushover_receipt_that_is_unknown_is_a_final_error(server: PaperPushover) -> None:
    with pytest.raises(ChannelError, match="receipt not found") as caught:
        channel_to(server).receipt("../messages")
    assert caught.value.is_final
    assert server.requests[0].path == "/1/receipts/..%2Fmessages.json"


def test_pushover_cancel_ends_the_emergencies_of_a_tag_alone(server: PaperPushover) -> None:
    channel = channel_to(server)
    eth, btc = (channel.send(replace(EMERGENCY, tags=(tag,))).receipt or "" for tag in ("grid=eth/usdt 1", "btc"))
    channel.cancel("grid=eth/usdt 1")
    assert channel.receipt(eth).state is ReceiptState.EXPIRED
    assert channel.receipt(btc).state is ReceiptState.OPEN
    channel.cancel("of no emergency")


def test_pushover_ignores_proxies_of_the_environment(server: PaperPushover, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    channel_to(server).send(PAGE)
    assert len(server.messages) == 1


def _echo_keys(server: PaperPushover) -> None:
    server.fail_next(status=400, body={"status": 0, "errors": [f"token {TOKEN} may not page {USER}"]})


LEAKS: dict[str, Callable[[PaperPushover, PushoverChannel], object]] = {
    "echoed": lambda server, channel: (_echo_keys(server), channel.send(PAGE)),
    "echoed page": lambda server, channel: (server.fail_next(body=f"<p>{TOKEN}"), channel.send(PAGE)),
    "away": lambda server, channel: (server.stop(), channel.receipt("r" * 30)),
    "hung up": lambda server, channel: (server.hang_up_next(path="receipts"), channel.receipt("r" * 30)),
    "silent": lambda server, channel: (server.hang_next(path="receipts"), channel.receipt("r" * 30)),
    "unknown receipt": lambda _server, channel: channel.receipt("r" * 30),
}


@pytest.mark.parametrize("fail", LEAKS.values(), ids=LEAKS.keys())
def test_pushover_keys_are_in_no_error_log_or_repr(
    server: PaperPushover,
    caplog: pytest.LogCaptureFixture,
    fail: Callable[[PaperPushover, PushoverChannel], object],
) -> None:
    channel = channel_to(server, read_timeout_s=0.3)
    caplog.set_level(logging.WARNING, logger=PAPER_LOG)
    with caplog.at_level(logging.DEBUG), pytest.raises(ChannelError) as caught:
        fail(server, channel)
    trace = "".join(traceback.format_exception(caught.value))
    told = [str(caught.value), repr(caught.value), trace, caplog.text, repr(channel)]
    assert not [text for text in told if TOKEN in text or USER in text]
    assert caught.value.__context__ is None


def test_pushover_request_that_succeeds_logs_no_key_either(
    server: PaperPushover, caplog: pytest.LogCaptureFixture
) -> None:
    channel = channel_to(server)
    caplog.set_level(logging.WARNING, logger=PAPER_LOG)
    with caplog.at_level(logging.DEBUG):
        channel.receipt(channel.send(EMERGENCY).receipt or "")
    assert "/1/messages.json" in caplog.text  # the log is on, and speaks of what holds no key
    assert TOKEN not in caplog.text


@pytest.mark.parametrize(
    ("priority", "kind"), [(-2, "success"), (-1, "success"), (0, "info"), (1, "warning"), (2, "failure")]
)
def test_apprise_is_told_the_kind_of_each_priority(hook: WebHook, priority: int, kind: str) -> None:
    AppriseChannel("team", hook.url, deadline_s=5.0).send(replace(PAGE, priority=priority))
    assert hook.bodies[0]["type"] == kind


@pytest.mark.parametrize("status", [400, 500])
def test_apprise_refusal_is_transient_since_its_cause_is_not_told(hook: WebHook, status: int) -> None:
    hook.answer = Answer(status=status, payload={})
    with pytest.raises(ChannelError, match="did not take the page") as caught:
        AppriseChannel("team", hook.url, deadline_s=5.0).send(PAGE)
    assert not caught.value.is_final


def test_apprise_answer_that_drips_ends_at_the_deadline(hook: WebHook) -> None:
    hook.answer = Answer(payload={"text": "x" * 100}, drip=Drip(chunk_bytes=1, pause_s=0.2))
    start_s = time.monotonic()
    with pytest.raises(ChannelError, match=r"within 0\.5 s") as caught:
        AppriseChannel("team", hook.url, deadline_s=0.5).send(PAGE)
    assert time.monotonic() - start_s < 1.5
    assert not caught.value.is_final


def test_apprise_service_that_shows_html_gets_the_text_escaped(hook: WebHook) -> None:
    AppriseChannel("team", f"{hook.url}?format=html", deadline_s=5.0).send(replace(PAGE, text="2680 < 2990"))
    assert "&lt;" in hook.bodies[0]["message"]


def test_apprise_service_without_attachments_gets_the_page_alone(
    hook: WebHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = AppriseChannel("team", hook.url, deadline_s=5.0)
    monkeypatch.setattr(channel._service, "attachment_support", False)
    channel.send(replace(PAGE, image_png=PNG))
    assert hook.arrived() == [Arrived(PAGE.title, PAGE.text, None)]


@pytest.mark.parametrize("url", ["nothing://s3cret", "s3cret", "json://", "tgram://s3cret"])
def test_apprise_url_that_names_no_service_is_refused_unquoted(url: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), pytest.raises(ConfigError, match="TEAM_URL") as caught:
        AppriseChannel("team", url, deadline_s=5.0, source="$TEAM_URL")
    assert "s3cret" not in "".join(traceback.format_exception(caught.value)) + caplog.text


def test_apprise_url_is_in_no_error_log_or_repr(hook: WebHook, caplog: pytest.LogCaptureFixture) -> None:
    channel = AppriseChannel("team", hook.url, deadline_s=5.0)
    hook.stop()
    with caplog.at_level(logging.DEBUG), pytest.raises(ChannelError) as caught:
        channel.send(PAGE)
    hook.start()
    assert "s3cret" not in "".join(traceback.format_exception(caught.value)) + caplog.text + repr(channel)


def test_console_shows_a_block_without_control_characters_on_standard_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ConsoleChannel("console").send(replace(PAGE, text="a\x1b[2Jb\nc", image_png=PNG))
    assert capsys.readouterr().err == (
        "| page 2026-03-01T12:15Z/eth, priority 1, 2026-03-01T12:15:00+00:00\n"
        "| MANDATORY_EXIT eth\n| a [2Jb\n| c\n| (with a chart of 264 bytes)\n\n"
    )


def test_console_that_knows_ascii_alone_still_shows_the_page() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    ConsoleChannel("console", stream).send(replace(PAGE, text="\N{EURO SIGN}"))
    assert rb"| \u20ac" in raw.getvalue()


def test_file_holds_a_line_of_everything_but_the_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    sync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (synced.append(descriptor), sync(descriptor)))
    channel = FileChannel("file", tmp_path / "deep" / "pages.jsonl")
    channel.send(replace(EMERGENCY, image_png=PNG))
    assert len(synced) == 2  # the file, and the folder that is new to it
    channel.send(PAGE)
    assert len(synced) == 3
    first, second = _lines(tmp_path / "deep" / "pages.jsonl")
    assert first == {
        "page_id": PAGE.page_id,
        "at": "2026-03-01T12:15:00+00:00",
        "priority": 2,
        "title": PAGE.title,
        "text": PAGE.text,
        "tags": ["grid=eth", "all"],
        "retry_s": 60,
        "expire_s": 10_800,
        "image_bytes": len(PNG),
    }
    assert (second["retry_s"], second["image_bytes"]) == (None, None)


def test_file_line_left_unfinished_spoils_no_later_one(tmp_path: Path) -> None:
    path = tmp_path / "pages.jsonl"
    path.write_text('{"page_id": "torn')
    FileChannel("file", path).send(PAGE)
    torn, whole = path.read_text().splitlines()
    assert torn == '{"page_id": "torn'
    assert json.loads(whole)["page_id"] == PAGE.page_id


def test_channels_open_in_order_with_secrets_from_the_environment(server: PaperPushover, tmp_path: Path) -> None:
    configs = CONFIGS.validate_python(
        [
            {**PHONE, "api_url": server.url},
            {"name": "team", "kind": "apprise", "url_env": "TEAM_URL", "is_secondary": True},
            {"name": "console", "kind": "console"},
            {"name": "file", "kind": "file", "path": "pages.jsonl"},
            {"name": "elsewhere", "kind": "file", "path": str(tmp_path / "other.jsonl")},
        ]
    )
    assert [config.is_secondary for config in configs] == [False, True, False, False, False]
    channels = open_channels(configs, tmp_path / "home", access=ACCESS, environment=ENVIRONMENT)
    assert [channel.name for channel in channels] == ["phone", "team", "console", "file", "elsewhere"]
    channels[0].send(PAGE)
    assert server.messages[0].fields["user"] == USER
    channels[3].send(PAGE)
    channels[4].send(PAGE)
    assert len(_lines(tmp_path / "home" / "pages.jsonl")) == len(_lines(tmp_path / "other.jsonl")) == 1


def test_deadline_of_the_settings_ends_a_request(server: PaperPushover, tmp_path: Path) -> None:
    (config,) = CONFIGS.validate_python([{**PHONE, "api_url": server.url}])
    server.hang_next()
    access = ChannelAccess(read_timeout=timedelta(seconds=60), deadline=timedelta(seconds=1))
    with pytest.raises(ChannelError, match="within 1 s"):
        channel_of(config, tmp_path, access=access, environment=ENVIRONMENT).send(PAGE)
    server.hang_next()
    access = ChannelAccess(read_timeout=timedelta(seconds=1), deadline=timedelta(seconds=60))
    with pytest.raises(ChannelError, match="TimeoutError"):
        channel_of(config, tmp_path, access=access, environment=ENVIRONMENT).send(PAGE)


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"PUSHOVER_USER": USER}, "PUSHOVER_TOKEN is not set"),
        ({"PUSHOVER_TOKEN": TOKEN, "PUSHOVER_USER": "  "}, "PUSHOVER_USER is not set"),
        ({"PUSHOVER_TOKEN": "s3cret", "PUSHOVER_USER": USER}, "PUSHOVER_TOKEN does not hold"),
    ],
)
def test_missing_or_malformed_secret_is_named_with_its_channel_and_never_quoted(
    tmp_path: Path, variables: dict[str, str], named: str
) -> None:
    (config,) = CONFIGS.validate_python([PHONE])
    with pytest.raises(ConfigError, match=named) as caught:
        channel_of(config, tmp_path, access=ACCESS, environment=variables)
    assert caught.value.problem.startswith("channel phone: ")
    assert caught.value.hint
    assert "s3cret" not in str(caught.value)


def test_environment_of_the_process_is_read_where_none_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (config,) = CONFIGS.validate_python([{"name": "team", "kind": "apprise", "url_env": "MM_TEST_TEAM_URL"}])
    monkeypatch.delenv("MM_TEST_TEAM_URL", raising=False)
    with pytest.raises(ConfigError, match="MM_TEST_TEAM_URL is not set"):
        channel_of(config, tmp_path, access=ACCESS)
    monkeypatch.setenv("MM_TEST_TEAM_URL", "json://127.0.0.1:9/")
    assert channel_of(config, tmp_path, access=ACCESS).name == "team"


@pytest.mark.parametrize(
    "change",
    [
        {"api_url": "http://api.pushover.net"},
        {"api_url": "https://api.pushover.net.example.org"},
        {"api_url": "https://api.pushover.net/"},
        {"api_url": "http://127.0.0.1.example.org:80"},
        {"api_url": "http://192.168.0.2:80"},
        {"name": "My phone"},
        {"name": "-phone"},
        {"name": "p" * 41},
        {"kind": "pager"},
        {"token_env": TOKEN},
        {"token": TOKEN},
        {"device": "two words"},
    ],
)
def test_config_out_of_bounds_is_refused_and_quotes_no_key(change: dict[str, str]) -> None:
    with pytest.raises(ValidationError) as caught:
        CONFIGS.validate_python([{**PHONE, **change}])
    assert TOKEN not in str(validation_errors("settings.yaml", caught.value))


def test_two_channels_of_one_name_are_refused() -> None:
    with pytest.raises(ValidationError, match="two channels are named phone; give each a name of its own"):
        CONFIGS.validate_python([PHONE, {"name": "phone", "kind": "console"}])
