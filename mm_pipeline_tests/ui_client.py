"""The UI of a running ``mm up``, asked as its own page asks it."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit


class UiError(Exception):
    """The UI could not answer, as while its database is away."""


@dataclass
class UiClient:
    """Questions to a UI on loopback."""

    url: str

    def ask(
        self, method: str, path: str, *headers: tuple[str, str], body: bytes | None = None, host: str | None = None
    ) -> tuple[int, bytes]:
        """Status and body of one request with exactly these headers."""
        place = urlsplit(self.url).netloc
        connection = http.client.HTTPConnection(place, timeout=30)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            connection.putheader("Host", place if host is None else host)
            for name, value in headers:
                connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def graphql(self, query: str, **variables: Any) -> Any:
        """What the UI's own page gets."""
        headers = (("Content-Type", "application/json"), ("Origin", self.url), ("Sec-Fetch-Site", "same-origin"))
        asked = {"query": query, "variables": variables}
        status, body = self.ask("POST", "/graphql", *headers, body=json.dumps(asked).encode())
        if status != 200:
            raise UiError(body)
        answer = json.loads(body)
        if answer.get("errors"):
            raise UiError(answer["errors"])
        return answer["data"]

    def runs(self) -> dict[str, str]:
        """Status of each run by its id."""
        found = self.graphql("{runsOrError(limit: 50){... on Runs{results{runId status}}}}")
        return {run["runId"]: run["status"] for run in found["runsOrError"]["results"]}
