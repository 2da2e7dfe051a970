"""What every answer says to browsers, and how much may be sent to us."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST_UPLOAD = 20_000_000
LOOPBACK = ("127.0.0.1", "localhost", "::1")
FORWARDED = ("forwarded", "via", "x-real-ip")
# Libraries change with a release only.
VENDOR_S = 86_400
# A report stands alone: it brings its style and pictures, and runs nothing.
REPORT_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; sandbox"


def policy(basemap: str | None) -> str:
    """The content security policy: nothing but what comes from here, and a configured basemap."""
    parts = urlsplit(basemap or "")
    tiles = f" {parts.scheme}://{parts.netloc}" if parts.netloc else ""
    return "; ".join(
        [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            f"img-src 'self' data: blob:{tiles}",
            f"connect-src 'self'{tiles}",
            "worker-src 'self' blob:",
            "form-action 'self'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        ]
    )


class Guarded:
    """Gives every answer of an application its headers, and refuses what is too large."""

    def __init__(self, app: ASGIApp, basemap: str | None) -> None:
        self.app = app
        self.headers = {
            "Content-Security-Policy": policy(basemap),
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Referrer-Policy": "same-origin",
            "Cross-Origin-Opener-Policy": "same-origin",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, counting what it sends."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self.headers.items():
                    headers.setdefault(name, value)
                if scope["path"].startswith("/static/vendor/"):
                    headers["Cache-Control"] = f"max-age={VENDOR_S}"
                if scope["path"].startswith("/products/") and scope["path"].endswith(".html"):
                    headers["Content-Security-Policy"] = REPORT_POLICY
            await send(message)

        length = Headers(scope=scope).get("content-length", "0")
        if not length.isdecimal() or int(length) > LARGEST_UPLOAD:
            await _too_large()(scope, receive, with_headers)
            return
        await self.app(scope, _counted(receive), with_headers)


def _counted(receive: Receive) -> Receive:
    """The same, ended as if the client had gone once it has sent too much without saying so."""
    taken = 0

    async def receive_counted() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        return {"type": "http.disconnect"} if taken > LARGEST_UPLOAD else message

    return receive_counted


def _too_large() -> PlainTextResponse:
    most = f"{LARGEST_UPLOAD / 1e6:.0f} MB"
    text = f"this is more than {most}, the most that can be sent; simplify or split the file"
    return PlainTextResponse(text, 413)


def asked_from_here(request: Request) -> bool:
    """Whether a request that came by loopback was made for somebody on this machine.

    A proxy says for whom it asks, and a page of another site whose name was made to point here
    (DNS rebinding) says that name.
    """
    forwarded = any(name in FORWARDED or name.startswith("x-forwarded") for name in request.headers)
    return not forwarded and request.url.hostname in LOOPBACK


def same_origin(headers: Headers) -> bool:
    """Whether a request comes from a page of ours; a client that is no browser says nothing."""
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == headers.get("host")
