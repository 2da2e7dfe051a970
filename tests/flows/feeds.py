"""A feed on a true HTTP server, whose answer a test changes as history goes on."""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.conftest import DATA

COMCAT = DATA / "feeds" / "usgs_comcat"
NOW = datetime(2019, 7, 6, 4, 0, tzinfo=UTC)
SUMMARY = json.loads((COMCAT / "dataframes_association_02_fc.json").read_text())
_TAGS = ("ETag", "If-None-Match")


@dataclass
class Feed:
    """What a server answers: bodies by path, or a status; and what was asked of it.

    A path in `changed` has no ETag but that `Last-Modified`, as files of plain servers have.
    """

    url: str
    bodies: dict[str, bytes] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    changed: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, int]] = field(default_factory=list)

    def put(self, path: str, body: Any) -> str:
        """Serve a body from now on; returns its address."""
        self.bodies[path] = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.url + path


@contextmanager
def serving() -> Iterator[Feed]:
    """A server with ETags for as long as the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = feed.bodies.get(self.path)
            status = feed.statuses.get(self.path, 200 if body is not None else 404)
            etag = f'"{sha256(body or b"").hexdigest()[:16]}"'
            changed = feed.changed.get(self.path)
            tag, asked_by = ("Last-Modified", "If-Modified-Since") if changed else _TAGS
            if status == 200 and self.headers.get(asked_by) == (changed or etag):
                status, body = 304, b""
            feed.asked.append((self.path, status))
            self.send_response(status)
            self.send_header(tag, changed or etag)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    feed = Feed(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield feed
    server.shutdown()
    thread.join()
    server.server_close()


def recorded(event_id: str) -> dict[str, Any]:
    """The whole recorded history of an event, as ComCat tells it in one page."""
    path = COMCAT / "replay" / event_id / "detail_includesuperseded.json"
    return json.loads(path.read_text())


def as_of(page: dict[str, Any], ms: int, kinds: tuple[str, ...] = ("origin", "shakemap")) -> dict:
    """The page as it stood at a moment: products sent by then, numbers of the preferred origin."""
    properties = page["properties"]
    products = {
        kind: [one for one in properties["products"].get(kind, []) if one["updateTime"] <= ms]
        for kind in kinds
    }
    origins = sorted(
        products.get("origin", []), key=lambda one: (one["preferredWeight"], one["updateTime"])
    )
    changed: dict[str, Any] = {"products": products, "updated": ms}
    geometry = page["geometry"]
    if origins:
        said = origins[-1]["properties"]
        magnitude = said.get("magnitude")
        changed["mag"] = float(magnitude) if magnitude else None
        place = [float(said[name]) for name in ("longitude", "latitude", "depth")]
        geometry = {"type": "Point", "coordinates": place}
    return {**page, "properties": {**properties, **changed}, "geometry": geometry}


def moments(page: dict[str, Any], *kinds: str) -> list[int]:
    """When products of these kinds were sent, in ms since 1970, in order."""
    products = page["properties"]["products"]
    return sorted(one["updateTime"] for kind in kinds for one in products[kind])


def at(ms: int) -> datetime:
    """The instant of ms since 1970."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)


def entry(
    event_id: str = "ci38457511",
    *,
    geometry: tuple[float, ...] = (-117.6, 35.77, 8.0),
    **properties: Any,
) -> dict[str, Any]:
    """A real entry of ComCat's summary with some of it changed; M 7.1 an hour before the clock."""
    made = copy.deepcopy(SUMMARY["features"][0])
    given = {
        "mag": 7.1,
        "magType": "mw",
        "time": ms(NOW - timedelta(hours=1)),
        "updated": ms(NOW - timedelta(minutes=40)),
        "ids": f",{event_id},",
        "detail": None,
        "title": "M 7.1 - somewhere",
    }
    made["properties"] |= given | properties
    return made | {"id": event_id, "geometry": {"type": "Point", "coordinates": list(geometry)}}


def ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
