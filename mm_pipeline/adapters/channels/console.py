"""Pages on a console: for trials, and as the last resort where someone reads the logs."""

from __future__ import annotations

import sys
from typing import TextIO

from mm_pipeline.domain.notifications.channel import Accepted, ChannelError, Message

_RETRY_AFTER_S = 5.0


class ConsoleChannel:
    """Prints one block of text for each page.

    Parameters
    ----------
    name
        As the settings name it.
    stream
        Where to; standard error at the moment of printing if None.
    """

    def __init__(self, name: str, stream: TextIO | None = None) -> None:
        self._name = name
        self._stream = stream

    @property
    def name(self) -> str:
        """As the settings name it."""
        return self._name

    def send(self, message: Message) -> Accepted:
        """Print a page. Raises :class:`ChannelError` where nothing can be printed."""
        stream = sys.stderr if self._stream is None else self._stream
        try:
            encoding = getattr(stream, "encoding", None) or "utf-8"
            stream.write(_block(message).encode(encoding, "backslashreplace").decode(encoding))
            stream.flush()
        except (OSError, ValueError, AttributeError) as error:  # closed, or there is no standard error at all
            problem = f"channel {self._name}: the page cannot be printed ({type(error).__name__}: {error})."
            hint = "Run it where standard error goes somewhere."
            raise ChannelError(problem, hint, is_final=False, retry_after_s=_RETRY_AFTER_S) from error
        return Accepted()


def _block(message: Message) -> str:
    lines = [f"page {message.page_id}, priority {message.priority}, {message.at.isoformat()}", message.title]
    lines += message.text.split("\n")
    if message.image_png is not None:
        lines.append(f"(with a chart of {len(message.image_png)} bytes)")
    return "".join(f"| {_printable(line)}\n" for line in lines) + "\n"


def _printable(line: str) -> str:
    """Without what a terminal would take for a command."""
    return "".join(character if character.isprintable() else " " for character in line)
