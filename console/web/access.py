"""Who is asking: a token, by cookie or header, and the role it carries.

A person logs in once with a token; the browser keeps it in a cookie that scripts and other sites
cannot read or send. A script sends it as `Authorization: Bearer TOKEN`. What changes anything needs
besides, unless it comes so, the word that only our own pages know (`csrf`).
"""

from __future__ import annotations

import hmac
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from hashlib import sha256
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from limits import parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from starlette.concurrency import run_in_threadpool

from console.web.headers import same_origin
from console.web.pages import page, words
from flows.world import open_world
from tasks.access.tables import Role
from tasks.access.tokens import Holder, find_holder, one
from tasks.errors import TokenError

COOKIE = "scarp_token"
SESSION_S = 12 * 3600
GUESSES = parse("10 per minute")
SAFE = ("GET", "HEAD")

router = APIRouter()
_guesses = MovingWindowRateLimiter(MemoryStorage())


class NotLoggedInError(Exception):
    """Nobody that is known asks."""


class NotAllowedError(Exception):
    """Somebody asks for what their role, or the way they ask, does not permit."""


def given_token(request: Request) -> str | None:
    """The token of a request, as a header or a cookie has it; QGIS sends it as a password."""
    kind, _, value = request.headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return value.strip()
    if kind.lower() == "basic":
        try:
            return b64decode(value).decode().partition(":")[2]
        except (NotBase64, UnicodeDecodeError):
            return ""
    return request.cookies.get(COOKIE)


def address_of(request: Request) -> str:
    """Where a request came from."""
    return request.client.host if request.client else "?"


def csrf_word(token: str) -> str:
    """What a page of ours sends back with a form; another site cannot know it."""
    return hmac.new(token.encode(), b"csrf", sha256).hexdigest()


def holder_of(token: str | None) -> Holder:
    """Who holds a token.

    Raises:
        NotLoggedInError: there is none, or it is void; says why.
    """
    if not token:
        raise NotLoggedInError("")
    try:
        with open_world().engine.connect() as connection:
            return find_holder(connection, token, datetime.now(UTC))
    except TokenError as error:
        raise NotLoggedInError(str(error)) from error


def needs(role: Role) -> Callable[[Request], Awaitable[Holder]]:
    """What an endpoint depends on to be asked only by who may."""

    async def allowed(request: Request) -> Holder:
        token = given_token(request)
        holder = await run_in_threadpool(holder_of, token)
        request.state.holder, request.state.csrf = holder, csrf_word(token or "")
        if not holder.may(role):
            raise NotAllowedError(f"{holder.name} is {one(holder.role)}; this needs {one(role)}")
        if request.method not in SAFE and not _by_bearer(request):
            await _require_our_page(request)
        return holder

    return allowed


Viewer = Annotated[Holder, Depends(needs("viewer"))]
Reviewer = Annotated[Holder, Depends(needs("reviewer"))]
Operator = Annotated[Holder, Depends(needs("operator"))]


def _by_bearer(request: Request) -> bool:
    """Whether a program asks: a browser sends cookies and passwords by itself, but never this."""
    return request.headers.get("authorization", "").lower().startswith("bearer ")


async def _require_our_page(request: Request) -> None:
    said = request.headers.get("x-csrf-token")
    if said is None and "form" in request.headers.get("content-type", ""):
        said = str((await request.form()).get("csrf", ""))
    if not same_origin(request.headers) or not hmac.compare_digest(
        (said or "").encode(), request.state.csrf.encode()
    ):
        raise NotAllowedError("this did not come from a page of this console; load it again")


@router.get("/login", response_class=HTMLResponse)
def login_page(request: Request, next: str = "/") -> Response:
    """Where a token is given."""
    return page(request, "login.html", next=_ours(next), reason="")


@router.post("/login", response_class=HTMLResponse)
def login(
    request: Request, token: Annotated[str, Form()], next: Annotated[str, Form()] = "/"
) -> Response:
    """Keep a token in the browser, if it is good; ten guesses a minute from one address."""
    if not same_origin(request.headers):
        raise NotAllowedError("log in from the console's own page")
    where = address_of(request)
    if not _guesses.test(GUESSES, where):
        answer = page(
            request, "login.html", 429, next=_ours(next), reason=words()["login"]["too_many"]
        )
        answer.headers["Retry-After"] = "60"
        return answer
    try:
        holder = holder_of(token.strip() or None)
    except NotLoggedInError as error:
        _guesses.hit(GUESSES, where)
        return page(
            request,
            "login.html",
            401,
            next=_ours(next),
            reason=str(error) or words()["login"]["empty"],
        )
    answer = RedirectResponse(_ours(next), 303)
    left = int((holder.expires_at - datetime.now(UTC)).total_seconds())
    answer.set_cookie(
        COOKIE,
        token.strip(),
        max_age=min(SESSION_S, left),
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return answer


@router.post("/logout")
def logout(_: Viewer) -> Response:
    """Let the browser forget the token."""
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(COOKIE)
    return answer


def turned_away(request: Request, error: Exception) -> Response:
    """Send a person who is not logged in to where they can; tell a script."""
    if request.method in SAFE and "text/html" in request.headers.get("accept", ""):
        if str(error):
            answer: Response = page(
                request, "login.html", 401, next=_ours(request.url.path), reason=str(error)
            )
            answer.delete_cookie(COOKIE)
            return answer
        return RedirectResponse(f"/login?next={quote(_whole(request.url))}", 303)
    reason = str(error) or "log in, or send Authorization: Bearer TOKEN"
    headers = {"WWW-Authenticate": "Bearer"}
    return page(request, "problem.html", 401, headers, title="401", reason=reason)


def _whole(url: Any) -> str:
    return f"{url.path}?{url.query}" if url.query else str(url.path)


def _ours(address: str) -> str:
    """An address of this console, whatever a link says."""
    plain = address.startswith("/") and not address.startswith("//") and "\\" not in address
    return address if plain and address.isprintable() else "/"
