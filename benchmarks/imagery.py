"""Finding, judging and reading scenes: 10,000 items of a true STAC API, COGs over HTTP.

    python benchmarks/imagery.py [--items 10000] [--tile-px 10980] [--runs 5]

stac-fastapi-pgstac serves items of 10 x 10 Sentinel-2 tiles, one every five days; an event's area
of 5,000 km² lies where four tiles meet. Their bands are noise that does not compress, as COGs with
512-pixel blocks and overviews (GDAL's own default), so that bytes sent are pixels sent; they are
counted at the server that sends them. One set of files stands behind all items, under addresses of
their own and with each tile's place in the header. Writes results/imagery.json.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import socket
import statistics
import struct
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import c_longlong
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
import uvicorn
from pyproj import Transformer
from record import machine, write
from shapely import segmentize, transform
from shapely.geometry import MultiPolygon, box, mapping
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

sys.path.insert(0, str(Path(__file__).parents[1]))

from infra import postgres
from tasks.imagery.clouds import judging_grid
from tasks.imagery.looking import SEARCH_BEFORE, look_at
from tasks.imagery.mosaic import prepare_mosaic
from tasks.imagery.protocol import Span
from tasks.imagery.sources import Access, open_source
from tasks.types import AreaOfInterest, Scene
from tests.imagery.stac_server import StacServer, stac_server

SECONDS, RATIO = 3.0, 1.3
AREA_KM2 = 5000.0
CRS, WEST, NORTH = "EPSG:32632", 300_000, 5_500_000
SPACING_M, PIXEL_M, BLOCK_PX = 100_000, 10, 512
TILES, EVERY = 10, timedelta(days=5)
EVENT = datetime(2023, 5, 16, tzinfo=UTC)
BANDS = {"red": "B04", "green": "B03", "blue": "B02", "nir": "B08"}
COLLECTION = "sentinel-2-l2a"


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--tile-px", type=int, default=10_980)
    parser.add_argument("--runs", type=int, default=5)
    asked = parser.parse_args()
    result = machine() | vars(asked)
    with tempfile.TemporaryDirectory(prefix="scarp-imagery-") as folder:
        home = Path(folder) / "home"
        home.mkdir()
        Path(folder).chmod(0o755)
        make_cogs(Path(folder), asked.tile_px)
        try:
            with stac_server(postgres.start(home)) as api, served(Path(folder)) as (url, sent):
                offer(api, url, asked.items, asked.tile_px * PIXEL_M)
                area = area_of_interest()
                result |= find(api, area, asked.runs)
                result |= read(api, area, sent, Path(folder) / "work")
        finally:
            postgres.stop(home, force=True)
    result["bars"] = {
        "search_and_selection_s": SECONDS,
        "bytes_ratio": RATIO,
        "met": result["search_and_selection_s"] < SECONDS and result["bytes_ratio"] <= RATIO,
    }
    print(json.dumps(result, indent=2))
    print(f"wrote {write('imagery', result)}")


def find(api: StacServer, area: AreaOfInterest, runs: int) -> dict[str, Any]:
    """Time the search of everything since a year before the event, and judging and choosing."""
    taken = [timed_choice(api, area) for _ in range(runs)]
    searches, judged, found, looked = zip(*taken, strict=True)
    return {
        "scenes_found": found[0],
        "scenes_judged": looked[0],
        "search_s": round(statistics.median(searches), 3),
        "judging_and_choosing_s": round(statistics.median(judged), 3),
        "search_and_selection_s": round(
            statistics.median(a + b for a, b in zip(searches, judged, strict=True)), 3
        ),
    }


def timed_choice(api: StacServer, area: AreaOfInterest) -> tuple[float, float, int, int]:
    """Seconds of the search and of the selection, and how many scenes were found and looked at."""
    began = time.perf_counter()
    scenes = search(api, area)
    searched = time.perf_counter()
    judgements = look_at(scenes, area, EVENT).judgements
    looked = sum(one.clear_fraction is not None for one in judgements)
    return searched - began, time.perf_counter() - searched, len(scenes), looked


def search(api: StacServer, area: AreaOfInterest) -> tuple[Scene, ...]:
    """Everything of the area that `scarp respond` asks for."""
    span = Span(EVENT - SEARCH_BEFORE, EVENT + 3 * EVERY)
    return open_source(api.url, Access()).search(area, span).scenes


def read(api: StacServer, area: AreaOfInterest, sent: Any, folder: Path) -> dict[str, Any]:
    """Bytes sent for judging and for the mosaic, against those of the area's windows."""
    before = sent.value
    judgements = look_at(search(api, area), area, EVENT).judgements
    for_judging = sent.value - before
    used = [one.scene for one in judgements if one.used]
    before = sent.value
    mosaic = prepare_mosaic(used, area, folder)
    for_mosaic = sent.value - before
    with rasterio.open(mosaic.path) as image:
        window = image.width * image.height * (len(BANDS) * 2 + (PIXEL_M / 20) ** 2)
    return {
        "scenes_used": len(used),
        "mosaic_window_bytes": round(window),
        "mosaic_sent_bytes": for_mosaic,
        "bytes_ratio": round(for_mosaic / window, 3),
        "judging_sent_bytes": for_judging,
        "judging_resolution_m": round(abs(judging_grid(area).affine.a), 1),
    }


