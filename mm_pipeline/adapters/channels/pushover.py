"""Pages through Pushover: what a message becomes in its API, and what its receipts tell."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote

from mm_pipeline.adapters.channels.pushover_api import PushoverApi
from mm_pipeline.domain.notifications.channel import (
    EMERGENCY,
    TEXT_LIMIT,
    TITLE_LIMIT,
    Accepted,
    Message,
    ReceiptState,
    ReceiptStatus,
)

IMAGE_LIMIT_BYTES = 5 << 20
"""Of an attachment (Pushover's API)."""
RETRY_MIN_S = 30
"""Between two alarms of an emergency (Pushover's API)."""
EXPIRE_MAX_S = 10_800
"""After which an emergency's alarms end (Pushover's API)."""
_SHOWN_KEY_CHARACTERS = 4

_logger = logging.getLogger(__name__)


class PushoverChannel:
    """A Pushover application that pages one user or group; a ``ReceiptChannel`` too.

    No page is refused for its form: what is longer than Pushover takes is cut, and an emergency's times are brought
    within its bounds.

    Parameters
    ----------
    name
        As the settings name it.
    token, user
        The application's token and the user's or group's key, 30 letters and digits each.
    api_url
        Without a trailing slash.
    device
        The only device to page; None for all.
    read_timeout_s, deadline_s
        Seconds between two reads, and for a whole request on the wall clock.
    """

    def __init__(
        self,
        name: str,
        *,
        token: str,
        user: str,
        api_url: str,
        read_timeout_s: float,
        deadline_s: float,
        device: str | None = None,
    ) -> None:
        self._name = name
        self._token = token
        self._user = user
        self._device = device
        self._api = PushoverApi(
            name, api_url=api_url, secrets=(token, user), read_timeout_s=read_timeout_s, deadline_s=deadline_s
        )

    @property
    def name(self) -> str:
        """As the settings name it."""
        return self._name

    def send(self, message: Message) -> Accepted:
        """Hand a page to Pushover, once.

        Raises
        ------
        ChannelError
            Final for any 4xx and for status 0; else to be tried again, and nobody knows whether it was taken.
        """
        reply = self._api.post("/1/messages.json", self._fields(message), self._image(message))
        receipt = reply.body.get("receipt")
        if message.priority == EMERGENCY and not receipt:
            _logger.warning("channel %s: Pushover took an emergency and gave no receipt", self._name)
        return Accepted(
            request=str(reply.body.get("request", "")),
            receipt=str(receipt) if receipt else None,
            quota_remaining=_count(reply.headers, "x-limit-app-remaining"),
            quota_limit=_count(reply.headers, "x-limit-app-limit"),
        )

    def receipt(self, receipt: str) -> ReceiptStatus:
        """What became of an emergency; to be asked at most every 5 s, and within a week. Raises ``ChannelError``."""
        body = self._api.get(f"/1/receipts/{quote(receipt, safe='')}.json", {"token": self._token}).body
        if body.get("acknowledged") == 1:
            # Another member of a group is named by a key that is theirs to keep secret: its beginning tells them apart.
            by = str(body.get("acknowledged_by_device") or str(body.get("acknowledged_by", ""))[:_SHOWN_KEY_CHARACTERS])
            return ReceiptStatus(state=ReceiptState.ACKNOWLEDGED, at=_moment(body.get("acknowledged_at")), by=by)
        if body.get("expired") == 1:
            return ReceiptStatus(state=ReceiptState.EXPIRED, at=_moment(body.get("expires_at")))
        return ReceiptStatus(state=ReceiptState.OPEN)

    def cancel(self, tag: str) -> None:
        """End the alarms of every emergency with this tag. Raises :class:`ChannelError`."""
        self._api.post(f"/1/receipts/cancel_by_tag/{quote(tag, safe='')}.json", {"token": self._token})

    def _fields(self, message: Message) -> dict[str, str]:
        fields = {
            "token": self._token,
            "user": self._user,
            "title": cut(message.title, TITLE_LIMIT),
            "message": cut(message.text.strip() or message.title, TEXT_LIMIT),
            "priority": str(message.priority),
            "timestamp": str(int(message.at.timestamp())),
        }
        if self._device is not None:
            fields["device"] = self._device
        if message.tags:
            fields["tags"] = ",".join(message.tags)
        if message.priority == EMERGENCY:
            fields["retry"] = str(max(RETRY_MIN_S, message.retry_s or RETRY_MIN_S))
            fields["expire"] = str(min(EXPIRE_MAX_S, message.expire_s or EXPIRE_MAX_S))
        return fields

    def _image(self, message: Message) -> bytes | None:
        image = message.image_png
        if image is not None and len(image) > IMAGE_LIMIT_BYTES:
            _logger.warning("page %s goes without its chart: %d bytes are too many", message.page_id, len(image))
            return None
        return image


def cut(text: str, limit: int) -> str:
    """At most ``limit`` characters; where some are cut off, the last one left is an ellipsis."""
    return text if len(text) <= limit else text[: limit - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _count(headers: Mapping[str, str], name: str) -> int | None:
    text = headers.get(name, "")
    return int(text) if text.isascii() and text.isdigit() else None


def _moment(seconds: object) -> datetime | None:
    is_time = isinstance(seconds, int) and 0 < seconds < 1 << 33
    return datetime.fromtimestamp(seconds, UTC) if is_time else None  # type: ignore[arg-type]
