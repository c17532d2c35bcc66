"""The pictures of docs/studies/study-grids.md: one command that looks at a running UI through headless Chromium.

``python -m mm_pipeline_tests.ui_pictures --study NAME --partition "2024-03|seed"`` after the study's months were made.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote
from urllib.request import urlopen

from websockets.sync.client import ClientConnection, connect

FIGURES: Final = Path(__file__).parents[1] / "docs" / "studies" / "figures"
BROWSER: Final = "MM_CHROMIUM"
"""Environment variable with the browser's path; without it ``chromium`` is looked for."""
_SIZE: Final = (1640, 900)
_WITHIN_S: Final = 40.0
_POLL_S: Final = 0.25
_SETTLED_S: Final = 2.0
"""Pages of the UI go on drawing after their text is there."""


class Page:
    """One page of a browser, spoken to by the DevTools protocol."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._number = 0

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Ask for something, and wait for its answer."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._socket.recv())
            if answer.get("id") == self._number:
                result: dict[str, Any] = answer["result"]
                return result

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
        time.sleep(_SETTLED_S)

    def click(self, text: str, tag: str = "*") -> None:
        """Click the innermost element with exactly this text."""
        script = (
            f"(() => {{ const found = [...document.querySelectorAll({json.dumps(tag)})]"
            f".filter(e => e.innerText && e.innerText.trim() === {json.dumps(text)}).pop();"
            "if (!found) return false; found.scrollIntoView({block: 'center'}); found.click(); return true; })()"
        )
        if not self.value(script):
            raise LookupError(f"nothing says {text!r}")
        time.sleep(_SETTLED_S)

    def write(self, selector: str, text: str) -> None:
        """Write into a field, and leave it."""
        self.value(f"document.querySelector({json.dumps(selector)}).focus()")
        self.call("Input.insertText", text=text)
        self.value("document.activeElement.blur()")
        time.sleep(_SETTLED_S)

    def bring_up(self, text: str) -> None:
        """Scroll so that the innermost element with exactly this text stands at the top."""
        found = f"[...document.querySelectorAll('*')].filter(e => e.innerText === {json.dumps(text)}).pop()"
        self.value(f"{found}.scrollIntoView({{block: 'start'}})")
        time.sleep(_SETTLED_S)

    def shoot(self, path: Path) -> None:
        """Write what is seen as PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))
        print(f"written  {path}")


@contextmanager
def browser(program: str) -> Iterator[Page]:
    """A page of a headless browser that ends with the block."""
    with tempfile.TemporaryDirectory() as folder:
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
                page = Page(socket)
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


def pictures(ui: str, study: str, partition: str, months: str) -> dict[str, Callable[[Page], None]]:
    """How to come to each picture, by its name."""

    def at(asset: str, view: str) -> str:
        return f"{ui}/assets/{study}/{asset}?view={view}"

    chosen = f"partitions&partition={quote(partition)}"

    def launch(page: Page) -> None:
        page.open(at("signal_outcomes", "lineage"), shows="study_states")
        page.click("Materialize all…")
        page.wait_for("policy")
        page.write("input[placeholder^='ex: ']", months)
        page.click("All")  # the last one, of the policies
        page.click("Partition selection")
        page.click("Partition selection")

    def outcomes(page: Page) -> None:
        page.open(at("signal_outcomes", chosen), shows="scorecard")
        page.bring_up("episodes")

    def plot(page: Page, asset: str) -> None:
        page.open(at(asset, chosen), shows="[Show Markdown]")
        page.click("[Show Markdown]")
        page.wait_for("Close")

    return {
        "launch": launch,
        "outcomes": outcomes,
        "states-plot": lambda page: plot(page, "study_states"),
        "outcomes-plot": lambda page: plot(page, "signal_outcomes"),
    }


def main() -> None:
    """Take every picture, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ui", default="http://127.0.0.1:3000")
    parser.add_argument("--study", required=True)
    parser.add_argument("--partition", required=True, help="such as '2024-03|seed'")
    parser.add_argument("--months", default="[2024-01...2024-12]", help="of the dialog that launches them")
    parser.add_argument("--out", type=Path, default=FIGURES)
    parser.add_argument("names", nargs="*")
    asked = parser.parse_args()
    program = os.environ.get(BROWSER) or shutil.which("chromium")
    if program is None:
        sys.exit(f"There is no chromium on the path; name a Chromium or Chrome in {BROWSER}.")
    asked.out.mkdir(parents=True, exist_ok=True)
    with browser(program) as page:
        for name, come_to in pictures(asked.ui, asked.study, asked.partition, asked.months).items():
            if not asked.names or name in asked.names:
                come_to(page)
                page.shoot(asked.out / f"{name}.png")


if __name__ == "__main__":
    main()
