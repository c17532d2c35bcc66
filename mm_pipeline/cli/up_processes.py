"""The processes behind ``mm up``: started with what they need to find the same home, stopped with their children."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Final, Self

from mm_pipeline.adapters.home import HOME_VARIABLE, dagster_dir
from mm_pipeline.domain.errors import PipelineError

LOOPBACK: Final = "127.0.0.1"
READY_WITHIN_S: Final = 120.0
STOP_WITHIN_S: Final = 20.0
_POLL_S: Final = 0.25
_LOG_LINES: Final = 12

# A proxy of the environment must not stand between two processes of one machine.
_http = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Stop:
    """Whether SIGINT or SIGTERM came; a context manager, for the main thread."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def is_asked_within(self, seconds: float) -> bool:
        """Wait for a signal for at most so long; whether one came, now or before."""
        return self._event.wait(seconds)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._event.set()


class DagsterProcess:
    """``dagster dev`` (webserver, daemon, code server) in a session of its own; a context manager.

    Parameters
    ----------
    home
        The installation's home; Dagster's is inside it.
    settings
        The operator's file; None for the packaged defaults.
    port
        Of the UI, on loopback.
    log
        File that takes everything it prints.
    """

    def __init__(self, *, home: Path, settings: Path | None, port: int, log: Path) -> None:
        self.log = log
        self.url = f"http://{LOOPBACK}:{port}"
        self._home = home
        self._settings = settings
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "dagster", "dev", "-m", "mm_pipeline.definitions"]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter, fixed arguments
                [*command, "--host", LOOPBACK, "--port", str(self._port)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment(),
                start_new_session=True,
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                self._process.terminate()
        _end_session(self._process.pid)
        self._process.wait()

    def wait_until_ready(self, stop: Stop) -> bool:
        """Whether the UI answers; False when a signal came first.

        Raises
        ------
        PipelineError
            When Dagster ended or did not answer in time, with the end of its log.
        """
        end_s = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < end_s:
            self.check()
            if _answers(f"{self.url}/server_info"):
                return True
            if stop.is_asked_within(_POLL_S):
                return False
        raise PipelineError(f"the UI did not answer within {READY_WITHIN_S:g} s. {self._tail()}", f"See {self.log}.")

    def check(self) -> None:
        """Raise :class:`PipelineError` when Dagster has ended by itself."""
        if self._process is None or self._process.poll() is not None:
            raise PipelineError(f"Dagster has ended. {self._tail()}", f"See {self.log}.")

    def _environment(self) -> dict[str, str]:
        chosen = {HOME_VARIABLE: str(self._home), "DAGSTER_HOME": str(dagster_dir(self._home))}
        if self._settings is not None:
            chosen["MM_SETTINGS"] = str(self._settings.resolve())
        return os.environ | chosen

    def _tail(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(["Its last lines:", *lines[-_LOG_LINES:]]) if lines else ""


def free_port(port: int) -> int:
    """The port, or a free one for 0.

    Raises
    ------
    PipelineError
        When something listens there already.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise PipelineError(
                f"port {port} cannot be listened on ({reason}).", "Stop what uses it, or give another --port."
            ) from error
        found: int = probe.getsockname()[1]
        return found


def is_paper_exchange(url: str) -> bool:
    """Whether a paper exchange answers there."""
    return _answers(f"{url}/paper/state")


def _answers(url: str) -> bool:
    try:
        with _http.open(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def _end_session(leader: int) -> None:
    """Kill what is left of a session: a child that outlives Dagster would go on ticking unseen."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        return
