"""A headless Chromium, spoken to by the DevTools protocol."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.request import urlopen

from websockets.sync.client import ClientConnection, connect

BROWSER: Final = "MM_CHROMIUM"
"""Environment variable with the browser's path; without it ``chromium`` is looked for."""
_SIZE: Final = (1640, 900)
_WITHIN_S: Final = 40.0
_POLL_S: Final = 0.25
_SETTLED_S: Final = 2.0
"""Pages of Dagster's UI go on drawing after their text is there."""


def program() -> str | None:
    """Path of the browser; None where there is none."""
    return os.environ.get(BROWSER) or shutil.which("chromium")


class Page:
    """One page of a browser, spoken to by the DevTools protocol."""

    def __init__(self, socket: ClientConnection, *, settled_s: float = _SETTLED_S) -> None:
        self._socket = socket
        self._number = 0
        self._settled_s = settled_s
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Ask for something, and wait for its answer."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._socket.recv())
            if answer.get("id") == self._number:
                result: dict[str, Any] = answer["result"]
                return result
            if "method" in answer:
                self.events.append(answer)

    def value(self, script: str) -> Any:
        """What a line of JavaScript comes to."""
        return self.call("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")

    def open(self, url: str, *, shows: str) -> None:
        """Go to an address, and wait until a text is there."""
        self.call("Page.navigate", url=url)
        self.wait_for(shows)

    def wait_for(self, text: str) -> None:
        """Wait until a text is on the page, and drawn."""
        end_s = time.monotonic() + _WITHIN_S
        while not self.value(f"document.body && document.body.innerText.includes({json.dumps(text)})"):
            if time.monotonic() > end_s:
                shown = str(self.value("document.body.innerText"))[:600]
                raise TimeoutError(f"{text!r} did not come; there is: {shown}")
            time.sleep(_POLL_S)
        time.sleep(self._settled_s)

    def click(self, text: str, tag: str = "*") -> None:
        """Click the innermost element with exactly this text."""
        script = (
            f"(() => {{ const found = [...document.querySelectorAll({json.dumps(tag)})]"
            f".filter(e => e.innerText && e.innerText.trim() === {json.dumps(text)}).pop();"
            "if (!found) return false; found.scrollIntoView({block: 'center'}); found.click(); return true; })()"
        )
        if not self.value(script):
            raise LookupError(f"nothing says {text!r}")
        time.sleep(self._settled_s)

    def write(self, selector: str, text: str) -> None:
        """Write into a field, and leave it."""
        self.value(f"document.querySelector({json.dumps(selector)}).focus()")
        self.call("Input.insertText", text=text)
        self.value("document.activeElement.blur()")
        time.sleep(self._settled_s)

    def bring_up(self, text: str) -> None:
        """Scroll so that the innermost element with exactly this text stands at the top."""
        found = f"[...document.querySelectorAll('*')].filter(e => e.innerText === {json.dumps(text)}).pop()"
        self.value(f"{found}.scrollIntoView({{block: 'start'}})")
        time.sleep(self._settled_s)

    def shoot(self, path: Path) -> None:
        """Write what is seen as PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))
        print(f"written  {path}")


@contextmanager
def browser(program: str, *, settled_s: float = _SETTLED_S) -> Iterator[Page]:
    """A page of a headless browser that ends with the block."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # it writes on while it ends
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-port=0"]
        command = [
            program,
            *options,
            f"--user-data-dir={folder}",
            f"--window-size={_SIZE[0]},{_SIZE[1]}",
            "about:blank",
        ]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            port = _port(Path(folder) / "DevToolsActivePort")
            with urlopen(f"http://127.0.0.1:{port}/json/list") as answer:
                target = next(one for one in json.load(answer) if one["type"] == "page")
            with connect(target["webSocketDebuggerUrl"], max_size=None, proxy=None) as socket:
                page = Page(socket, settled_s=settled_s)
                page.call("Page.enable")
                yield page
        finally:
            process.terminate()
            process.wait()


def _port(file: Path) -> str:
    end_s = time.monotonic() + _WITHIN_S
    while not (file.exists() and file.read_text().strip()):
        if time.monotonic() > end_s:
            raise TimeoutError("the browser did not start")
        time.sleep(_POLL_S)
    return file.read_text().splitlines()[0]
