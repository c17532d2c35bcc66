"""The operator's page as ``mm up`` serves it: where it listens, and what is said where it is not served."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from mm_pipeline.cli.page.command import address_lines
from mm_pipeline.cli.page.server import page_keys
from mm_pipeline.cli.up.processes import listen
from mm_pipeline.domain.errors import PipelineError
from mm_pipeline.settings import Settings


@dataclass(frozen=True)
class PageSocket:
    """Where the page listens, None where it is not served; and the lines that tell it."""

    listening: socket.socket | None
    lines: tuple[str, ...]


@contextmanager
def page_socket(settings: Settings) -> Iterator[PageSocket]:
    """Listen for the page. Neither a missing token nor a port in use keeps the watch from starting."""
    try:
        keys, listening = page_keys(), listen(settings.page.port)
    except PipelineError as error:
        yield PageSocket(None, (f"page        not served: {error.problem} {error.hint}",))
        return
    with listening:
        yield PageSocket(listening, tuple(address_lines(keys, listening.getsockname())))
