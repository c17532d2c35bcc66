"""The few short fields that forms of the page send."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs

from starlette.requests import Request

_MOST_FIELDS: Final = 32


@dataclass(frozen=True, kw_only=True)
class PageForm:
    """What was sent; what is missing is empty.

    Attributes
    ----------
    token
        The operator's at the login, else that of the form.
    pages
        Ids of the pages that were shown beside the form.
    """

    token: str
    name: str
    pages: tuple[str, ...]
    is_new_range: bool


async def read_form(request: Request) -> PageForm:
    """The form of a request; one that is none of ours is empty."""
    body = (await request.body()).decode(errors="replace")
    try:
        fields = parse_qs(body, max_num_fields=_MOST_FIELDS)
    except ValueError:  # more fields than any form of ours has
        fields = {}
    first = {name: values[0] for name, values in fields.items()}
    return PageForm(
        token=first.get("token", ""),
        name=first.get("name", ""),
        pages=tuple(fields.get("page", ())),
        is_new_range=first.get("new_range") == "yes",
    )
