"""Who is let in: the login form, the read-only link, cookies, and what those read who have none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from mm_pipeline.adapters.clock import Clock
from mm_pipeline.adapters.page.sessions import PageKeys, Session
from mm_pipeline.cli.output import as_json_text
from mm_pipeline.cli.page.forms import PageForm, read_form
from mm_pipeline.rendering.page.templates import page_html
from mm_pipeline.settings import Deployment

COOKIE: Final = "mm_page"
_BEARER: Final = "Bearer "


@dataclass(frozen=True, kw_only=True)
class Visit:
    """A request of somebody who is logged in."""

    request: Request
    cookie: str
    session: Session
    form_token: str
    deployment: Deployment
    now: datetime


class Logins:
    """What lets a browser or a program in.

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
        """Addresses of the login."""
        return [
            Route("/login", self.ask_login, methods=["GET"]),
            Route("/login", self.login, methods=["POST"]),
            Route("/logout", self.logout, methods=["POST"]),
            Route("/link/{link}", self.link),
        ]

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
            return refused("This form is not of your login.")
        answer = RedirectResponse("/login", 303)
        answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return answer

    def visit(self, request: Request) -> Visit | None:
        """Who asks; None where nobody is logged in."""
        deployment, now = self._deployment(), self._clock.now()
        cookie = self._cookie(request, now)
        session = self._keys.session(cookie, now=now, lasts=deployment.settings.page.session)
        if session is None:
            return None
        token = self._keys.form_token(cookie)
        return Visit(request=request, cookie=cookie, session=session, form_token=token, deployment=deployment, now=now)

    def is_form_of(self, visit: Visit, form: PageForm) -> bool:
        """Whether a form is one that this login was given."""
        return self._keys.is_form_token(form.token, visit.cookie)

    def _begun(self, cookie: str) -> Response:
        answer = RedirectResponse("/", 303)
        lasts = int(self._deployment().settings.page.session.total_seconds())
        answer.set_cookie(COOKIE, cookie, max_age=lasts, httponly=True, samesite="strict")
        return answer

    def _cookie(self, request: Request, now: datetime) -> str:
        """The session of a browser, or one for this request of a program that brings the token."""
        offered = request.headers.get("authorization", "")
        if offered.startswith(_BEARER):
            return self._keys.begin(offered.removeprefix(_BEARER), name="", now=now) or ""
        return request.cookies.get(COOKIE, "")


def not_logged_in(request: Request) -> Response:
    """The way to the login; a program reads how."""
    if request.url.path.endswith("/json"):
        return json_answer({"problem": "Log in, or send the token as Authorization: Bearer."}, 401)
    return RedirectResponse("/login", 303)


def refused(reason: str) -> Response:
    """Why nothing was done."""
    return PlainTextResponse(f"{reason}\n", 403)


def json_answer(data: Any, status: int = 200) -> Response:
    """Data for programs, in the form of the commands."""
    return Response(as_json_text(data) + "\n", status, media_type="application/json")
