"""Rows 43 and 44 for the operator's page behind a real ``mm up``: foreign pages, a kill, a hang, and a port in use."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from mm_pipeline.cli.up.processes import listen
from mm_pipeline_tests.effort import IS_SEARCH
from mm_pipeline_tests.page_client import FORM, TOKEN, PageBrowser
from mm_pipeline_tests.up_process import (
    installation,
    kill,
    process_of,
    processes_of,
    running,
    unused_port,
    wait_for,
)

pytestmark = [
    pytest.mark.fault,
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are looked for in /proc"),
]

SERVER = "cli.page.server"
TOKENS = {"MM_PAGE_TOKEN": TOKEN}


def test_43_44_page_is_guarded_started_again_and_ends_with_the_watch(tmp_path: Path) -> None:
    home = tmp_path / "home"
    port = unused_port()
    settings = installation(tmp_path, f"page: {{port: {port}}}\nsupervision: {{silent_for: 1min}}\n")
    with running(home, "--settings", str(settings), environment=TOKENS) as (process, output):
        url = output.until("page  ").split()[1]
        assert url == f"http://127.0.0.1:{port}"
        link = output.until("read only").split()[2]
        browser = PageBrowser(url)
        assert browser.login().status == 303
        assert browser.ask("GET", "/", {"Host": "evil.example"}).status == 403
        foreign = {"Origin": "http://evil.example", "Content-Type": FORM}
        assert browser.ask("POST", "/grid/eth-paper/flat", foreign, "token=a").status == 403
        output.until("eth-paper")
        wait_for(lambda: "eth-paper</a>" in browser.get().body, "the card of the grid")
        reader = PageBrowser(url)
        assert reader.get(link.removeprefix(url)).status == 303
        assert "reading only" in reader.get().body
        for number in (signal.SIGKILL, *([signal.SIGSTOP] if IS_SEARCH else [])):  # a minute until it is missed
            before = kill(home, SERVER, number)
            wait_for(lambda before=before: process_of(home, SERVER) not in (None, before), "a new page")
            wait_for(lambda: _answers(browser), "an answer of the new page")
        process.send_signal(signal.SIGTERM)
        output.until("stopped")
        assert process.wait(timeout=60) == 0
    assert processes_of(home) == {}


def test_44_port_in_use_and_a_missing_token_are_said_and_the_watch_runs(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with listen(0) as taken:
        settings = installation(tmp_path, f"page: {{port: {taken.getsockname()[1]}}}\n")
        with running(home, "--settings", str(settings), environment=TOKENS) as (_, output):
            assert "cannot be listened on" in output.until("page  ")
            assert process_of(home, SERVER) is None
    with running(home, "--settings", str(settings), environment={"MM_PAGE_TOKEN": ""}) as (_, output):
        assert "not served: MM_PAGE_TOKEN is not set" in output.until("page  ")


def _answers(browser: PageBrowser) -> bool:
    try:
        return browser.get("/alive").status == 200
    except OSError:
        return False
