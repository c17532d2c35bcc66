"""Which messages Pushover takes. Pure: what happens to a message that is taken does not belong here.

Source: Pushover's published API. Limits are in characters, not bytes. The words of an error are the service's own where
they were seen, and like them elsewhere; a client goes by the status alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from mm_pipeline.paper.pushover.forms import Form, Upload

KEY = re.compile(r"[A-Za-z0-9]{30}")
"""A token, a user key or a receipt."""
LIMITS = {"message": 1024, "title": 250, "url": 512, "url_title": 100}
"""Most characters of a field."""
ATTACHMENT_LIMIT_BYTES = 5_242_880
RETRY_MIN_S = 30
EXPIRE_MAX_S = 10_800
EMERGENCY = 2

_LOWEST = -2
_DEVICES = re.compile(r"[A-Za-z0-9_-]{1,25}(,[A-Za-z0-9_-]{1,25})*")
_INTEGER = re.compile(r"[+-]?\d{1,10}")


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why a request is not taken: the field at fault with Pushover's word for it, and a sentence."""

    field: str
    word: str
    error: str
    status: int = 400


@dataclass(frozen=True, kw_only=True)
class Attachment:
    """An image as it arrived."""

    content_type: str
    content: bytes


def refusals(form: Form) -> Iterator[Refusal]:
    """Everything that is wrong with a message, apart from who sends it to whom."""
    yield from _text_refusals(form)
    yield from _priority_refusals(form)
    timestamp = form.fields.get("timestamp")
    if timestamp is not None and not timestamp.isdigit():
        yield Refusal(field="timestamp", word="invalid", error="timestamp is not a Unix timestamp")
    device = form.fields.get("device")
    if device and not _DEVICES.fullmatch(device):
        yield Refusal(field="device", word="invalid", error="device name is not valid")
    if "attachment" in form.uploads:
        yield from _attachment_refusals(form.uploads["attachment"])


def priority_of(form: Form) -> int:
    """The priority of a message that is not refused."""
    return int(form.fields.get("priority") or 0)


def tags_of(form: Form) -> tuple[str, ...]:
    """Names under which an emergency can be cancelled."""
    return tuple(tag.strip() for tag in form.fields.get("tags", "").split(",") if tag.strip())


def _text_refusals(form: Form) -> Iterator[Refusal]:
    if not form.fields.get("message", "").strip():
        yield Refusal(field="message", word="cannot be blank", error="message cannot be blank")
    for field, limit in LIMITS.items():
        if len(form.fields.get(field, "")) > limit:
            word = f"is too long (maximum is {limit} characters)"
            yield Refusal(field=field, word=word, error=f"{field} {word}")


def _priority_refusals(form: Form) -> Iterator[Refusal]:
    text = form.fields.get("priority") or "0"
    if not _INTEGER.fullmatch(text) or not _LOWEST <= int(text) <= EMERGENCY:
        yield Refusal(field="priority", word="invalid", error="priority is invalid, can only be -2, -1, 0, 1, or 2")
    elif int(text) == EMERGENCY:
        yield from _bounded(form, "retry", RETRY_MIN_S, None)
        yield from _bounded(form, "expire", 1, EXPIRE_MAX_S)


def _bounded(form: Form, field: str, least: int, most: int | None) -> Iterator[Refusal]:
    text = form.fields.get(field)
    if not text:
        yield Refusal(field=field, word="must be supplied", error=f"{field} must be supplied with priority={EMERGENCY}")
    elif not _INTEGER.fullmatch(text) or int(text) < least:
        yield Refusal(field=field, word="invalid", error=f"{field} must be at least {least} seconds")
    elif most is not None and int(text) > most:
        yield Refusal(field=field, word="invalid", error=f"{field} must be at most {most} seconds")


def _attachment_refusals(upload: Upload) -> Iterator[Refusal]:
    if len(upload.content) > ATTACHMENT_LIMIT_BYTES:
        error = f"attachment is larger than {ATTACHMENT_LIMIT_BYTES} bytes"
        yield Refusal(field="attachment", word="too large", error=error, status=413)
    if not upload.content_type.startswith("image/"):
        yield Refusal(field="attachment", word="invalid", error="attachment is not an image")
