from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pystac
import pytest
import rasterio
from rasterio.warp import transform_bounds
from rasterio.windows import Window
from shapely.geometry import box, mapping, shape

from tasks.errors import CatalogError, RasterError, TransientError
from tasks.susceptibility.dem import dem_digest, find_dem
from tasks.susceptibility.factors import derive_factors


def sheet(dem: Path, window: Window, target: Path) -> pystac.Item:
    """A piece of a DEM with the item that a catalog of Copernicus GLO-30 has for it."""
    with rasterio.open(dem) as source:
        profile = source.profile | {
            "width": window.width,
            "height": window.height,
            "transform": source.window_transform(window),
        }
        values = source.read(window=window)
    with rasterio.open(target, "w", **profile) as piece:
        piece.write(values)
        bounds = transform_bounds(piece.crs, "EPSG:4326", *piece.bounds)
    moment = datetime(2021, 4, 22, tzinfo=UTC)
    item = pystac.Item(target.stem, mapping(box(*bounds)), list(bounds), moment, {})
    item.add_asset("data", pystac.Asset(f"../{target.name}", roles=["data"]))
    return item


@pytest.fixture(scope="module")
def catalog(kaghan, tmp_path_factory) -> Path:
    """Three pieces of the DEM; the northern one is not needed."""
    folder = tmp_path_factory.mktemp("stac")
    pieces = [Window(0, 200, 440, 600), Window(440, 200, 386, 600), Window(0, 0, 826, 200)]
    root = pystac.Catalog("elevation", "pieces of one DEM")
    for name, window in zip(("b_west", "a_east", "north"), pieces, strict=True):
        root.add_item(sheet(kaghan.dem, window, folder / f"{name}.tif"))
    root.normalize_and_save(str(folder), pystac.CatalogType.SELF_CONTAINED)
    return folder


@pytest.fixture
def server(catalog):
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = partial(Quiet, directory=str(catalog))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def api(catalog):
    """A stand-in for a STAC API: a root that can be searched, and what it was asked."""
    asked: list[dict[str, object]] = []
    items = [json.loads(path.read_text()) for path in sorted(catalog.glob("*_*/*.json"))]

    class Api(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # noqa: N802
            here = f"http://127.0.0.1:{self.server.server_port}"
            core = "https://api.stacspec.org/v1.0.0"
            link = {"href": f"{here}/search", "type": "application/geo+json", "method": "POST"}
            self.answer(
                {
                    "type": "Catalog",
                    "id": "api",
                    "stac_version": "1.0.0",
                    "description": "elevation",
                    "conformsTo": [f"{core}/core", f"{core}/item-search"],
                    "links": [{"rel": "search", **link}, {"rel": "self", "href": here}],
                }
            )

        def do_POST(self) -> None:  # noqa: N802
            asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            here = f"http://127.0.0.1:{self.server.server_port}"
            for item in items:
                item["links"] = [{"rel": "self", "href": f"{here}/items/{item['id']}"}]
            self.answer({"type": "FeatureCollection", "features": items, "links": []})

        def answer(self, content: dict[str, object]) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(content).encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Api) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


@pytest.mark.parametrize(
    ("path", "collection"), [("", "cop-dem-glo-30"), ("/collections/nasadem", "nasadem")]
)
def test_an_api_is_asked_for_a_collection_over_the_area(kaghan, api, path, collection):
    root, asked = api
    files = find_dem(root + path, kaghan.aoi)
    assert [file.rsplit("/", 1)[1] for file in files] == ["a_east.tif", "b_west.tif"]
    (search,) = asked
    assert search["collections"] == [collection]
    assert shape(search["intersects"]).intersects(kaghan.aoi)


def test_a_catalog_gives_the_files_over_the_area_and_their_factors(kaghan, catalog, tmp_path):
    files = find_dem(catalog, kaghan.aoi)
    assert [Path(file).name for file in files] == ["a_east.tif", "b_west.tif"]
    stack = derive_factors(catalog / "catalog.json", kaghan.aoi, tmp_path / "factors.tif")
    np.testing.assert_allclose(
        stack.read("slope"), kaghan.stack.read("slope"), atol=1e-3, equal_nan=True
    )


def test_a_remote_catalog_gives_addresses(kaghan, server):
    files = find_dem(f"{server}/catalog.json", kaghan.aoi)
    assert files == (f"{server}/a_east.tif", f"{server}/b_west.tif")
    assert dem_digest(files) == dem_digest(files) != dem_digest(files[::-1])


@pytest.mark.parametrize("href", ["http://localhost:1/a_east.tif", "file:///etc/a_east.tif"])
def test_a_remote_catalog_cannot_send_the_reader_elsewhere(kaghan, catalog, server, href):
    (item,) = catalog.glob("a_east/a_east.json")
    before = item.read_text()
    item.write_text(before.replace("../a_east.tif", href))
    try:
        with pytest.raises(CatalogError, match=f"a_east refers to {href}"):
            find_dem(f"{server}/catalog.json", kaghan.aoi)
    finally:
        item.write_text(before)


def test_a_bucket_of_copernicus_is_read_over_https(kaghan, catalog, server):
    (item,) = catalog.glob("a_east/a_east.json")
    before = item.read_text()
    item.write_text(before.replace("../a_east.tif", "s3://copernicus-dem-30m/N34/N34.tif"))
    try:
        files = find_dem(f"{server}/catalog.json", kaghan.aoi)
    finally:
        item.write_text(before)
    assert files[0] == "https://copernicus-dem-30m.s3.amazonaws.com/N34/N34.tif"


def test_a_source_that_is_no_stac_or_not_there_is_named(kaghan, server, tmp_path):
    (tmp_path / "notes.json").write_text("{}")
    with pytest.raises(CatalogError, match=r"notes\.json is not a STAC catalog"):
        find_dem(tmp_path / "notes.json", kaghan.aoi)
    with pytest.raises(CatalogError, match="answered HTTP 404"):
        find_dem(f"{server}/nothing.json", kaghan.aoi)
    with pytest.raises(TransientError, match="out of reach"):
        find_dem("http://127.0.0.1:9/collections/cop-dem-glo-30", kaghan.aoi)


def test_a_catalog_of_another_place_has_no_elevation(example, catalog):
    with pytest.raises(RasterError, match="no item over the area"):
        find_dem(catalog, example.aoi)


def test_an_empty_folder_is_no_dem(kaghan, tmp_path):
    with pytest.raises(RasterError, match="holds no raster"):
        find_dem(tmp_path, kaghan.aoi)
