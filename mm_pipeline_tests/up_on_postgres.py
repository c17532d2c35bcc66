"""``mm up`` with its journal and Dagster's own storage on one Postgres, for tests: asked as its UI's page asks it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from mm_pipeline.adapters.dagster_folder import INSTANCE_SETTINGS
from mm_pipeline.paper.pushover import PaperPushover
from mm_pipeline_tests.postgres_server import PostgresServer, session_server
from mm_pipeline_tests.ui_client import UiClient, UiError
from mm_pipeline_tests.up_process import LOCAL_GRIDS, Output, installation, running

KEYS = {"MM_TEST_TOKEN": "a" * 30, "MM_TEST_USER": "u" * 30}
SETTINGS = """
channels:
  - {{name: phone, kind: pushover, token_env: MM_TEST_TOKEN, user_env: MM_TEST_USER, api_url: "{phone}"}}
supervision: {{queued_for: 10s, silent_for: 60s, restarts: 3, restart_window: 1d}}
"""


@dataclass
class Watch(UiClient):
    """A running ``mm up`` whose journal and whose Dagster storage are on Postgres."""

    home: Path
    grids: Path
    settings: Path
    environment: dict[str, str]
    process: subprocess.Popen[str]
    output: Output
    phone: PaperPushover
    server: PostgresServer

    def limit(self) -> int:
        """The pool's limit."""
        found = self.graphql('{instance{concurrencyLimit(concurrencyKey: "frames"){limit}}}')
        return int(found["instance"]["concurrencyLimit"]["limit"])

    def has_run_after(self, before: dict[str, str]) -> bool:
        """Whether a run that was not there before has succeeded; False while the UI cannot say."""
        try:
            return "SUCCESS" in {status for run, status in self.runs().items() if run not in before}
        except UiError:
            return False

    def is_busy(self) -> bool:
        """Whether a run waits or is under way; so it seems too while the UI cannot say."""
        try:
            return not {"SUCCESS", "FAILURE", "CANCELED"} >= set(self.runs().values())
        except UiError:
            return True

    def titles(self) -> list[str]:
        """Titles of what reached the phone."""
        return [message.title for message in self.phone.messages]

    def said(self, words: str) -> set[str]:
        """What the terminal says these words of, behind the time of day."""
        lines = [line.partition("   ")[2] for line in self.output.drain()]
        return {line.partition(f" {words}")[0] for line in lines if words in line}

    def edit_a_grid(self) -> None:
        """A new evaluation is asked for: the sensor of grid files sees another content."""
        file = self.grids / "eth-paper.yaml"
        file.write_text(file.read_text() + "# edited\n")

    def add_grid(self, grid_id: str, **changes: int) -> None:
        """Another grid of the same market; a new evaluation is asked for."""
        grid = yaml.safe_load((self.grids / "eth-paper.yaml").read_text()) | {"id": grid_id} | changes
        (self.grids / f"{grid_id}.yaml").write_text(yaml.safe_dump(grid))


@contextmanager
def watched(folder: Path) -> Iterator[Watch]:
    """Started on a fresh home in this folder, with a phone; the server runs at the end, whatever a test did to it."""
    home, grids, server = folder / "home", folder / "grids", session_server()
    shutil.copytree(LOCAL_GRIDS, grids)
    (home / "dagster").mkdir(parents=True)
    packaged = yaml.safe_load(INSTANCE_SETTINGS.read_text())
    storage = {"storage": {"postgres": {"postgres_url": server.new_database()}}}
    (home / "dagster" / "dagster.yaml").write_text(yaml.safe_dump(packaged | storage))
    environment = {**KEYS, "MM_JOURNAL_URL": server.new_database()}
    with ExitStack() as stack:
        phone = stack.enter_context(PaperPushover())
        stack.callback(server.start)
        settings = installation(folder, SETTINGS.format(phone=phone.url), grids=grids)
        process, output = stack.enter_context(running(home, "--settings", str(settings), environment=environment))
        url = output.until("UI ").split()[1]
        yield Watch(
            home=home,
            grids=grids,
            settings=settings,
            environment=environment,
            process=process,
            output=output,
            url=url,
            phone=phone,
            server=server,
        )
