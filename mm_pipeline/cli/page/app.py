"""The web application of the page: who may see it, what each address answers, and what every answer carries.

GET and HEAD never act. Whatever cannot be read is UNKNOWN, with status 503; nothing that was read before stands in its
place.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Protocol

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from mm_pipeline.adapters.clock import Clock
from mm_pipeline.adapters.page.sessions import PageKeys, Session
from mm_pipeline.adapters.ui_guard import FORM, App, Message, Receive, Scope, Send, UiGuard
from mm_pipeline.cli.output import as_json_text
from mm_pipeline.cli.page.answering import AnswerReply, acknowledge_shown, report_shown_flat
from mm_pipeline.cli.page.forms import PageForm, read_form
from mm_pipeline.cli.page.reading import read_front
from mm_pipeline.domain.errors import PipelineError
from mm_pipeline.rendering.page.cards import card_of, headline_of, watch_line
from mm_pipeline.rendering.page.templates import STATIC, page_html, static_file

if TYPE_CHECKING:
    from collections.abc import Collection

    from mm_pipeline.settings import Deployment

COOKIE: Final = "mm_page"
_BEARER: Final = "Bearer "
_MOST_BYTES: Final = 16_384
"""Of a form: a token and the ids of a few pages."""
_HEADERS: Final = (
    (b"content-security-policy", b"default-src 'self'; base-uri 'none'; form-action 'self'; object-src 'none'"),
    (b"referrer-policy", b"same-origin"),
    (b"x-content-type-options", b"nosniff"),
)
_log: Final = logging.getLogger("mm_pipeline.page")


@dataclass(frozen=True, kw_only=True)
class Visit:
    """A request of somebody who is logged in."""

    request: Request
    cookie: str
    session: Session
    deployment: Deployment
    now: datetime


class Note(Protocol):
    """Notes an answer about a grid."""

    def __call__(self, deployment: Deployment, grid: str, form: PageForm, *, by_whom: str) -> AnswerReply:
        """What is read then."""
        ...


class OperatorPage:
    """What the addresses of the page answer.

    Parameters
    ----------
    deployment
        Settings as they are now.
    keys
        What opens the page.
    """

    def __init__(self, deployment: Callable[[], Deployment], keys: PageKeys, clock: Clock) -> None:
        self._deployment = deployment
        self._keys = keys
        self._clock = clock

    def routes(self) -> list[Route]:
        """Every address."""
        return [
            Route("/", self._seen(self.front)),
            Route("/json", self._seen(self.front_json)),
            Route("/grid/{grid_id}/acknowledge", self._answered(acknowledge_shown), methods=["POST"]),
            Route("/grid/{grid_id}/flat", self._answered(report_shown_flat), methods=["POST"]),
            Route("/login", self.ask_login, methods=["GET"]),
            Route("/login", self.login, methods=["POST"]),
            Route("/logout", self.logout, methods=["POST"]),
            Route("/link/{link}", self.link),
            Route("/static/{name}", self.static),
            Route("/alive", self.alive),
        ]

    def front(self, visit: Visit) -> Response:
        """The worst state, and a card a grid."""
        seen = read_front(visit.deployment)
        standing = seen.standing
        cards = [card_of(one, now=standing.now, shown=seen.shown[one.report.grid_id]) for one in seen.ordered]
        return self._html(
            "front",
            visit,
            headline=headline_of(standing),
            watch=watch_line(standing),
            alarms=standing.alarms,
            failing=sorted(standing.failing.items()),
            cards=cards,
        )

    def front_json(self, visit: Visit) -> Response:
        """What ``mm status --json`` prints."""
        return _json(read_front(visit.deployment).standing.as_json())

    def ask_login(self, request: Request) -> Response:
        """The form that asks for the token."""
        return HTMLResponse(page_html("login", session=None, problem=""))

    async def login(self, request: Request) -> Response:
        """A cookie for whoever brings the token."""
        form = await read_form(request)
        cookie = self._keys.begin(form.token, name=form.name, now=self._clock.now())
        if cookie is None:
            return HTMLResponse(page_html("login", session=None, problem="This is not the token."), status_code=403)
        return self._begun(cookie)

    def link(self, request: Request) -> Response:
        """A cookie that may read alone, for whoever has the link."""
        cookie = self._keys.begin_reading(request.path_params["link"], now=self._clock.now())
        return RedirectResponse("/login", 303) if cookie is None else self._begun(cookie)

    async def logout(self, request: Request) -> Response:
        """The login form; this browser has no cookie any more."""
        form, cookie = await read_form(request), request.cookies.get(COOKIE, "")
        if not self._keys.is_form_token(form.token, cookie):
            return _refused("This form is not of your login.")
        answer = RedirectResponse("/login", 303)
        answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return answer

    def static(self, request: Request) -> Response:
        """Style, script and icon."""
        name = request.path_params["name"]
        if name not in STATIC:
            return PlainTextResponse("There is no such file.\n", 404)
        return Response(static_file(name), media_type=STATIC[name])

    def alive(self, request: Request) -> Response:
        """That the server runs, for whoever supervises it; nothing of any grid."""
        return PlainTextResponse("alive\n")

    def _begun(self, cookie: str) -> Response:
        answer = RedirectResponse("/", 303)
        lasts = int(self._deployment().settings.page.session.total_seconds())
        answer.set_cookie(COOKIE, cookie, max_age=lasts, httponly=True, samesite="strict")
        return answer

    def _visit(self, request: Request) -> Visit | None:
        """Who asks; None where nobody is logged in."""
        deployment, now = self._deployment(), self._clock.now()
        cookie = self._cookie(request, now)
        session = self._keys.session(cookie, now=now, lasts=deployment.settings.page.session)
        if session is None:
            return None
        return Visit(request=request, cookie=cookie, session=session, deployment=deployment, now=now)

    def _cookie(self, request: Request, now: datetime) -> str:
        """The session of a browser, or one for this request of a program that brings the token."""
        offered = request.headers.get("authorization", "")
        if offered.startswith(_BEARER) and request.method in ("GET", "HEAD"):
            return self._keys.begin(offered.removeprefix(_BEARER), name="", now=now) or ""
        return request.cookies.get(COOKIE, "")

    def _seen(self, show: Callable[[Visit], Response]) -> Callable[[Request], Response]:
        """The same for those who are logged in; what fails is UNKNOWN."""

        def answer(request: Request) -> Response:
            visit = self._visit(request)
            if visit is None:
                return _not_logged_in(request)
            try:
                return show(visit)
            except Exception as error:  # whatever it is, an operator must read that nothing is known
                return self._unread(visit, error)

        return answer

    def _answered(self, note: Note) -> Callable[[Request], Awaitable[Response]]:
        """What notes an answer: from a form of the same login alone, and of one that may answer."""

        async def answer(request: Request) -> Response:
            visit, form = self._visit(request), await read_form(request)
            if visit is None:
                return _refused("Nothing was noted: log in first.")
            if not visit.session.may_answer:
                return _refused("Nothing was noted: this login may read alone.")
            if not self._keys.is_form_token(form.token, visit.cookie):
                return _refused("Nothing was noted: this form is not of your login. Open the page again.")
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
        return self._html(
            "reply", visit, status_code=200 if reply.is_noted else 409, title=reply.title, lines=reply.lines, back="/"
        )

    def _unread(self, visit: Visit, error: Exception) -> Response:
        if not isinstance(error, PipelineError):
            _log.exception("the page cannot be made")
        problem = str(error) if isinstance(error, PipelineError) else f"A fault of the program: {type(error).__name__}."
        if visit.request.url.path.endswith("/json"):
            return _json({"state": "UNKNOWN", "problem": problem}, 503)
        return self._html("unread", visit, status_code=503, problem=problem)

    def _html(self, name: str, visit: Visit, *, status_code: int = 200, **values: Any) -> Response:
        settings = visit.deployment.settings
        shared: Mapping[str, Any] = {
            "session": visit.session,
            "form_token": self._keys.form_token(visit.cookie),
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
    application = Starlette(routes=page.routes(), max_body_size=_MOST_BYTES)
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


def _not_logged_in(request: Request) -> Response:
    if request.url.path.endswith("/json"):
        return _json({"problem": "Log in, or send the token as Authorization: Bearer."}, 401)
    return RedirectResponse("/login", 303)


def _refused(reason: str) -> Response:
    return PlainTextResponse(f"{reason}\n", 403)


def _json(data: Any, status: int = 200) -> Response:
    return Response(as_json_text(data) + "\n", status, media_type="application/json")
