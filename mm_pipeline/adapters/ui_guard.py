"""The check in front of what is served to browsers: what a foreign web page sends is refused before anybody reads it.

Dagster's webserver runs a mutation that comes by plain GET, from any Origin, under any Host. So every page that an
operator opens could stop the watch, and a name that resolves to loopback could read it. The check is an ASGI
application around the webserver's own, so nothing listens that does not pass it. The operator's page stands behind the
same check; it takes forms where the UI takes JSON.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, MutableMapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

GRAPHQL: Final = "/graphql"
JSON: Final = "application/json"
FORM: Final = "application/x-www-form-urlencoded"
_READING: Final = ("GET", "HEAD", "OPTIONS")
_OWN_SITES: Final = ("same-origin", "none")
_BLANK: Final = b" \t\r\n"
_MAX_BLANK: Final = 4096
"""A body that begins with more white space than this, in bytes, is refused: nobody's client sends that."""
_UNFRAMED: Final = ((b"x-frame-options", b"DENY"), (b"content-security-policy", b"frame-ancestors 'none'"))
"""A page that shows the UI in a frame could have its buttons clicked."""


@dataclass(frozen=True)
class Refusal:
    """Why a request is refused: HTTP status, and what the person in front of it reads."""

    status: int
    reason: str


def loopback_hosts(port: int) -> tuple[str, ...]:
    """What a browser on this machine sends as Host to a server on this port."""
    return (f"127.0.0.1:{port}", f"localhost:{port}", f"[::1]:{port}")


class UiGuard:
    """ASGI application that passes on what comes from the UI itself, and refuses the rest.

    Parameters
    ----------
    app
        The webserver's application.
    hosts
        Every ``host:port`` (or ``host`` alone for port 80 and 443) under which the UI may be asked.
    takes
        Content type of what may change something: ``JSON``, or ``FORM`` of an application that checks a token itself.
    """

    def __init__(self, app: App, *, hosts: Collection[str], takes: str = JSON) -> None:
        self._app = app
        self._hosts = frozenset(hosts)
        self._takes = takes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection (ASGI)."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        refusal = refusal_of(scope, self._hosts, takes=self._takes)
        if refusal is None and scope["type"] == "http" and _is_graphql(scope) and scope["method"] not in _READING:
            refusal, receive = await _checked_body(receive)
        if refusal is not None:
            await _refuse(scope, receive, send, refusal)
            return
        await self._app(scope, receive, _unframed(send))


def refusal_of(scope: Scope, hosts: Collection[str], *, takes: str = JSON) -> Refusal | None:
    """Why this request is refused, by its first line and headers alone; None where it is passed on."""
    return _foreign(scope, hosts) or (_unsafe(scope, takes) if scope["type"] == "http" else None)


def _foreign(scope: Scope, hosts: Collection[str]) -> Refusal | None:
    """Whether somebody else's page sends it, or under somebody else's name."""
    named = _values(scope, b"host")
    if len(named) != 1 or named[0].lower() not in hosts:
        shown = ", ".join(ascii(host) for host in named) or "missing"
        places = ", ".join(sorted(hosts))
        return Refusal(403, f"Host is {shown}. Open one of {places}, or add the name to ui.allowed_hosts.")
    origins = _values(scope, b"origin")
    if len(origins) > 1 or any(not _is_own(origin, hosts) for origin in origins):
        return Refusal(403, f"The Origin {', '.join(ascii(origin) for origin in origins)} is another site's.")
    sites = _values(scope, b"sec-fetch-site")
    if any(site not in _OWN_SITES for site in sites):
        return Refusal(403, "Another site led here. Type the address of the UI into the browser instead.")
    return None


def _is_own(origin: str, hosts: Collection[str]) -> bool:
    scheme, separator, host = origin.lower().partition("://")
    return bool(separator) and scheme in ("http", "https") and host in hosts


def _unsafe(scope: Scope, takes: str) -> Refusal | None:
    """Whether it could change something although no browser asked first."""
    if scope["method"] in _READING:
        return _changing_query(scope) if _is_graphql(scope) else None
    kinds = _values(scope, b"content-type")
    # What comes before the semicolon decides whether a browser asks first; "text/plain; application/json" is text.
    if len(kinds) != 1 or kinds[0].partition(";")[0].strip() != takes:
        return Refusal(415, f"Send the body as Content-Type: {takes}.")
    # A browser sends any site's form without asking first, but says whose page it stands on.
    if takes == FORM and not _values(scope, b"origin"):
        return Refusal(403, "The request does not say of which Origin it is; send it from the page itself.")
    return None


def _changing_query(scope: Scope) -> Refusal | None:
    from graphql import GraphQLError, OperationDefinitionNode, OperationType, parse

    pairs = parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
    for query in (value for name, value in pairs if name == "query"):
        try:
            definitions = parse(query).definitions
        except (GraphQLError, RecursionError):
            return Refusal(400, "The query in the address is no GraphQL.")
        operations = [node.operation for node in definitions if isinstance(node, OperationDefinitionNode)]
        if any(operation is not OperationType.QUERY for operation in operations):
            return Refusal(405, "A GET may only read: send a mutation by POST as application/json.")
    return None


async def _checked_body(receive: Receive) -> tuple[Refusal | None, Receive]:
    """The refusal of a body that is no single JSON object, and what hands out the body again."""
    taken: list[Message] = []
    blank_bytes = 0
    refusal: Refusal | None = None
    while True:
        message = await receive()
        taken.append(message)
        body = bytes(message.get("body", b""))
        begun = body.lstrip(_BLANK)
        blank_bytes += len(body) - len(begun)
        is_last = message["type"] != "http.request" or not message.get("more_body", False)
        if begun or is_last or blank_bytes > _MAX_BLANK:
            if not begun.startswith(b"{") and message["type"] == "http.request":
                refusal = Refusal(400, "Send one GraphQL operation as a JSON object; batches are not taken.")
            return refusal, _again(taken, receive)


def _again(taken: list[Message], receive: Receive) -> Receive:
    async def receive_again() -> Message:
        return taken.pop(0) if taken else await receive()

    return receive_again


async def _refuse(scope: Scope, receive: Receive, send: Send, refusal: Refusal) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": ""})  # before it is accepted: status 403
        return
    body = f"{refusal.reason}\n".encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"cache-control", b"no-store"),
        (b"connection", b"close"),  # the rest of a body that was not read is never taken for a request
    ]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


def _unframed(send: Send) -> Send:
    async def send_unframed(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *_UNFRAMED]
        await send(message)

    return send_unframed


def _is_graphql(scope: Scope) -> bool:
    return str(scope["path"]).rstrip("/") == GRAPHQL


def _values(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1").strip() for key, value in scope["headers"] if key.lower() == name]
