"""A stand-in for Planet, which offers no emulator: as much of its documented APIs as Scarp uses.

Items are copies of recorded ones, moved onto strips of the area asked for; files are made when they
are ordered. Every fault is armed by name and happens once.
"""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import numpy as np
import rasterio
from rasterio.transform import from_bounds
from shapely.geometry import box, mapping, shape
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.conftest import DATA

RECORDED = DATA / "planet_json" / "tests" / "data"
ASSETS = {"ortho_analytic_4b_sr": "3B_AnalyticMS_SR_harmonized_clip", "ortho_udm2": "3B_udm2_clip"}


def strip_items(area, count: int) -> list[dict]:
    """Recorded items moved onto `count` strips of an area, from west to east, one minute apart."""
    recorded = json.loads((RECORDED / "data_item_20220125_075509_67_1061.json").read_text())
    west, south, east, north = area.bounds
    edges = np.linspace(west, east, count + 1)
    items = []
    for number in range(count):
        item = json.loads(json.dumps(recorded))
        item["id"] = f"20220125_0755{number:02d}_67_1061"
        item["geometry"] = mapping(
            box(edges[number], south - 0.01, edges[number + 1], north + 0.01)
        )
        item["properties"]["acquired"] = f"2022-01-25T07:55:{number:02d}.676173Z"
        items.append(item)
    return items


