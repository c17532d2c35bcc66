"""The demo's operator: a paper Pushover on loopback, and somebody who acknowledges there what it rings for."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from mm_pipeline.adapters.config.home import journal_file
from mm_pipeline.adapters.journal import sqlite_url
from mm_pipeline.cli.demo.markets import TOKEN_VARIABLE, USER_VARIABLE
from mm_pipeline.paper.pushover import PaperPushover

if TYPE_CHECKING:
    from mm_pipeline.adapters.journal import Page, ResponseRecord
    from mm_pipeline.reporting.pages.limits import PageText
    from mm_pipeline.settings import Settings

KEYS: Final = {TOKEN_VARIABLE: "a" * 30, USER_VARIABLE: "u" * 30}
_DEVICE: Final = "demo-phone"
_THINKS_FOR_S: Final = 1.0
"""Between hearing the phone and answering: a response time of 0 s would look like none."""


@dataclass(frozen=True)
class Paged:
    """One emergency of the demo, from the page to its acknowledgement in the journal."""

    page: Page
    answer: ResponseRecord

    @property
    def response_s(self) -> float:
        """Seconds from the decision to the acknowledgement."""
        return (self.answer.response.at - self.page.decided_at).total_seconds()

    def as_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "page": self.page.page,
            "grid": self.answer.response.grid,
            "title": self.page.title,
            "acknowledged_by": self.answer.by_whom,
            "response_s": self.response_s,
        }

    @property
    def words(self) -> PageText:
        """Title and text as the phone showed them."""
        from mm_pipeline.reporting.pages.limits import PageText

        return PageText(self.page.title, self.page.text)

    def as_lines(self) -> list[str]:
        """The page as the phone showed it, and who answered."""
        answered = f"acknowledged on {self.answer.by_whom} {max(0.0, self.response_s):.0f} s after it was decided"
        body = [f"  {line}".rstrip() for line in self.page.text.splitlines()]
        return [f"Paged over HTTP, {answered}:", "", f"  {self.page.title}", *body, ""]


class DemoPhone:
    """A paper Pushover that knows the keys of the demo; a context manager."""

    def __init__(self) -> None:
        self._server = PaperPushover(token=KEYS[TOKEN_VARIABLE], user=KEYS[USER_VARIABLE])

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.stop()

    @property
    def url(self) -> str:
        """Root of the server."""
        return self._server.url

    def acknowledge(self, folder: Path) -> list[Paged]:
        """Acknowledge every emergency that rings, and let the pipeline hear of it as its sensor would."""
        from mm_pipeline.settings import load_deployment

        ringing = [message for message in self._server.messages if message.receipt]
        if ringing:
            time.sleep(_THINKS_FOR_S)
        for message in ringing:
            self._server.acknowledge(str(message.receipt), device=_DEVICE)
        return _heard(load_deployment(folder / "settings.yaml").settings, folder)


def _heard(settings: Settings, folder: Path) -> list[Paged]:
    from mm_pipeline.adapters.journal import Journal
    from mm_pipeline.cli.delivery_access import delivery_for

    with Journal(journal_url(folder)) as journal:
        answers = delivery_for(settings, journal, home=folder).answers.follow().answers
        pages = {page.page: page for page in journal.notifications.pages()}
        return [Paged(pages[answer.response.page], answer) for answer in answers]


def journal_url(folder: Path) -> str:
    """Where the demo's journal is, whatever the environment names for the installation."""
    return sqlite_url(journal_file(folder))
