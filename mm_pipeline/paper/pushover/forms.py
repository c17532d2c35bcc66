"""Bodies of requests as fields: urlencoded, multipart and JSON. What the fields mean does not belong here."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

_PARAMETER = re.compile(rb'([a-z-]+)="([^"]*)"')


@dataclass(frozen=True, kw_only=True)
class Upload:
    """A file of a multipart form."""

    file_name: str
    content_type: str
    content: bytes


@dataclass(frozen=True, kw_only=True)
class Form:
    """What a request carried."""

    fields: Mapping[str, str]
    uploads: Mapping[str, Upload]


def read_form(content_type: str, body: bytes) -> Form:
    """Fields and files of a body; a kind that is not known has none.

    Raises
    ------
    ValueError
        When the body is not what its content type says.
    """
    kind, _, parameters = content_type.partition(";")
    match kind.strip().lower():
        case "application/x-www-form-urlencoded":
            return Form(fields=dict(parse_qsl(body.decode(), keep_blank_values=True)), uploads={})
        case "application/json":
            value = json.loads(body)
            if not isinstance(value, dict):
                raise ValueError("the JSON body is no object")
            return Form(fields={name: str(part) for name, part in value.items() if part is not None}, uploads={})
        case "multipart/form-data":
            return _read_multipart(parameters, body)
    return Form(fields={}, uploads={})


def _read_multipart(parameters: str, body: bytes) -> Form:
    match = re.search(r'boundary="?([^";]+)"?', parameters)
    if match is None:
        raise ValueError("the multipart body names no boundary")
    # The line break before a boundary belongs to the boundary; a leading one lets the first be found like the others.
    parts = (b"\r\n" + body).split(b"\r\n--" + match[1].encode())
    if len(parts) < 3 or not parts[-1].startswith(b"--"):
        raise ValueError("the multipart body does not end")
    fields: dict[str, str] = {}
    uploads: dict[str, Upload] = {}
    for part in parts[1:-1]:
        head, _, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        headers = _headers(head)
        named = {name.decode(): value.decode() for name, value in _PARAMETER.findall(headers["content-disposition"])}
        if "filename" in named:
            kind = headers.get("content-type", b"application/octet-stream").decode()
            uploads[named["name"]] = Upload(file_name=named["filename"], content_type=kind, content=content)
        else:
            fields[named["name"]] = content.decode()
    return Form(fields=fields, uploads=uploads)


def _headers(head: bytes) -> dict[str, bytes]:
    lines = (line.partition(b":") for line in head.split(b"\r\n") if line)
    return {name.decode().strip().lower(): value.strip() for name, _, value in lines}
