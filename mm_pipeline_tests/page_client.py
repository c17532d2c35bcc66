"""A real server of the operator's page on loopback, and a browser's requests to it."""

from __future__ import annotations

import http.client
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from mm_pipeline.cli.page.server import page_server
from mm_pipeline.cli.up.processes import listen

TOKEN = "correct-horse-battery"  # noqa: S105 - of tests alone
FORM = "application/x-www-form-urlencoded"
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{ 7*7 }}"
"""Text that a page must show as text."""


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: str

    @property
    def form_token(self) -> str:
        """What the forms of this page bring back."""
        found = re.search(r'name="token" value="([0-9a-f]{64})"', self.body)
        assert found is not None, self.body
        return found[1]

    def pages(self, grid: str) -> list[str]:
        """Ids of the pages that the acknowledgement of a grid is about."""
        form = self.body.split(f'action="/grid/{grid}/acknowledge"')[1].split("</form>")[0]
        return re.findall(r'name="page" value="([^"]+)"', form)


@dataclass
class PageBrowser:
    """Keeps a cookie as a browser does, and sends exactly the headers that it is told."""

    url: str
    cookies: dict[str, str] = field(default_factory=dict)

    def ask(self, method: str, path: str, headers: Mapping[str, str] | None = None, body: str | None = None) -> Reply:
        """One request."""
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=30)
        sent = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())} if self.cookies else {}
        try:
            connection.request(method, path, body=body, headers=sent | dict(headers or {}))
            answer = connection.getresponse()
            return self._kept(
                Reply(
                    answer.status,
                    {k.lower(): v for k, v in answer.getheaders()},
                    answer.read().decode(errors="replace"),
                )
            )
        finally:
            connection.close()

    def get(self, path: str = "/") -> Reply:
        """A page as it is opened by hand."""
        return self.ask("GET", path, {"Sec-Fetch-Site": "none"})

    def post(self, path: str, **fields: str | list[str]) -> Reply:
        """A form of the page itself."""
        headers = {"Origin": self.url, "Sec-Fetch-Site": "same-origin", "Content-Type": FORM}
        return self.ask("POST", path, headers, urlencode(fields, doseq=True))

    def login(self, token: str = TOKEN, name: str = "ann") -> Reply:
        """Log in by the form."""
        return self.post("/login", token=token, name=name)

    def _kept(self, reply: Reply) -> Reply:
        found = re.match(r"mm_page=([^;]*);", reply.headers.get("set-cookie", ""))
        if found is not None:
            self.cookies["mm_page"] = found[1].strip('"')
        return reply


@contextmanager
def served_page(settings_file: Path) -> Iterator[PageBrowser]:
    """The page of an installation; its environment holds ``MM_HOME`` and ``MM_PAGE_TOKEN``."""
    with listen(0) as listening:
        server = page_server(listening, settings_file)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
            yield PageBrowser("http://{}:{}".format(*listening.getsockname()))
        finally:
            server.should_exit = True
            thread.join()


def text_of(reply: Reply) -> str:
    """What a reader sees, in one line."""
    return " ".join(re.sub(r"<[^>]+>", " ", reply.body.split("<main")[1]).split())


class Tags(HTMLParser):
    """Every tag of a page, as a browser finds them."""

    def __init__(self, body: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.feed(body)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))


def no_inline(body: str) -> None:
    """Nothing in a page that the policy would refuse, and no address but its own."""
    for tag, attributes in Tags(body).found:
        assert tag not in ("style", "img", "iframe", "object"), tag
        assert tag != "script" or attributes == {"src": "/static/page.js", "defer": ""}
        assert not [name for name in attributes if name == "style" or name.startswith("on")], attributes
        for name in ("src", "href", "action"):
            assert re.match(r"/(?!/)|\?|$", attributes.get(name, "")), attributes
