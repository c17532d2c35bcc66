"""A real code server and a real ``dagster-daemon``, with nobody to start them again: for the fault tests."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import yaml

from mm_pipeline.adapters.config.home import dagster_dir
from mm_pipeline.adapters.dagster_folder import INSTANCE_SETTINGS
from mm_pipeline.cli.up.health import code_server_answers
from mm_pipeline.orchestration.runs import opened_instance
from mm_pipeline_tests.steered_definitions import STEER
from mm_pipeline_tests.up_process import processes_of, wait_for

MODULE = "mm_pipeline_tests.steered_definitions"
POLL_S = 2
"""Of run monitoring, which looks every 15 s as it is packaged."""


@dataclass
class Daemons:
    """Code server and daemon of one home, each a process of its own."""

    home: Path
    settings: Path
    steer: Path
    environment: Mapping[str, str]
    sockets: Path
    instance: dg.DagsterInstance
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str) -> None:
        """Start the code server or the daemon, again where it was killed."""
        socket = self.sockets / "code.sock"
        workspace = self.home / "workspace.yaml"
        if name == "code server":
            socket.unlink(missing_ok=True)
            command = ["-m", "dagster", "api", "grpc", "--socket", str(socket), "--module-name", MODULE]
            command += ["--location-name", MODULE, "--log-level", "warning"]
        else:
            server = {"socket": str(socket), "location_name": MODULE}
            workspace.write_text(yaml.safe_dump({"load_from": [{"grpc_server": server}]}))
            command = ["-m", "dagster._daemon", "run", "--workspace", str(workspace)]
        chosen = {"MM_HOME": str(self.home), "DAGSTER_HOME": str(dagster_dir(self.home))}
        chosen |= {"MM_SETTINGS": str(self.settings), STEER: str(self.steer)}
        with (self.home / "processes.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                [sys.executable, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | chosen | dict(self.environment),
            )
        if name == "code server":
            wait_for(lambda: code_server_answers(socket), "an answer of the code server")

    def kill(self, name: str) -> None:
        """End one without a word."""
        self.running[name].kill()
        self.running[name].wait()

    def records(self, **filters: Any) -> list[dg.RunRecord]:
        """Runs of the home, the newest first."""
        return list(self.instance.get_run_records(dg.RunsFilter(**filters)))

    def run_processes(self) -> list[int]:
        """Process ids of the runs that the code server has started."""
        parent = self.running["code server"].pid
        return [
            pid
            for pid, command in processes_of(self.home).items()
            if "multiprocessing.spawn" in command and _parent_of(pid) == parent
        ]

    def log(self) -> str:
        """The end of what they wrote."""
        return (self.home / "processes.log").read_text(errors="replace")[-4000:]


@contextmanager
def daemons(folder: Path, settings: Path, *, steer: Path, environment: Mapping[str, str]) -> Iterator[Daemons]:
    """Both, started on a home of their own; at the end no process of that home is left."""
    home = folder / "home"
    dagster_dir(home).mkdir(parents=True)
    chosen = yaml.safe_load(INSTANCE_SETTINGS.read_text())
    chosen["run_monitoring"]["poll_interval_seconds"] = POLL_S
    (dagster_dir(home) / "dagster.yaml").write_text(yaml.safe_dump(chosen))
    with ExitStack() as stack:
        sockets = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mm-")))  # a socket's path is short
        instance = stack.enter_context(opened_instance(home))
        made = Daemons(
            home=home, settings=settings, steer=steer, environment=environment, sockets=sockets, instance=instance
        )
        stack.callback(_end_all, made)
        made.start("code server")
        made.start("daemon")
        yield made


def _end_all(made: Daemons) -> None:
    for process in made.running.values():
        process.kill()
        process.wait()
    for pid in processes_of(made.home):
        try:
            os.kill(pid, 9)
        except ProcessLookupError:
            continue


def _parent_of(pid: int) -> int:
    try:
        return int((Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, ValueError):
        return 0
