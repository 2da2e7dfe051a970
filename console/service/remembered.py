"""Tiles of products, remembered as they were answered: many who look at one event see the same."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from cachetools import LRUCache
from starlette.requests import Request
from starlette.responses import Response

from console.service.etags import Next, body_of

REMEMBERED_BYTES = 64_000_000
_TILE = re.compile(r"/products/(?P<event>[\w.:-]+)/(?P<product>\w+)/tiles/.+")
_Key = tuple[str, str, int]


class RememberedTiles:
    """Answers a tile that was made before from memory, as long as its raster is the same file."""

    def __init__(self, products: Callable[[str], Path]) -> None:
        self.products = products
        self.known: LRUCache[_Key, tuple[bytes, str]] = LRUCache(
            REMEMBERED_BYTES, getsizeof=lambda made: len(made[0])
        )

    async def __call__(self, request: Request, call_next: Next) -> Response:
        """Answer from memory, or remember the answer."""
        asked = _TILE.fullmatch(request.url.path)
        if request.method != "GET" or asked is None:
            return await call_next(request)
        try:
            raster = self.products(asked["event"]) / f"{asked['product']}.tif"
            key = (request.url.path, request.url.query, raster.stat().st_mtime_ns)
        except OSError:
            return await call_next(request)
        if made := self.known.get(key):
            return Response(made[0], media_type=made[1])
        answer = await call_next(request)
        if answer.status_code != 200:
            return answer
        body = await body_of(answer)
        kind = answer.headers["content-type"]
        if len(body) < REMEMBERED_BYTES // 100:
            self.known[key] = (body, kind)
        kept = {name: value for name, value in answer.headers.items() if name != "content-length"}
        return Response(body, headers=kept)
