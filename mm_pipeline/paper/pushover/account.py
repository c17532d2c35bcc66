"""What the service remembers: messages it took, receipts of emergencies, and the month's quota. No HTTP here."""

from __future__ import annotations

import secrets
import string
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from mm_pipeline.domain.errors import ConfigError
from mm_pipeline.paper.clock import PaperClock
from mm_pipeline.paper.pushover.forms import Form
from mm_pipeline.paper.pushover.rules import EMERGENCY, Attachment, priority_of, tags_of

_KEPT_S = 7 * 86_400
_RESET_ZONE = ZoneInfo("America/Chicago")
"""The quota starts anew on the first of a month at midnight, Central Time (Pushover's API)."""
_KEY_CHARACTERS = string.ascii_letters + string.digits


@dataclass(frozen=True, kw_only=True)
class AcceptedMessage:
    """A message that was taken.

    Attributes
    ----------
    at
        By the server's clock.
    fields
        As sent, the token and the user included.
    receipt
        Of an emergency; None for any other.
    """

    at: datetime
    request: str
    fields: dict[str, str]
    title: str
    text: str
    priority: int
    tags: tuple[str, ...]
    receipt: str | None
    attachment: Attachment | None

    @property
    def image(self) -> bytes | None:
        """Bytes of the attachment; None without."""
        return self.attachment.content if self.attachment else None


@dataclass(kw_only=True)
class Receipt:
    """An emergency's state; times in Unix seconds, 0 for never. A cancelled one has expired."""

    token: str
    user: str
    tags: tuple[str, ...]
    sent_s: int
    retry_s: int
    expires_s: int
    acknowledged_s: int = 0
    acknowledged_by: str = ""
    acknowledged_by_device: str = ""

    def has_expired(self, now_s: int) -> bool:
        """Whether its alarms are over, acknowledged or not."""
        return now_s >= self.expires_s

    def shown(self, now_s: int) -> dict[str, object]:
        """The fields of Pushover's receipt."""
        end_s = min(now_s, self.expires_s, self.acknowledged_s or now_s)
        return {
            "acknowledged": int(self.acknowledged_s > 0),
            "acknowledged_at": self.acknowledged_s,
            "acknowledged_by": self.acknowledged_by,
            "acknowledged_by_device": self.acknowledged_by_device,
            "last_delivered_at": self.sent_s + (max(0, end_s - self.sent_s) // self.retry_s) * self.retry_s,
            "expired": int(self.has_expired(now_s)),
            "expires_at": self.expires_s,
            "called_back": 0,
            "called_back_at": 0,
        }


@dataclass(kw_only=True)
class Account:
    """One account; thread-safe.

    Parameters
    ----------
    clock
        The service's time.
    monthly_limit
        Messages that it takes in a month.
    """

    clock: PaperClock
    monthly_limit: int
    messages: list[AcceptedMessage] = field(default_factory=list)
    _receipts: dict[str, Receipt] = field(default_factory=dict)
    _sent: dict[str, int] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def take(self, form: Form, request: str) -> AcceptedMessage | None:
        """Take a message that breaks no rule; None when the month's quota is used up."""
        with self._lock:
            if self.remaining() == 0:
                return None
            month = self._month()
            self._sent[month] = self._sent.get(month, 0) + 1
            at, fields, upload = self.clock.now(), dict(form.fields), form.uploads.get("attachment")
            message = AcceptedMessage(
                at=at,
                request=request,
                fields=fields,
                title=fields.get("title", ""),
                text=fields["message"],
                priority=priority_of(form),
                tags=tags_of(form),
                receipt=self._new_receipt(fields, tags_of(form), at) if priority_of(form) == EMERGENCY else None,
                attachment=Attachment(content_type=upload.content_type, content=upload.content) if upload else None,
            )
            self.messages.append(message)
            return message

    def remaining(self) -> int:
        """Messages left this month."""
        with self._lock:
            return max(0, self.monthly_limit - self._sent.get(self._month(), 0))

    def reset_s(self) -> int:
        """Unix seconds of the next month's start."""
        now = self.clock.now().astimezone(_RESET_ZONE)
        year, month = (now.year + 1, 1) if now.month == 12 else (now.year, now.month + 1)
        return int(datetime(year, month, 1, tzinfo=_RESET_ZONE).timestamp())

    def receipt(self, receipt: str, token: str) -> dict[str, object] | None:
        """What became of an emergency; None where it is unknown, another application's, or older than a week."""
        with self._lock:
            found = self._receipts.get(receipt)
            now_s = self._now_s()
            if found is None or found.token != token or now_s - found.sent_s > _KEPT_S:
                return None
            return found.shown(now_s)

    def acknowledge(self, receipt: str, *, by: str | None = None, device: str = "phone") -> bool:
        """Acknowledge as the user would; False when it was acknowledged before, or its alarms are over.

        Raises
        ------
        ConfigError
            When there is no such receipt.
        """
        with self._lock:
            found = self._receipts.get(receipt)
            if found is None:
                raise ConfigError(f"there is no receipt {receipt!r}.", "Take it from a message that was accepted.")
            if found.acknowledged_s or found.has_expired(self._now_s()):
                return False
            found.acknowledged_s = self._now_s()
            found.acknowledged_by, found.acknowledged_by_device = by or found.user, device
            return True

    def cancel(self, token: str, *, receipt: str | None = None, tag: str | None = None) -> int:
        """End the alarms of one emergency, or of those with a tag; how many were still ringing."""
        with self._lock:
            now_s = self._now_s()
            ringing = [
                found
                for name, found in self._receipts.items()
                if found.token == token
                and (name == receipt or (tag is not None and tag in found.tags))
                and not (found.acknowledged_s or found.has_expired(now_s))
            ]
            for found in ringing:
                found.expires_s = now_s
            return len(ringing)

    def _new_receipt(self, fields: dict[str, str], tags: tuple[str, ...], at: datetime) -> str:
        name, sent_s = "".join(secrets.choice(_KEY_CHARACTERS) for _ in range(30)), int(at.timestamp())
        self._receipts[name] = Receipt(
            token=fields["token"],
            user=fields["user"],
            tags=tags,
            sent_s=sent_s,
            retry_s=int(fields["retry"]),
            expires_s=sent_s + int(fields["expire"]),
        )
        return name

    def _now_s(self) -> int:
        return self.clock.now_ms() // 1000

    def _month(self) -> str:
        return datetime.fromtimestamp(self._now_s(), UTC).astimezone(_RESET_ZONE).strftime("%Y-%m")
