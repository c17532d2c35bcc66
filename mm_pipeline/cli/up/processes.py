"""What ``mm up`` needs of the operating system: signals, the port of its UI, and who else listens on loopback."""

from __future__ import annotations

import signal
import socket
import threading
from types import FrameType, TracebackType
from typing import Any, Final, Self

from mm_pipeline.cli.up.health import answers
from mm_pipeline.domain.errors import PipelineError

LOOPBACK: Final = "127.0.0.1"
_BACKLOG: Final = 128


class Stop:
    """Whether SIGINT, SIGTERM or SIGHUP came; a context manager, for the main thread.

    A SIGHUP that was ignored before stays ignored: ``nohup mm up`` outlives its terminal.
    """

    def __init__(self) -> None:
        self._event = threading.Event()
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number is signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                continue
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ask()
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def ask(self) -> None:
        """Stop as if a signal had come."""
        self._event.set()

    def is_asked_within(self, seconds: float) -> bool:
        """Wait for a signal for at most so long; whether one came, now or before."""
        return self._event.wait(seconds)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._event.set()


def listen(port: int) -> socket.socket:
    """A socket that listens on this port of loopback, or on a free one for 0.

    Raises
    ------
    PipelineError
        When something listens there already.
    """
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((LOOPBACK, port))
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        reason = (error.strerror or str(error)).lower()
        raise PipelineError(
            f"port {port} cannot be listened on ({reason}).", "Stop what uses it, or give another --port."
        ) from error
    return listening


def is_paper_exchange(url: str) -> bool:
    """Whether a paper exchange answers there."""
    return answers(f"{url}/paper/state")
