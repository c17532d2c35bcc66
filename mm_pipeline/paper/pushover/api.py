"""The paths of Pushover's API and their answers; sockets and faults do not belong here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from mm_pipeline.paper.http.wire import Answer
from mm_pipeline.paper.pushover.account import AcceptedMessage, Account
from mm_pipeline.paper.pushover.forms import Form
from mm_pipeline.paper.pushover.rules import KEY, Refusal, refusals

_BAD_TOKEN = Refusal(field="token", word="invalid", error="application token is invalid")
_BAD_USER = Refusal(
    field="user", word="invalid", error="user identifier is not a valid user, group, or subscribed user key"
)
_NO_RECEIPT = Refusal(
    field="receipt", word="not found", error="receipt not found; may be invalid or expired", status=404
)
_OVER_QUOTA = Refusal(
    field="token", word="over quota", error="application is over its message limit until the next month", status=429
)
_UNREADABLE = Refusal(field="request", word="invalid", error="the body cannot be read")


class Api:
    """Answers requests from an account.

    Parameters
    ----------
    account
        What is remembered.
    token, user
        The only ones that exist; None for any that is well-formed.
    on_accepted
        Called when a message was taken and the answer is not yet sent.
    """

    def __init__(
        self,
        account: Account,
        *,
        token: str | None,
        user: str | None,
        on_accepted: Callable[[AcceptedMessage], object],
    ) -> None:
        self._account = account
        self._token = token
        self._user = user
        self._on_accepted = on_accepted

    def answer(self, method: str, path: str, form: Form | None, request: str) -> Answer:
        """The answer to one request; ``form`` is None when its body could not be read."""
        if form is None:
            return _refused(request, _UNREADABLE)
        match method, path.strip("/").split("/"):
            case "POST", ["1", "messages.json"]:
                return self._take(form, request)
            case "GET", ["1", "receipts", name] if name.endswith(".json"):
                return self._receipt(name.removesuffix(".json"), form, request)
            case "POST", ["1", "receipts", receipt, "cancel.json"]:
                return self._cancel(form, request, receipt=receipt)
            case "POST", ["1", "receipts", "cancel_by_tag", name] if name.endswith(".json"):
                return self._cancel(form, request, tag=unquote(name.removesuffix(".json")))
        return Answer(status=404, payload={"status": 0, "request": request, "errors": ["no such resource"]})

    def _take(self, form: Form, request: str) -> Answer:
        problems = [*self._identity_refusals(form), *refusals(form)]
        if problems:
            return _refused(request, *problems)
        message = self._account.take(form, request)
        if message is None:
            return _refused(request, _OVER_QUOTA, headers=self._quota_headers())
        self._on_accepted(message)
        payload: dict[str, Any] = {"status": 1, "request": request}
        if message.receipt is not None:
            payload["receipt"] = message.receipt
        return Answer(payload=payload, headers=self._quota_headers())

    def _receipt(self, receipt: str, form: Form, request: str) -> Answer:
        if not self._knows_token(form):
            return _refused(request, _BAD_TOKEN)
        shown = self._account.receipt(receipt, form.fields["token"])
        if shown is None:
            return _refused(request, _NO_RECEIPT)
        return Answer(payload={"status": 1, **shown, "request": request})

    def _cancel(self, form: Form, request: str, *, receipt: str | None = None, tag: str | None = None) -> Answer:
        if not self._knows_token(form):
            return _refused(request, _BAD_TOKEN)
        token = form.fields["token"]
        if receipt is not None and self._account.receipt(receipt, token) is None:
            return _refused(request, _NO_RECEIPT)
        canceled = self._account.cancel(token, receipt=receipt, tag=tag)
        return Answer(payload={"status": 1, "request": request, "canceled": canceled})

    def _identity_refusals(self, form: Form) -> list[Refusal]:
        user = form.fields.get("user", "")
        is_user = KEY.fullmatch(user) is not None and self._user in {None, user}
        return ([] if self._knows_token(form) else [_BAD_TOKEN]) + ([] if is_user else [_BAD_USER])

    def _knows_token(self, form: Form) -> bool:
        token = form.fields.get("token", "")
        return KEY.fullmatch(token) is not None and self._token in {None, token}

    def _quota_headers(self) -> dict[str, str]:
        return {
            "X-Limit-App-Limit": str(self._account.monthly_limit),
            "X-Limit-App-Remaining": str(self._account.remaining()),
            "X-Limit-App-Reset": str(self._account.reset_s()),
        }


def _refused(request: str, *problems: Refusal, headers: dict[str, str] | None = None) -> Answer:
    payload: dict[str, Any] = {problem.field: problem.word for problem in problems}
    payload |= {"errors": [problem.error for problem in problems], "status": 0, "request": request}
    return Answer(status=max(problem.status for problem in problems), payload=payload, headers=headers or {})
