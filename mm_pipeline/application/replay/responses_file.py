"""Scripted responses for replays: what an operator did about pages, and when."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, BeforeValidator, Field, ValidationError

from mm_pipeline.adapters.config.strict_yaml import load_mapping, validation_errors
from mm_pipeline.domain.notifications import Response, ResponseKind
from mm_pipeline.domain.policy import Policy

_Kind = Literal["acknowledged", "flat"]


class _Scripted(Policy):
    """One thing that the operator does."""

    at: AwareDatetime
    kind: _Kind
    page: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")] | None = None


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


class _ResponsesFile(Policy):
    """``responses:``, a list of what was done; without ``page`` it answers every page told until then."""

    responses: Annotated[tuple[_Scripted, ...], BeforeValidator(_as_tuple)]


def read_responses(path: Path, grid_id: str) -> list[Response]:
    """Read a file of responses, oldest first.

    Raises
    ------
    ConfigError
        With file, key and hint, when it cannot be used.
    """
    try:
        content = _ResponsesFile.model_validate(load_mapping(path))
    except ValidationError as error:
        raise validation_errors(str(path), error, _ResponsesFile) from error
    found = [_response(one, grid_id, one.at) for one in content.responses]
    return sorted(found, key=lambda response: response.at)


def _response(one: _Scripted, grid_id: str, at: datetime) -> Response:
    return Response(grid=grid_id, at=at, kind=ResponseKind(one.kind), page=one.page or "")
