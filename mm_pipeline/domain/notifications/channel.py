"""What a page is when it leaves, and the port through which it does. How a channel sends does not belong here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol, runtime_checkable

from mm_pipeline.domain.errors import PipelineError


@dataclass(frozen=True, kw_only=True)
class Message:
    """A page as it is handed to a channel.

    Attributes
    ----------
    page_id
        Idempotency key: every attempt to deliver one page carries the same.
    title, text
        Plain text; at most ``TITLE_LIMIT`` and ``TEXT_LIMIT`` characters.
    priority
        Pushover's: -1 quiet, 0 normal, 1 high, 2 emergency (must be acknowledged).
    at
        The evaluation (or moment) that it tells of.
    tags
        Names under which an emergency can be cancelled.
    retry_s, expire_s
        Of an emergency: seconds between two alarms, and after which they end; None else.
    image_png
        A small chart; None without.
    """

    page_id: str
    title: str
    text: str
    priority: int
    at: datetime
    tags: tuple[str, ...] = ()
    retry_s: int | None = None
    expire_s: int | None = None
    image_png: bytes | None = None


TITLE_LIMIT = 250
"""Characters of a title (Pushover's API)."""
TEXT_LIMIT = 1024
"""Characters of a text (Pushover's API)."""
EMERGENCY = 2
"""Priority of a page that rings until it is acknowledged (Pushover's API)."""


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """A provider took a message.

    Attributes
    ----------
    request
        The provider's name of the request, for its support; empty where there is none.
    receipt
        Under which an emergency's acknowledgement is asked for; None for any other message.
    quota_remaining, quota_limit
        Messages that the account may still send in this period, and in all; None where it is not told.
    """

    request: str = ""
    receipt: str | None = None
    quota_remaining: int | None = None
    quota_limit: int | None = None


class ChannelError(PipelineError):
    """A channel did not take a message.

    ``is_final``: it never will (refused, wrong key): the same must not be sent again. Otherwise it may be tried again,
    no sooner than ``retry_after_s``. ``is_unclear``: it may have been taken all the same (the answer did not come).
    """

    def __init__(
        self, problem: str, hint: str = "", *, is_final: bool, retry_after_s: float = 0.0, is_unclear: bool = False
    ) -> None:
        self.is_final = is_final
        self.retry_after_s = retry_after_s
        self.is_unclear = is_unclear
        super().__init__(problem, hint)


class ReceiptState(StrEnum):
    """What became of an emergency."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    EXPIRED = "expired"


@dataclass(frozen=True, kw_only=True)
class ReceiptStatus:
    """A provider's answer about a receipt.

    Attributes
    ----------
    at
        When it was acknowledged or expired; None while open.
    by
        Who acknowledged, as the provider names them (user or device); empty where it is not told.
    """

    state: ReceiptState
    at: datetime | None = None
    by: str = ""


class Channel(Protocol):
    """One way to reach an operator."""

    @property
    def name(self) -> str:
        """As the settings name it."""
        ...

    def send(self, message: Message) -> Accepted:
        """Hand a message to the provider, once, within a bounded time.

        Raises
        ------
        ChannelError
            When it was not taken, or nobody knows whether it was.
        """
        ...


@runtime_checkable
class ReceiptChannel(Channel, Protocol):
    """A channel whose emergencies are acknowledged at the provider."""

    def receipt(self, receipt: str) -> ReceiptStatus:
        """What became of an emergency. Raises :class:`ChannelError`."""
        ...

    def cancel(self, tag: str) -> None:
        """End the alarms of every emergency with this tag. Raises :class:`ChannelError`."""
        ...
