"""Answers that a client need not download twice."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from hashlib import blake2b
from typing import cast

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

# Reviews and new versions show at once; unchanged answers cost a 304.
CACHE = "no-cache"

Next = Callable[[Request], Awaitable[Response]]


async def conditional(request: Request, call_next: Next) -> Response:
    """Tag every good answer to a GET by its bytes; say 304 to who has those bytes already."""
    answer = await call_next(request)
    if request.method != "GET" or answer.status_code != 200:
        return answer
    body = await body_of(answer)
    tag = f'W/"{blake2b(body, digest_size=12).hexdigest()}"'
    headers = {"ETag": tag, "Cache-Control": CACHE}
    known = request.headers.get("if-none-match", "")
    if tag in {one.strip() for one in known.split(",")}:
        return Response(status_code=304, headers=headers)
    kept = {name: value for name, value in answer.headers.items() if name != "content-length"}
    return Response(body, answer.status_code, kept | headers)


async def body_of(answer: Response) -> bytes:
    """All that an answer says, which cannot be read from it again."""
    # Starlette hands every answer on as a stream.
    stream = cast(StreamingResponse, answer).body_iterator
    return b"".join([cast(bytes, part) async for part in stream])