def area_of_interest() -> AreaOfInterest:
    """A square of 5,000 km² round the corner of four tiles."""
    half = math.sqrt(AREA_KM2) * 500
    middle = (WEST + 5 * SPACING_M + 4_900, NORTH - 5 * SPACING_M - 4_900)
    corners = box(middle[0] - half, middle[1] - half, middle[0] + half, middle[1] + half)
    return AreaOfInterest(MultiPolygon([in_degrees(corners)]), "given")


def in_degrees(shape: Any) -> Any:
    to_wgs84 = Transformer.from_crs(CRS, "EPSG:4326", always_xy=True)
    return transform(segmentize(shape, 10_000), to_wgs84.transform, interleaved=False)


def offer(api: StacServer, url: str, count: int, side_m: int) -> None:
    """Load the collection and its items, the latest of each tile two weeks after the event."""
    extent = {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}}
    collection = {"type": "Collection", "id": COLLECTION, "stac_version": "1.0.0", "links": []}
    collection |= {"description": "tiles", "license": "other", "extent": extent}
    api.load("collections", [json.dumps(collection)])
    places = [(row, column) for row in range(TILES) for column in range(TILES)]
    numbers = range(-(-count // len(places)))
    items = [item(url, place, number, side_m) for number in numbers for place in places]
    api.load("items", map(json.dumps, items[:count]))


def item(url: str, place: tuple[int, int], number: int, side_m: int) -> dict[str, Any]:
    """One tile at one time."""
    west, north = corner(*place)
    ground = in_degrees(box(west, north - side_m, west + side_m, north))
    taken = EVENT + 3 * EVERY - timedelta(hours=14) - number * EVERY
    name = f"{place[0]}-{place[1]}-{taken:%Y%m%d}"
    assets = {
        file: {"href": f"{url}/{name}/{file}.tif", "type": "image/tiff", "roles": ["data"]}
        for file in (*BANDS.values(), "SCL")
    }
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name,
        "collection": COLLECTION,
        "geometry": mapping(ground),
        "bbox": ground.bounds,
        "links": [],
        "assets": assets,
        "properties": {
            "datetime": taken.isoformat(),
            "gsd": PIXEL_M,
            "proj:code": CRS,
            "proj:transform": [PIXEL_M, 0, west, 0, -PIXEL_M, north],
        },
    }


def corner(row: int, column: int) -> tuple[int, int]:
    """West and north of a tile in metres of the CRS."""
    return WEST + column * SPACING_M, NORTH - row * SPACING_M


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, Any]]:
    """Serve the files from a process of their own, and count the bytes it sends."""
    sent = multiprocessing.Value(c_longlong)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        process = multiprocessing.Process(target=serve, args=(folder, listener, sent))
        process.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", sent
        finally:
            process.terminate()
            process.join()


def serve(folder: Path, listener: socket.socket, sent: Any) -> None:
    """Answer with ranges of the files, each with the tile's corner where the file has its own."""
    files = {name: (folder / f"{name}.tif").read_bytes() for name in ("band", "SCL")}
    written = struct.pack("<dd", WEST, NORTH)
    places = {name: content.index(written) for name, content in files.items()}

    async def asset(request: Request) -> Response:
        name = "SCL" if request.path_params["file"] == "SCL.tif" else "band"
        content, at = files[name], places[name]
        if request.method == "HEAD":
            return Response(headers={"accept-ranges": "bytes", "content-length": str(len(content))})
        first, last = 0, len(content) - 1
        if asked := request.headers.get("range"):
            low, high = asked.removeprefix("bytes=").split("-")
            first, last = int(low), min(int(high or last), last)
        body = bytearray(content[first : last + 1])
        row, column = map(int, request.path_params["item"].split("-")[:2])
        for place, byte in enumerate(struct.pack("<dd", *corner(row, column)), start=at - first):
            if 0 <= place < len(body):
                body[place] = byte
        headers = {
            "accept-ranges": "bytes",
            "content-range": f"bytes {first}-{last}/{len(content)}",
        }
        sent.value += len(body)
        return Response(bytes(body), 206 if asked else 200, headers, "image/tiff")

    app = Starlette(routes=[Route("/{item}/{file}", asset)])
    uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off")).run([listener])


def make_cogs(folder: Path, side: int) -> None:
    """Noise for the bands, and a scene classification with a cloud."""
    random = np.random.default_rng(6)
    bands = random.integers(1, 10_000, (side, side), dtype=np.uint16)
    classes = random.integers(4, 8, (side // 2, side // 2), dtype=np.uint8)
    classes[: side // 8, : side // 8] = 9
    for name, values, step in (("band", bands, PIXEL_M), ("SCL", classes, 2 * PIXEL_M)):
        place = rasterio.Affine(step, 0, WEST, 0, -step, NORTH)
        profile = {"driver": "GTiff", "count": 1, "dtype": values.dtype, "crs": CRS}
        shape = {"height": values.shape[0], "width": values.shape[1], "transform": place}
        plain = folder / "plain.tif"
        with rasterio.open(plain, "w", **profile, **shape, nodata=0) as raster:
            raster.write(values, 1)
        options = {"blocksize": BLOCK_PX, "compress": "NONE", "overview_resampling": "nearest"}
        rasterio.shutil.copy(plain, folder / f"{name}.tif", driver="COG", **options)
        plain.unlink()


if __name__ == "__main__":
    main()
