"""Pages through any service that the apprise library knows; it tells no more than whether the service took them."""

from __future__ import annotations

import contextlib
import logging
import tempfile
import warnings
from pathlib import Path
from typing import Any

from mm_pipeline.adapters.exchange.deadline import run_within
from mm_pipeline.domain.errors import ConfigError, DeadlineExceeded
from mm_pipeline.domain.notifications.channel import EMERGENCY, Accepted, ChannelError, Message

_RETRY_AFTER_S = 5.0
_TYPE_OF_PRIORITY = {-1: "success", 0: "info", 1: "warning", EMERGENCY: "failure"}


class AppriseChannel:
    """One service of the apprise library. An emergency is one message like any other: it does not ring again.

    Parameters
    ----------
    name
        As the settings name it.
    url
        The service's apprise URL, a secret.
    deadline_s
        Seconds on the wall clock for one page.
    source
        Where the URL comes from, for messages.

    Raises
    ------
    ConfigError
        When the URL names no service; the message does not quote it.
    """

    def __init__(self, name: str, url: str, *, deadline_s: float, source: str = "the URL") -> None:
        self._name = name
        self._deadline_s = deadline_s
        self._service = _service(name, url, source)

    @property
    def name(self) -> str:
        """As the settings name it."""
        return self._name

    def send(self, message: Message) -> Accepted:
        """Hand a page to the service, once.

        Raises
        ------
        ChannelError
            Never final: apprise does not tell a refusal from a failure.
        """
        is_taken: bool | None = None
        with contextlib.suppress(DeadlineExceeded):
            is_taken = run_within(self._deadline_s, lambda _: self._is_taken(message))
        if is_taken:
            return Accepted()
        how = f"gave no answer within {self._deadline_s:g} s" if is_taken is None else "did not take the page"
        raise ChannelError(
            f"channel {self._name}: its service {how}.",
            "Check the service and the URL's keys; it is tried again.",
            is_final=False,
            retry_after_s=_RETRY_AFTER_S,
            is_unclear=is_taken is None,
        )

    def _is_taken(self, message: Message) -> bool:
        """False for whatever goes wrong: a service's own error may quote its keys."""
        with tempfile.TemporaryDirectory(prefix="mm-page-") as folder:
            chart = None
            if message.image_png is not None:  # apprise leaves it out where the service takes none
                chart = Path(folder) / "chart.png"
                chart.write_bytes(message.image_png)
            try:
                return bool(self._sender().notify(**_content(message), attach=str(chart) if chart else None))
            except Exception as error:
                logging.getLogger(__name__).warning("channel %s failed: %s", self._name, type(error).__name__)
                return False

    def _sender(self) -> Any:
        import apprise

        sender = apprise.Apprise(asset=self._service.asset)
        sender.add(self._service)
        return sender


def _content(message: Message) -> dict[str, str]:
    lowest, highest = min(_TYPE_OF_PRIORITY), max(_TYPE_OF_PRIORITY)
    return {
        "title": message.title,
        "body": message.text.strip() or message.title,
        "notify_type": _TYPE_OF_PRIORITY[max(lowest, min(highest, message.priority))],
        "body_format": "text",
    }


def _service(name: str, url: str, source: str) -> Any:
    import apprise

    # Its log quotes addresses; what matters is told by the errors here.
    logging.getLogger("apprise").setLevel(logging.CRITICAL)
    # In this thread and with no memory on disk: time is kept by run_within, whose thread no exit waits for.
    asset = apprise.AppriseAsset(async_mode=False, service_timeout=0, storage_mode="memory", app_id="mm_pipeline")
    with warnings.catch_warnings():
        # It loads all its services at once, and with them what Python has deprecated.
        warnings.simplefilter("ignore", DeprecationWarning)
        service = apprise.Apprise.instantiate(url, asset=asset)
    if service is None:
        raise ConfigError(
            f"channel {name}: {source} is no URL of a service that apprise knows.",
            "Write it as apprise's documentation of the service says, one URL alone.",
        )
    return service
