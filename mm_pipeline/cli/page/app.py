"""The web application of the page: who may see it, what each address answers, and what every answer carries.

GET and HEAD never act. Whatever cannot be read is UNKNOWN, with status 503; nothing that was read before stands in its
place.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

import click
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from mm_pipeline.adapters.ui_guard import FORM, App, Message, Receive, Scope, Send, UiGuard
from mm_pipeline.cli.options import UTC_TIME
from mm_pipeline.cli.page.answering import AnswerReply, acknowledge_shown, report_shown_flat
from mm_pipeline.cli.page.forms import PageForm, read_form
from mm_pipeline.cli.page.logins import Logins, Visit, json_answer, not_logged_in, refused
from mm_pipeline.cli.page.reading import GridView, read_front, read_grid
from mm_pipeline.domain.errors import ConfigError, PipelineError
from mm_pipeline.rendering.page.cards import card_of
from mm_pipeline.rendering.page.grid_view import line_rows, moment_words, pnl_rows, run_rows, story_chart, trigger_rows
from mm_pipeline.rendering.page.headline import headline_of, watch_line
from mm_pipeline.rendering.page.templates import STATIC, page_html, static_file

if TYPE_CHECKING:
    from collections.abc import Collection

    from mm_pipeline.settings import Deployment

_MOST_BYTES: Final = 16_384
"""Of a form: a token and the ids of a few pages."""
_COMPRESSED_FROM: Final = 1_000
"""Bytes of an answer: smaller ones fit a packet as they are."""
_HEADERS: Final = (
    (b"content-security-policy", b"default-src 'self'; base-uri 'none'; form-action 'self'; object-src 'none'"),
    (b"referrer-policy", b"same-origin"),
    (b"x-content-type-options", b"nosniff"),
)
_log: Final = logging.getLogger("mm_pipeline.page")


class Note(Protocol):
    """Notes an answer about a grid."""

    def __call__(self, deployment: Deployment, grid: str, form: PageForm, *, by_whom: str) -> AnswerReply:
        """What is read then."""
        ...


class OperatorPage:
    """What the addresses of the page answer.

    Parameters
    ----------
    logins
        Who is let in.
    """

    def __init__(self, logins: Logins) -> None:
        self._logins = logins

    def routes(self) -> list[Route]:
        """Every address."""
        return [
            Route("/", self._seen(self.front)),
            Route("/json", self._seen(self.front_json)),
            Route("/grid/{grid_id}", self._seen(self.grid)),
            Route("/grid/{grid_id}/json", self._seen(self.grid_json)),
            Route("/grid/{grid_id}/acknowledge", self._answered(acknowledge_shown), methods=["POST"]),
            Route("/grid/{grid_id}/flat", self._answered(report_shown_flat), methods=["POST"]),
            *self._logins.routes(),
            Route("/static/{name}", self.static),
            Route("/alive", self.alive),
        ]

    def front(self, visit: Visit) -> Response:
        """The worst state, and a card a grid."""
        seen = read_front(visit.deployment)
        standing = seen.standing
        ordered = seen.cards
        return self._html(
            "front",
            visit,
            headline=headline_of(standing, ordered),
            watch=watch_line(standing),
            alarms=standing.alarms,
            failing=sorted(standing.failing.items()),
            cards=[card_of(one, now=standing.now) for one in ordered],
        )

    def front_json(self, visit: Visit) -> Response:
        """What ``mm status --json`` prints."""
        return json_answer(read_front(visit.deployment).standing.as_json())

    def grid(self, visit: Visit) -> Response:
        """One grid with its past, and one moment of it in full."""
        seen = _grid_of(visit)
        status, story = None if seen.seen is None else seen.seen.status, seen.story
        report = None if story.moment is None else story.moment.report
        return self._html(
            "grid",
            visit,
            grid_id=story.grid_id,
            card=None if seen.seen is None else card_of(seen.seen, now=visit.now),
            problem=seen.problem,
            moment=None if report is None else moment_words(report),
            triggers=() if report is None else trigger_rows(report),
            pnl=() if status is None else pnl_rows(status.report),
            chart=story_chart(story, grid=None if status is None else status.report.grid),
            runs=run_rows(story),
            lines=line_rows(story),
            since=story.since,
            until=story.until,
        )

    def grid_json(self, visit: Visit) -> Response:
        """The same for programs."""
        seen = _grid_of(visit)
        status = None if seen.seen is None else seen.seen.status.as_json(now=visit.now)
        return json_answer({"status": status, "problem": seen.problem or None} | seen.story.as_json(now=visit.now))

    def static(self, request: Request) -> Response:
        """Style, script and icon."""
        name = request.path_params["name"]
        if name not in STATIC:
            return PlainTextResponse("There is no such file.\n", 404)
        return Response(static_file(name), media_type=STATIC[name])

    def alive(self, request: Request) -> Response:
        """That the server runs, for whoever supervises it; nothing of any grid."""
        return PlainTextResponse("alive\n")

    def _seen(self, show: Callable[[Visit], Response]) -> Callable[[Request], Response]:
        """The same for those who are logged in; what fails is UNKNOWN."""

        def answer(request: Request) -> Response:
            visit = self._logins.visit(request)
            if visit is None:
                return not_logged_in(request)
            try:
                return show(visit)
            except HTTPException:
                raise
            except Exception as error:  # whatever it is, an operator must read that nothing is known
                return self._unread(visit, error)

        return answer

    def _answered(self, note: Note) -> Callable[[Request], Awaitable[Response]]:
        """What notes an answer: from a form of the same login alone, and of one that may answer."""

        async def answer(request: Request) -> Response:
            visit, form = self._logins.visit(request), await read_form(request)
            if visit is None:
                return refused("Nothing was noted: log in first.")
            if not visit.session.may_answer:
                return refused("Nothing was noted: this login may read alone.")
            if not self._logins.is_form_of(visit, form):
                return refused("Nothing was noted: this form is not of your login. Open the page again.")
            return await run_in_threadpool(self._reply, visit, note, form)

        return answer

    def _reply(self, visit: Visit, note: Note, form: PageForm) -> Response:
        grid, by_whom = visit.request.path_params["grid_id"], visit.session.name or "operator"
        try:
            reply = note(visit.deployment, grid, form, by_whom=by_whom)
        except PipelineError as error:
            reply = AnswerReply(f"{grid}: NOTHING WAS NOTED", (error.problem, error.hint), is_noted=False)
        except Exception as error:  # whatever it is, nobody may believe that it was noted
            _log.exception("an answer was not noted")
            problem = f"A fault of the program: {type(error).__name__}. Use mm ack or mm flat."
            reply = AnswerReply(f"{grid}: NOT KNOWN WHETHER NOTED", (problem,), is_noted=False)
        status_code = 200 if reply.is_noted else 409
        return self._html("reply", visit, status_code=status_code, title=reply.title, lines=reply.lines, back="/")

    def _unread(self, visit: Visit, error: Exception) -> Response:
        if not isinstance(error, PipelineError):
            _log.exception("the page cannot be made")
        problem = str(error) if isinstance(error, PipelineError) else f"A fault of the program: {type(error).__name__}."
        if visit.request.url.path.endswith("/json"):
            return json_answer({"state": "UNKNOWN", "problem": problem}, 503)
        return self._html("unread", visit, status_code=503, problem=problem)

    def _html(self, name: str, visit: Visit, *, status_code: int = 200, **values: Any) -> Response:
        settings = visit.deployment.settings
        shared: Mapping[str, Any] = {
            "session": visit.session,
            "form_token": visit.form_token,
            "now": visit.now,
            "refresh_s": int(settings.page.refresh.total_seconds()),
            "stale_after_s": int(settings.notify.max_lateness.total_seconds()),
        }
        return HTMLResponse(page_html(name, **shared, **values), status_code=status_code)


def page_app(page: OperatorPage, *, hosts: Collection[str]) -> App:
    """The page behind the guard of the UI, with the headers that every answer carries.

    Parameters
    ----------
    hosts
        Names under which it may be asked.
    """
    compressed = Middleware(GZipMiddleware, minimum_size=_COMPRESSED_FROM)
    application = Starlette(routes=page.routes(), middleware=[compressed], max_body_size=_MOST_BYTES)
    return _with_headers(UiGuard(application, hosts=hosts, takes=FORM))


def _with_headers(app: App) -> App:
    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                cache = b"max-age=300" if str(scope["path"]).startswith("/static/") else b"no-store"
                message["headers"] = [*message.get("headers", ()), *_HEADERS, (b"cache-control", cache)]
            await send(message)

        await app(scope, receive, send_with_headers)

    return answer


def _grid_of(visit: Visit) -> GridView:
    """What the address asks for: a grid, and a moment of it.

    Raises
    ------
    HTTPException
        404 where there is no such grid.
    """
    asked = visit.request.query_params.get("at")
    try:
        at = None if asked is None else UTC_TIME.convert(asked, None, None)
    except click.BadParameter as error:
        raise HTTPException(400, error.message) from error
    try:
        return read_grid(visit.deployment, visit.request.path_params["grid_id"], at=at)
    except ConfigError as error:
        raise HTTPException(404, str(error)) from error
