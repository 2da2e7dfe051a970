"""The bundled example to damage, GeoTIFFs to make, and true servers of files and of STAC."""

import json
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import rasterio
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from infra import postgres
from tasks.events.aoi import read_aoi
from tasks.events.request import read_event
from tasks.types import AreaOfInterest, Event
from tests.conftest import EXAMPLE
from tests.imagery.stac_server import StacServer, stac_server


@pytest.fixture(scope="session")
def event() -> Event:
    return read_event(EXAMPLE / "event.json")


@pytest.fixture(scope="session")
def aoi() -> AreaOfInterest:
    return read_aoi(EXAMPLE / "aoi.geojson")


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    """A copy of the example's scenes and catalog that a test may damage."""
    folder = tmp_path / "example"
    shutil.copytree(EXAMPLE / "scenes", folder / "scenes")
    shutil.copy(EXAMPLE / "catalog.json", folder)
    return folder / "catalog.json"


@pytest.fixture
def edit_items(catalog: Path) -> Callable[[Callable[[dict], None]], None]:
    """Change the JSON of every item of the copied catalog."""

    def edit(change: Callable[[dict], None]) -> None:
        for path in catalog.parent.glob("scenes/*/*.json"):
            item = json.loads(path.read_text())
            change(item)
            path.write_text(json.dumps(item))

    return edit


@pytest.fixture(scope="session")
def stac_api(cluster_home: Path) -> Iterator[StacServer]:
    """A true STAC API, stac-fastapi-pgstac, on the tests' PostGIS."""
    with stac_server(postgres.start(cluster_home)) as server:
        yield server


@dataclass
class Server:
    """A web server on loopback.

    `faults` maps the end of a path to an answer given instead, `drops` to how often the connection
    breaks in the middle of the answer.
    """

    url: str
    drops: dict[str, int] = field(default_factory=dict)
    faults: dict[str, tuple[int, str]] = field(default_factory=dict)
    requested: list[str] = field(default_factory=list)
    sent_bytes: int = 0


@pytest.fixture
def serve() -> Iterator[Callable[[Path], Server]]:
    """Serve a folder over HTTP with Range requests."""
    running = []

    def start(folder: Path, routes: tuple = ()) -> Server:
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        server = Server(f"http://127.0.0.1:{listener.getsockname()[1]}")
        app = Starlette(routes=list(routes))
        app.mount("/", StaticFiles(directory=folder))

        def count(send):
            async def counted(message):
                server.sent_bytes += len(message.get("body", b""))
                await send(message)

            return counted

        async def answer(scope, receive, send):
            if scope["type"] != "http":
                return
            path = Request(scope).url.path
            server.requested.append(path)
            for end in [end for end, left in server.drops.items() if left and path.endswith(end)]:
                server.drops[end] -= 1
                headers = [(b"content-length", b"1000")]
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                await send({"type": "http.response.body", "body": b"{", "more_body": True})
                return
            for end, (status, body) in server.faults.items():
                if path.endswith(end):
                    await Response(body, status)(scope, receive, send)
                    return
            await app(scope, receive, count(send))

        config = uvicorn.Config(answer, log_level="error", lifespan="off", ws="none")
        web = uvicorn.Server(config)
        thread = threading.Thread(target=web.run, kwargs={"sockets": [listener]})
        thread.start()
        running.append((web, thread, listener))
        while not web.started:
            time.sleep(0.01)
        return server

    yield start
    for web, thread, listener in running:
        web.should_exit = True
        thread.join()
        listener.close()


@pytest.fixture
def write_tif(tmp_path: Path) -> Callable[..., Path]:
    """Write a (bands, rows, cols) array as a GeoTIFF on a 10 m grid of EPSG:32632."""

    def write(name: str, array: np.ndarray, **options) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        tags = options.pop("tags", {})
        descriptions = options.pop("descriptions", None)
        mask = options.pop("mask", None)
        profile = {
            "driver": "GTiff",
            "count": array.shape[0],
            "height": array.shape[1],
            "width": array.shape[2],
            "dtype": array.dtype,
            "crs": "EPSG:32632",
            "transform": rasterio.Affine(10, 0, 705_280, 0, -10, 4_912_640),
        }
        with (
            rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
            rasterio.open(path, "w", **(profile | options)) as raster,
        ):
            raster.write(array)
            raster.update_tags(**tags)
            if descriptions:
                raster.descriptions = descriptions
            if mask is not None:
                raster.write_mask(mask)
        return path

    return write