@dataclass
class Planet:
    """What the stand-in holds, was asked, and does wrong once."""

    folder: Path
    key: str
    items: list[dict] = field(default_factory=list)
    orders: dict[str, dict] = field(default_factory=dict)
    posted: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    faults: dict[str, str] = field(default_factory=dict)
    cloudy: set[str] = field(default_factory=set)
    on_order: Callable[[], None] = lambda: None

    @property
    def routes(self) -> list[Route]:
        orders = "/compute/ops/orders/v2"
        return [
            Route("/data/v1/quick-search", self.search, methods=["POST"]),
            Route(orders, self.place, methods=["POST"]),
            Route(orders, self.list_orders),
            Route(orders + "/{id}", self.order),
            Route("/compute/ops/download/", self.download),
        ]

    def refusal(self, request: Request, *names: str) -> Response | None:
        """A wrong key's answer, or that of a fault armed for this step."""
        self.asked.append(f"{request.method} {request.url.path}")
        if request.headers.get("authorization") != f"api-key {self.key}":
            return JSONResponse({"message": "Please enter your API key"}, 401)
        for name in names:
            if self.faults.pop(name, None) is None:
                continue
            status = int(name.split()[-1])
            wait = {"Retry-After": "1"} if status == 429 else {}
            # A careless server that says the key back.
            return JSONResponse({"message": f"{name}, key {self.key}"}, status, wait)
        return None

    async def search(self, request: Request) -> Response:
        if refusal := self.refusal(request, "search 401", "search 500"):
            return refusal
        body = await request.json()
        assert body["item_types"] == ["PSScene"]
        filters = {one["type"]: one for one in body["filter"]["config"]}
        area = shape(filters["GeometryFilter"]["config"])
        least = filters["RangeFilter"]["config"]["gte"]
        span = filters["DateRangeFilter"]["config"]
        found = [
            item
            for item in self.items
            if shape(item["geometry"]).intersects(area)
            and item["properties"]["clear_percent"] >= least
            and span["gte"][:19] <= item["properties"]["acquired"][:19] <= span["lte"][:19]
        ]
        return JSONResponse({"_links": {"_next": None}, "features": found})

    def list_orders(self, request: Request) -> Response:
        if refusal := self.refusal(request, "list 429"):
            return refusal
        name = request.query_params["name"]
        found = [order for order in self.orders.values() if order["name"] == name]
        return JSONResponse({"_links": {"_self": str(request.url)}, "orders": found})

    async def place(self, request: Request) -> Response:
        if refusal := self.refusal(request, "place 503"):
            return refusal
        body = await request.json()
        (product,) = body["products"]
        (item,) = product["item_ids"]
        if self.faults.pop(f"{item} 403", None) is not None:
            return JSONResponse({"message": "no access to assets: ortho_analytic_4b_sr"}, 403)
        self.posted.append(body["name"])
        order = body | {"id": str(uuid4()), "state": "queued", "error_hints": []}
        order |= {"last_message": "Preparing order", "_links": {"_self": "", "results": None}}
        self.orders[order["id"]] = order
        self.on_order()
        if self.faults.pop("taken but 500", None) is not None:
            return JSONResponse({"message": "taken but 500"}, 500)
        return JSONResponse(order, 202)

    def order(self, request: Request) -> Response:
        if refusal := self.refusal(request, "poll 502"):
            return refusal
        order = self.orders[request.path_params["id"]]
        item = order["products"][0]["item_ids"][0]
        if order["state"] == "queued":
            order["state"] = "running"
        elif order["state"] == "running":
            outcome = self.faults.pop(f"{item} outcome", "success")
            order |= {"state": outcome, "last_message": f"it was a {outcome}"}
            if outcome != "failed":
                names = self.deliver(order, item, list(ASSETS)[: 1 if outcome == "partial" else 2])
                url = f"{request.base_url}compute/ops/download/"
                order["_links"]["results"] = [
                    {"name": name, "location": f"{url}?token=secret-{name}", "delivery": "success"}
                    for name in names
                ]
        return JSONResponse(order)

    def deliver(self, order: dict, item: str, assets: list[str]) -> list[str]:
        """Make an order's files and its manifest."""
        area = shape(order["tools"][0]["clip"]["aoi"])
        entries = []
        for asset in assets:
            name = f"{order['id']}/PSScene/{item}_{ASSETS[asset]}.tif"
            hidden = item in self.cloudy
            write_asset(self.folder / name, area.bounds, mask=asset == "ortho_udm2", hidden=hidden)
            content = (self.folder / name).read_bytes()
            digests = {kind: hashlib.new(kind, content).hexdigest() for kind in ("md5", "sha256")}
            entries.append(
                {
                    "path": name.partition("/")[2],
                    "media_type": "image/tiff",
                    "size": len(content),
                    "digests": digests,
                    "annotations": {"planet/asset_type": asset, "planet/item_id": item},
                }
            )
        manifest = f"{order['id']}/manifest.json"
        (self.folder / manifest).write_text(json.dumps({"name": "", "files": entries}))
        return [manifest, *(f"{order['id']}/{entry['path']}" for entry in entries)]

    def download(self, request: Request) -> Response:
        name = request.query_params["token"].removeprefix("secret-")
        path = self.folder / name
        self.asked.append(f"GET {name} {request.headers.get('range', '')}".strip())
        content = path.read_bytes()
        for fault in [fault for fault in self.faults if fault.split()[0] in name]:
            if fault.endswith("stall") and self.faults.pop(fault, None) is not None:
                length = {"Content-Length": str(len(content))}
                return StreamingResponse(stalled(content), headers=length)
            if fault.endswith("checksum") and self.faults.pop(fault, None) is not None:
                return Response(content[:-9] + b"corrupted", media_type="image/tiff")
        return FileResponse(path)


async def stalled(content: bytes) -> AsyncIterator[bytes]:
    yield content[: len(content) // 2]
    await asyncio.sleep(30)


def write_asset(path: Path, bounds: tuple, *, mask: bool, hidden: bool) -> None:
    """Surface reflectance in four bands, or a UDM2 of eight that says all is clear, or is cloud.

    Pixels are of 10 m.
    """
    said = 6 if hidden else 1
    path.parent.mkdir(parents=True, exist_ok=True)
    cols, rows = (max(int((bounds[i + 2] - bounds[i]) * 11_000), 2) for i in (0, 1))
    count, dtype = (8, "uint8") if mask else (4, "uint16")
    profile = {"driver": "GTiff", "count": count, "dtype": dtype, "height": rows, "width": cols}
    place = {"crs": "EPSG:4326", "transform": from_bounds(*bounds, cols, rows)}
    with rasterio.open(path, "w", **profile, **place, compress="deflate") as raster:
        for band in range(1, count + 1):
            noise = np.random.default_rng(band).integers(300, 2000, (rows, cols))
            raster.write((noise * 0 + (band == said) if mask else noise).astype(dtype), band)
