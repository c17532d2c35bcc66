"""The check in front of the UI: a foreign page's requests are refused by their headers, the UI's own pass unchanged."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from mm_pipeline.adapters.ui_guard import FORM, UiGuard, loopback_hosts
from mm_pipeline.domain.errors import ConfigError
from mm_pipeline.settings import load_settings

HOSTS = (*loopback_hosts(3000), "watch.example.org")
MUTATION = 'mutation { setConcurrencyLimit(concurrencyKey: "frames", limit: 0) }'
JSON = ("content-type", "application/json")
OWN = ("host", "127.0.0.1:3000")


async def _echo(scope: Any, receive: Any, send: Any) -> None:
    """An application that answers with the body that it was sent."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        return
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-own", b"1")]})
    await send({"type": "http.response.body", "body": body})


def ask(
    *headers: tuple[str, str],
    method: str = "GET",
    path: str = "/",
    query: str = "",
    body: Sequence[bytes] = (b"",),
    kind: str = "http",
    hosts: Sequence[str] = HOSTS,
    takes: str = JSON[1],
) -> list[dict[str, Any]]:
    """What the guarded application sends for one request."""
    sent: list[dict[str, Any]] = []
    parts = [{"type": "http.request", "body": part, "more_body": True} for part in body]
    parts[-1]["more_body"] = False
    incoming = [{"type": "websocket.connect"}] if kind == "websocket" else parts

    async def receive() -> dict[str, Any]:
        return incoming.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": kind,
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers],
    }
    asyncio.run(UiGuard(_echo, hosts=hosts, takes=takes)(scope, receive, send))
    return sent


def status(*headers: tuple[str, str], **request: Any) -> int:
    return int(ask(*headers, **request)[0]["status"])


@pytest.mark.parametrize("host", HOSTS)
def test_own_page_is_served_under_each_of_its_names(host: str) -> None:
    own = (("host", host), ("origin", f"http://{host}"), ("sec-fetch-site", "same-origin"))
    assert status(*own) == 200
    assert status(*own, JSON, method="POST", path="/graphql", body=[b'{"query": "mutation { a }"}']) == 200
    assert ask(*own, kind="websocket", path="/graphql") == [{"type": "websocket.accept"}]


FOREIGN_HOSTS = [
    "evil.example",
    "evil.example:3000",
    "127.0.0.1",
    "127.0.0.1:3001",
    "127.0.0.1:3000.evil.example",
    "127.0.0.1:3000@evil.example",
    "localhost.:3000",
    "0.0.0.0:3000",
    "watch.example.org:3000",
    "sub.watch.example.org",
    "",
]


@pytest.mark.parametrize("host", FOREIGN_HOSTS)
def test_foreign_host_is_refused(host: str) -> None:
    assert status(("host", host)) == 403
    assert ask(("host", host), kind="websocket", path="/graphql")[0]["type"] == "websocket.close"


def test_missing_or_second_host_is_refused() -> None:
    assert status() == 403
    assert status(OWN, ("host", "evil.example")) == 403


FOREIGN_ORIGINS = [
    "http://evil.example",
    "null",
    "http://127.0.0.1:3001",
    "http://127.0.0.1",
    "http://localhost.evil.example:3000",
    "file://",
    "chrome-extension://127.0.0.1:3000",
    "",
]


@pytest.mark.parametrize("origin", FOREIGN_ORIGINS)
def test_foreign_origin_is_refused(origin: str) -> None:
    assert status(OWN, ("origin", origin)) == 403
    assert status(OWN, ("origin", origin), JSON, method="POST", path="/graphql", body=[b"{}"]) == 403
    assert status(OWN, ("origin", origin), method="OPTIONS", path="/graphql") == 403
    assert ask(OWN, ("origin", origin), kind="websocket", path="/graphql")[0]["type"] == "websocket.close"


def test_second_origin_is_refused() -> None:
    own = ("origin", "http://127.0.0.1:3000")
    assert status(OWN, own, own) == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site", "whatever"])
def test_request_that_another_site_caused_is_refused(site: str) -> None:
    assert status(OWN, ("sec-fetch-site", site)) == 403
    assert ask(OWN, ("sec-fetch-site", site), kind="websocket")[0]["type"] == "websocket.close"


CHANGING = [
    MUTATION,
    "mutation named { a }",
    "query a { a } mutation b { b }",
    "fragment f on Query { a } mutation { b }",
    "subscription { a }",
    "# query\nmutation { a }",
    "mutation",
]


