"""Rows 43, 44 and 50 on a real ``mm up``: foreign pages, processes that are killed or hang, and Postgres that restarts.

Two starts serve every test here: each test goes on where the one before has left the watch.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit

import pytest

from mm_pipeline.adapters.journal import Journal
from mm_pipeline.cli.up.family import holder
from mm_pipeline_tests.up_on_postgres import Watch, watched
from mm_pipeline_tests.up_process import (
    MM,
    installation,
    kill,
    process_of,
    processes_of,
    running,
    wait_for,
)

pytestmark = [
    pytest.mark.fault,
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are looked for in /proc"),
]

CODE_SERVER, DAEMON = "dagster api grpc", "dagster._daemon run"
WEBSERVER, REAPER = "orchestration.web_server", "cli.up.reaper"
OUTAGE_S = float(os.environ.get("MM_TEST_OUTAGE_S", "10"))
"""How long Postgres is away; the row says a minute."""
BLIND = 'mutation { setConcurrencyLimit(concurrencyKey: "frames", limit: 0) }'


@pytest.fixture(scope="module")
def watch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watch]:
    with watched(tmp_path_factory.mktemp("up")) as made:
        yield made


FOREIGN: dict[str, tuple[str, str, tuple[tuple[str, str], ...], bytes | None, str | None]] = {
    "the line that blinded the watch": (
        "GET", f"/graphql?query={quote(BLIND)}", (("Origin", "http://evil.example"),), None, "evil.example",
    ),
    "an image": ("GET", f"/graphql?query={quote(BLIND)}", (("Sec-Fetch-Site", "cross-site"),), None, None),
    "an image in an old browser": ("GET", f"/graphql?query={quote(BLIND)}", (), None, None),
    "HEAD": ("HEAD", f"/graphql?query={quote(BLIND)}", (), None, None),
    "two queries": ("GET", f"/graphql?query=%7Bversion%7D&query={quote(BLIND)}", (), None, None),
    "DNS rebinding": ("GET", "/", (), None, "evil.example:3000"),
    "a form": (
        "POST", "/graphql", (("Content-Type", "application/x-www-form-urlencoded"),),
        urlencode({"query": BLIND}).encode(), None,
    ),
    "a form with the query in the address": (
        "POST", f"/graphql?query={quote(BLIND)}", (("Content-Type", "text/plain"),), b"", None,
    ),
    "text that claims to be JSON": (
        "POST", "/graphql", (("Content-Type", "text/plain; application/json"),),
        json.dumps({"query": BLIND}).encode(), None,
    ),
    "a batch": (
        "POST", "/graphql", (("Content-Type", "application/json"),), json.dumps([{"query": BLIND}]).encode(), None,
    ),
    "a script of another site": (
        "POST", "/graphql", (("Content-Type", "application/json"), ("Origin", "http://evil.example")),
        json.dumps({"query": BLIND}).encode(), None,
    ),
    "a sandboxed frame": (
        "POST", "/graphql", (("Content-Type", "application/json"), ("Origin", "null")),
        json.dumps({"query": BLIND}).encode(), None,
    ),
    "another port of this machine": (
        "POST", "/graphql", (("Content-Type", "application/json"), ("Sec-Fetch-Site", "same-site")),
        json.dumps({"query": BLIND}).encode(), None,
    ),
    "an asset reported by a form": ("POST", "/report_asset_materialization/candles", (), b"", None),
}  # fmt: skip


def test_43_foreign_page_changes_and_reads_nothing(watch: Watch) -> None:
    answered = {}
    for name, (method, path, headers, body, host) in FOREIGN.items():
        answered[name] = watch.ask(method, path, *headers, body=body, host=host)[0]
    assert {name: status for name, status in answered.items() if status not in (400, 403, 405, 415)} == {}
    assert watch.limit() == 1


def test_43_websocket_of_another_site_is_refused_and_the_uis_own_is_not(watch: Watch) -> None:
    from websockets.exceptions import InvalidStatus
    from websockets.sync.client import connect

    place = f"ws://{urlsplit(watch.url).netloc}/graphql"
    for origin in ("http://evil.example", "null"):
        with pytest.raises(InvalidStatus, match="403"), connect(place, origin=origin, proxy=None):  # type: ignore[arg-type]
            pass
    with connect(place, origin=watch.url, subprotocols=["graphql-ws"], proxy=None) as own:  # type: ignore[arg-type,list-item]
        own.send(json.dumps({"type": "connection_init"}))
        assert json.loads(own.recv(30)) == {"type": "connection_ack"}
        query = 'subscription { capturedLogs(logKey: ["a"]) { stdout } }'
        own.send(json.dumps({"type": "start", "id": "1", "payload": {"query": query, "variables": {}}}))
        assert json.loads(own.recv(30))["type"] == "data"


def test_43_ui_and_its_files_are_served(watch: Watch) -> None:
    status, page = watch.ask("GET", "/runs", ("Accept", "text/html"), ("Sec-Fetch-Site", "none"))
    assert status == 200
    assert b"<html" in page
    script = page.decode().partition('src="')[2].partition('"')[0]
    assert watch.ask("GET", script, ("Sec-Fetch-Site", "same-origin"))[0] == 200


def test_44_second_up_on_the_same_home_is_refused(watch: Watch) -> None:
    done = subprocess.run(
        [str(MM), "up", "--port", "0", "--settings", str(watch.settings)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | watch.environment | {"MM_HOME": str(watch.home)},
    )
    assert done.returncode == 1
    assert f"process {watch.process.pid}" in done.stderr
    assert holder(watch.home) == watch.process.pid


def test_44_what_is_killed_or_hangs_is_started_again_and_said(watch: Watch) -> None:
    stopped = kill(watch.home, DAEMON, signal.SIGSTOP)
    for part, name in ((WEBSERVER, "webserver"), (CODE_SERVER, "code server")):
        before = kill(watch.home, part)
        line = f"{name} was killed by signal 9; started again (1 of at most 3"
        wait_for(lambda line=line: watch.output.has_said(line), line)
        wait_for(lambda part=part, before=before: process_of(watch.home, part) not in (None, before), f"a new {name}")
    reaper = kill(watch.home, REAPER)
    wait_for(lambda: process_of(watch.home, REAPER) not in (None, reaper), "a new reaper")
    silent = "daemon gave no sign of life for"  # on a busy machine it comes before the others
    wait_for(lambda: watch.output.has_said(silent), silent)
    wait_for(lambda: process_of(watch.home, DAEMON) not in (None, stopped), "a new daemon")
    assert not [title for title in watch.titles() if "again and again" in title]
    kill(watch.home, DAEMON)
    watch.output.until("daemon was killed by signal 9; started again (2 of at most 3")
    wait_for(lambda: "WATCH: the daemon dies again and again" in watch.titles(), "an alarm about the daemon")


def test_43_tick_that_waits_and_changed_limit_are_alarms(watch: Watch) -> None:
    wait_for(lambda: "SUCCESS" in watch.runs().values(), "the first evaluation")
    before = watch.runs()
    assert watch.graphql(BLIND) == {"setConcurrencyLimit": True}
    watch.output.until("The limit of the pool frames is 0 and must be 1")
    watch.edit_a_grid()
    watch.output.until("BLIND: an evaluation waits and does not begin")
    expected = {"WATCH: the limit of the pool was changed", "BLIND: an evaluation waits and does not begin"}
    wait_for(lambda: expected <= set(watch.titles()), f"alarms on the phone; there are {watch.titles()}")
    assert watch.graphql(BLIND.replace("limit: 0", "limit: 1")) == {"setConcurrencyLimit": True}
    watch.output.until("the limit of the pool is right again")
    wait_for(lambda: watch.has_run_after(before), "the evaluation that waited")


def test_50_postgres_restarts_and_the_watch_goes_on(watch: Watch) -> None:
    wait_for(lambda: watch.has_run_after({}), "the first evaluation")
    url = watch.environment["MM_JOURNAL_URL"]
    with Journal(url) as journal:
        recorded = journal.evaluations()
    assert recorded
    before = watch.runs()
    watch.server.stop_at_once()
    wait_for(lambda: watch.said("cannot be watched") >= {"journal", "Dagster's storage"}, "a line about the outage")
    watch.server.start()
    wait_for(lambda: watch.said("can be watched again") == watch.said("cannot be watched"), "a line about its end")
    lines = [line for line in watch.output.drain() if "cannot be watched" in line]
    assert len(lines) == len(watch.said("cannot be watched")), "each is said once"
    watch.server.stop_at_once()
    watch.server.start()  # a restart of a second or two
    watch.edit_a_grid()
    wait_for(lambda: watch.has_run_after(before), "an evaluation after the restarts")
    with Journal(url) as journal:
        assert [one for one in recorded if one not in journal.evaluations()] == []
    assert watch.process.poll() is None


def test_50_postgres_away_loses_nothing_and_nothing_is_said_twice(watch: Watch) -> None:
    """A stop that was passed meanwhile is paged once, as soon as there is a journal again."""
    wait_for(lambda: "SUCCESS" in watch.runs().values() and not watch.is_busy(), "an end of every evaluation")
    url = watch.environment["MM_JOURNAL_URL"]
    with Journal(url) as journal:
        recorded, decided = journal.evaluations(), journal.notifications.decisions()
    said = len(watch.output.drain())
    watch.server.stop_at_once()
    watch.add_grid("late", lower=6000, upper=7000, stop_loss=5000)
    time.sleep(OUTAGE_S)
    watch.server.start()
    wait_for(lambda: [title for title in watch.titles() if "late" in title], "a page about the stop")
    wait_for(lambda: not watch.is_busy(), "an end of its evaluation")
    with Journal(url) as journal:
        assert [one for one in recorded if one not in journal.evaluations()] == []
        assert [one for one in decided if one not in journal.notifications.decisions()] == []

    def named(words: str) -> list[str]:
        lines = [line.partition("   ")[2] for line in watch.output.drain()[said:] if words in line]
        return sorted(line.partition(f" {words}")[0] for line in lines)

    wait_for(lambda: named("can be watched again") == named("cannot be watched"), "a line about its end")
    began = named("cannot be watched")
    assert "journal" in began
    assert len(began) == len(set(began)), "each is said once"
    noise = ("Retrying", "started again", "an alarm waits")
    assert [line for line in watch.output.drain()[said:] if any(words in line for words in noise)] == []
    tags = Counter(tag for message in watch.phone.messages for tag in message.tags)
    assert {tag: number for tag, number in tags.items() if number > 1} == {}
    assert [title for title in watch.titles() if "DUPLICATE" in title] == []
    assert watch.process.poll() is None


def test_44_what_dies_too_often_ends_the_watch_with_a_page(watch: Watch) -> None:
    killed: set[int] = set()

    def ended_or_kills_another() -> bool:
        pid = process_of(watch.home, CODE_SERVER)
        if pid is not None and pid not in killed:
            killed.add(kill(watch.home, CODE_SERVER))
        return watch.process.poll() is not None

    wait_for(ended_or_kills_another, "an end of mm up")  # whatever the tests before have used of its restarts
    assert watch.process.wait(120) == 1
    assert "BLIND: mm up has ended" in watch.titles()
    assert processes_of(watch.home) == {}
    assert holder(watch.home) is None


@pytest.mark.parametrize("victims", [("mm up",), ("mm up", REAPER)], ids=["alone", "with its reaper"])
def test_44_killed_up_takes_its_children_along(tmp_path: Path, victims: tuple[str, ...]) -> None:
    home = tmp_path / "home"
    with running(home, "--settings", str(installation(tmp_path))) as (process, output):
        output.until("starting Dagster")
        wait_for(lambda: process_of(home, CODE_SERVER), "the code server")
        reaper = process_of(home, REAPER)
        assert reaper is not None
        if REAPER in victims:
            os.kill(reaper, signal.SIGKILL)
        process.kill()
        process.wait()
        wait_for(lambda: processes_of(home) == {}, "an end of every process of the home")
        assert holder(home) is None
