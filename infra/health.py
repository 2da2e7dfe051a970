"""`/healthz` and `/metrics` of `scarp up`: whether everything runs, and how it fares."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Report = Callable[[], tuple[bool, dict[str, Any]]]

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@contextmanager
def serving_health(
    host: str, port: int, report: Report, metrics: Callable[[], bytes]
) -> Iterator[None]:
    """Answer two paths for as long as the block runs.

    Args:
        host: where to listen.
        port: at which.
        report: whether all is well, and details: `/healthz` is 200 if so, else 503.
        metrics: what `/metrics` answers, in Prometheus' text format.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # noqa: N802
            if self.path == "/healthz":
                well, details = report()
                body = json.dumps(details).encode()
                self._answer(200 if well else 503, "application/json", body)
            elif self.path == "/metrics":
                self._answer(200, METRICS_TYPE, metrics())
            else:
                self.send_error(404)

        def _answer(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: object) -> None:
            """Nobody reads who asked."""

    server = ThreadingHTTPServer((host, port), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