@pytest.mark.parametrize("query", CHANGING)
@pytest.mark.parametrize("path", ["/graphql", "/graphql/"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_get_that_is_no_query_is_refused(query: str, path: str, method: str) -> None:
    assert status(OWN, method=method, path=path, query=f"query={quote(query)}") in (400, 405)
    # Dagster reads the last of several; which of them it takes must not matter.
    both = f"query={quote(query)}&query={quote('{ version }')}"
    assert status(OWN, method=method, path=path, query=both) in (400, 405)
    assert status(OWN, method=method, path=path, query=f"%71uery={quote(query)}") in (400, 405)


def test_query_by_get_and_the_page_without_one_are_served() -> None:
    assert status(OWN, path="/graphql", query=f"query={quote('query a { version }')}") == 200
    assert status(OWN, ("accept", "text/html"), path="/graphql") == 200


CONTENT_TYPES = [
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=a",
    "text/plain; a=application/json",
    "application/graphql",
    "application/jsonp",
    "",
]


@pytest.mark.parametrize("kind", CONTENT_TYPES)
@pytest.mark.parametrize("path", ["/graphql", "/report_asset_materialization/candles"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_body_that_no_browser_asks_about_first_is_refused(kind: str, path: str, method: str) -> None:
    assert status(OWN, ("content-type", kind), method=method, path=path, query=f"query={quote(MUTATION)}") == 415


def test_missing_or_second_content_type_is_refused() -> None:
    assert status(OWN, method="POST", path="/graphql", body=[b"{}"]) == 415
    assert status(OWN, JSON, ("content-type", "text/plain"), method="POST", path="/graphql", body=[b"{}"]) == 415


@pytest.mark.parametrize("body", [[b'[{"query": "a"}]'], [b" ", b"\n[", b"]"], [b""], [b"null"], [b" " * 5000, b"{}"]])
def test_batch_and_what_is_no_object_is_refused(body: list[bytes]) -> None:
    assert status(OWN, JSON, method="POST", path="/graphql", body=body) == 400


@pytest.mark.parametrize("body", [[b'{"query": "a"}'], [b"", b' \n{"query', b'": "a"', b"}"]])
def test_single_operation_arrives_whole(body: list[bytes]) -> None:
    sent = ask(OWN, ("content-type", "application/json; charset=utf-8"), method="POST", path="/graphql", body=body)
    assert sent[0]["status"] == 200
    assert sent[1]["body"] == b"".join(body)


def test_answer_may_not_be_framed_by_another_page() -> None:
    headers = dict(ask(OWN)[0]["headers"])
    assert headers[b"x-frame-options"] == b"DENY"
    assert headers[b"content-security-policy"] == b"frame-ancestors 'none'"
    assert headers[b"x-own"] == b"1"


def test_refusal_names_where_the_ui_is_and_the_setting() -> None:
    text = ask(("host", "evil.example"))[1]["body"].decode()
    assert "'evil.example'" in text
    assert "127.0.0.1:3000" in text
    assert "ui.allowed_hosts" in text


def test_form_is_taken_from_the_page_itself_alone() -> None:
    form, own = ("content-type", f"{FORM}; charset=utf-8"), ("origin", "http://127.0.0.1:3000")
    post = {"method": "POST", "path": "/grid/eth/flat", "body": [b"token=a"], "takes": FORM}
    assert status(OWN, own, form, **post) == 200
    assert status(OWN, form, **post) == 403
    assert status(OWN, ("origin", "http://evil.example"), form, **post) == 403
    assert status(OWN, ("origin", "null"), form, **post) == 403
    assert status(OWN, own, JSON, **post) == 415
    assert status(OWN, own, form, **post | {"takes": JSON[1]}) == 415


def test_allowed_hosts_lets_a_proxy_in(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("ui: {allowed_hosts: [watch.example.org, '127.0.0.1:8080']}\n")
    named = load_settings(file).ui.allowed_hosts
    by_proxy = (("host", "watch.example.org"), ("origin", "https://watch.example.org"))
    assert status(*by_proxy, hosts=loopback_hosts(3000)) == 403
    assert status(*by_proxy, hosts=(*loopback_hosts(3000), *named)) == 200


@pytest.mark.parametrize("host", ["*", "http://watch.example.org", "watch.example.org/", "WATCH.example.org", "a b", 1])
def test_allowed_host_that_no_browser_sends_is_refused(host: object, tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(f"ui: {{allowed_hosts: [{host!r}]}}\n")
    with pytest.raises(ConfigError, match=r"ui\.allowed_hosts.*is no host\. Write it like"):
        load_settings(file)
