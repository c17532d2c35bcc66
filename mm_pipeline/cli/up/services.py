"""The processes behind ``mm up``, each started by itself: code server, daemon, UI behind its check, operator's page.

``dagster dev`` would start them too, but ends all when one dies, and starts none again.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from mm_pipeline.adapters.config.home import HOME_VARIABLE, dagster_dir
from mm_pipeline.cli.up.family import MARK, mark_of

CODE_SERVER: Final = "code server"
DAEMON: Final = "daemon"
WEBSERVER: Final = "webserver"
PAGE: Final = "page"
MODULE: Final = "mm_pipeline.definitions"
LOCATION: Final = MODULE
"""Name of the code location, as ``dagster dev -m`` gives it: schedules that were switched off stay so."""
_LOG_LINES: Final = 12
_KILLED_WITHIN_S: Final = 5.0


@dataclass(frozen=True)
class Service:
    """What is started: its name, its command, and the file descriptors that it is given.

    ``is_vital`` says whether the watch ends where it cannot be kept running.
    """

    name: str
    command: tuple[str, ...]
    pass_fds: tuple[int, ...] = ()
    is_vital: bool = True


def services(folder: Path, listening: socket.socket, allowed_hosts: Sequence[str]) -> tuple[Service, ...]:
    """Those of Dagster, in the order of their start.

    Parameters
    ----------
    folder
        Private to this ``mm up``: the code server's socket and the file that names it are made there. A Unix socket's
        path may have 107 bytes, so it is a temporary one.
    listening
        Where the UI listens, on loopback.
    allowed_hosts
        Names of the UI beside loopback's.
    """
    workspace = folder / "workspace.yaml"
    server = {"socket": str(code_server_socket(folder)), "location_name": LOCATION}
    workspace.write_text(yaml.safe_dump({"load_from": [{"grpc_server": server}]}))
    api = ("-m", "dagster", "api", "grpc", "--socket", server["socket"], "--module-name", MODULE)
    daemon = ("-m", "dagster._daemon", "run", "--workspace", str(workspace))
    fd = listening.fileno()
    web = ("-m", "mm_pipeline.orchestration.web_server", "--fd", str(fd), "--workspace", str(workspace))
    hosts = tuple(part for host in allowed_hosts for part in ("--allowed-host", host))
    return (
        Service(CODE_SERVER, (*api, "--location-name", LOCATION, "--log-level", "warning")),
        Service(DAEMON, daemon),
        Service(WEBSERVER, (*web, *hosts), (fd,)),
    )


def page_service(listening: socket.socket) -> Service:
    """The operator's page, which the watch does without where it cannot be kept running.

    Parameters
    ----------
    listening
        Where it listens, on loopback.
    """
    fd = listening.fileno()
    return Service(PAGE, ("-m", "mm_pipeline.cli.page.server", "--fd", str(fd)), (fd,), is_vital=False)


def code_server_socket(folder: Path) -> Path:
    """Where the code server listens."""
    return folder / "code.sock"


def environment_of(home: Path, settings: Path | None) -> dict[str, str]:
    """What every child needs to find the same home and settings, and to be found."""
    chosen = {HOME_VARIABLE: str(home), "DAGSTER_HOME": str(dagster_dir(home)), MARK: mark_of(home)}
    if settings is not None:
        chosen["MM_SETTINGS"] = str(settings.resolve())
    return os.environ | chosen


class Child:
    """One running service; it is started from the main thread alone, for it dies with the thread that started it."""

    def __init__(self, service: Service, *, environment: dict[str, str], log: Path) -> None:
        self.name = service.name
        self.is_vital = service.is_vital
        self._service = service
        self._environment = environment
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, again where it ran before."""
        wrapped = [sys.executable, "-m", "mm_pipeline.cli.up.exec", str(os.getpid()), sys.executable]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter, fixed arguments
                [*wrapped, *self._service.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                pass_fds=self._service.pass_fds,
                start_new_session=True,  # Ctrl-C in the terminal is for mm up alone
            )

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def end(self) -> str:
        """In words, how it ended."""
        code = self._process.returncode if self._process is not None else None
        if code is None:
            return "is not running"
        return f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"

    def kill(self) -> None:
        """End it at once, and the runs that it started: it may be silent because one of them hangs."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)  # it leads a session of its own
            self.wait(_KILLED_WITHIN_S)

    def ask_to_end(self) -> None:
        """Let it end by itself."""
        if self._process is not None and self.is_running:
            self._process.send_signal(signal.SIGINT)

    def wait(self, within_s: float) -> None:
        """Wait for its end, for at most so long."""
        if self._process is not None:
            try:
                self._process.wait(max(within_s, 0.0))
            except subprocess.TimeoutExpired:
                return


def last_lines(log: Path) -> str:
    """The end of a log, for an error that sends its reader there."""
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return "\n".join(["Its last lines:", *lines[-_LOG_LINES:]]) if lines else ""
