from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from shapely.affinity import translate
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from tasks.errors import AccessError, CatalogError
from tasks.imagery.cache import Cache
from tasks.imagery.hosts import gdal_options, read_with
from tasks.imagery.orders import Ledger
from tasks.imagery.profiles import read_profiles
from tasks.imagery.protocol import Span
from tasks.imagery.rasters import open_raster
from tasks.imagery.sources import Access, Keeping, open_source
from tasks.imagery.stac import StacSource
from tasks.types import AreaOfInterest
from tests.conftest import EXAMPLE

DAY = datetime(2023, 5, 23, tzinfo=UTC)
RGB = np.ones((3, 128, 128), np.uint8)


def find_scenes(source, aoi, start, end, access=None):
    return list(open_source(source, access or Access()).search(aoi, Span(start, end)).scenes)


def test_a_catalog_its_folder_and_its_address_are_one_source(aoi, serve):
    places = (EXAMPLE / "catalog.json", EXAMPLE, f"{serve(EXAMPLE).url}/catalog.json")
    found = [find_scenes(str(place), aoi, DAY, DAY + timedelta(days=60)) for place in places]
    assert [[scene.item_id for scene in scenes] for scenes in found] == [
        ["S2_L2A_4120_20230523", "S2_L2A_4120_20230617", "S2_L2A_4120_20230627"]
    ] * 3


def test_images_of_another_time_or_place_are_left_out_and_undated_ones_come_last(aoi, write_tif):
    folder = write_tif("images/a_undated.tif", RGB).parent
    write_tif("images/b_20230101.tif", RGB)
    write_tif("images/c_20230524.tif", RGB)
    found = find_scenes(str(folder), aoi, DAY, DAY + timedelta(days=60))
    assert [scene.id for scene in found] == ["c_20230524", "a_undated"]
    elsewhere = AreaOfInterest(translate(aoi.geometry, 1.0), "given")
    assert find_scenes(str(folder), elsewhere, DAY, DAY + timedelta(days=60)) == []


def test_one_image_is_a_source(aoi, write_tif):
    path = write_tif("x.tif", RGB)
    assert [scene.id for scene in find_scenes(str(path), aoi, DAY, DAY)] == ["x"]


def test_a_source_that_does_not_exist_is_named(aoi):
    with pytest.raises(CatalogError, match="nowhere does not exist"):
        find_scenes("nowhere", aoi, DAY, DAY)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("https://[brackets/x.tif", "does not exist"),
        ("https://[brackets/x", "does not exist"),
        ("https://127.0.0.1:99999/x", "is no address that can be asked"),
        ("s3://bucket/x", "is no address that can be asked"),
        ("s3://bucket/x.tif", r"only http\(s\) can"),
    ],
)
def test_an_address_that_nobody_can_be_asked_at_is_bad_input(aoi, tmp_path, source, reason):
    keeping = Keeping(Cache(tmp_path), None, tmp_path)
    with pytest.raises(CatalogError, match=reason):
        find_scenes(source, aoi, DAY, DAY, Access(keeping=keeping))


def test_a_token_in_an_address_is_never_told(aoi, catalog, serve):
    server = serve(catalog.parent)
    server.faults["S2_L2A_4120_20230523.json"] = (200, "<html>")
    host = server.url.removeprefix("http://")
    source = StacSource(f"http://ann:secret@{host}/catalog.json?token=secret")
    (refused,) = source.search(aoi, Span(DAY, DAY + timedelta(days=90))).refused
    assert refused.reason.startswith(f"{server.url}/catalog.json: ")
    assert "secret" not in refused.reason
    server.faults["catalog.json"] = (200, "<html>")
    with pytest.raises(CatalogError) as caught:
        source.search(aoi, Span(DAY, DAY + timedelta(days=90)))
    assert "secret" not in str(caught.value)


def test_an_image_from_afar_is_fetched_once(aoi, write_tif, serve, engine, tmp_path):
    image = write_tif("served/x_20230524.tif", RGB)
    server = serve(image.parent)
    keeping = Keeping(Cache(tmp_path / "cache"), Ledger(engine, 0), tmp_path / "event")
    for _ in range(2):
        (scene,) = find_scenes(
            f"{server.url}/{image.name}",
            aoi,
            DAY,
            DAY + timedelta(days=60),
            Access(keeping=keeping),
        )
        assert scene.hrefs["red"].startswith(f"vrt://{tmp_path / 'event'}")
    assert server.requested == [f"/{image.name}"]


def test_a_profile_is_known_by_its_name_and_by_its_address(serve, aoi, tmp_path):
    url = f"{serve(EXAMPLE).url}/catalog.json"
    own = tmp_path / "imagery.toml"
    own.write_text(
        f"""
        [ours]
        url = "{url}"
        [ours.collections.emilia-romagna-2023]
        bands = {{ red = "B04", green = "B03", blue = "B02" }}
        """
    )
    profiles = read_profiles(own)
    assert {"earth-search", "planetary-computer", "cdse", "cmr", "planet", "ours"} == set(profiles)
    for source in ("ours", url):
        scenes = find_scenes(source, aoi, DAY, DAY + timedelta(days=1), Access(profiles))
        assert [scene.bands for scene in scenes] == [("red", "green", "blue")]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("[ours", "is not TOML"),
        ("[ours]\nhosts = []", r"ours\.url: Field required"),
        ('[ours]\nurl = "x"\ncolour = 1', r"ours\.colour: Extra inputs"),
        (
            '[ours]\nurl = "x"\n[ours.collections.s2]\nmask = "m"',
            r"s2\.mask: Input should be 'scl'",
        ),
    ],
)
def test_a_damaged_profile_names_file_and_field(tmp_path, content, reason):
    own = tmp_path / "imagery.toml"
    own.write_text(content)
    with pytest.raises(CatalogError, match=rf"imagery\.toml.*{reason}"):
        read_profiles(own)


def test_a_token_goes_to_the_hosts_of_its_profile_only():
    environment = {"EARTHDATA_TOKEN": "secret", "PL_API_KEY": "k"}
    source = open_source("cmr", Access(environment=environment))
    assert "secret" not in repr(source)
    given = gdal_options("https://data.lpdaac.earthdatacloud.nasa.gov/x/B04.tif")
    assert given == {"GDAL_HTTP_AUTH": "BEARER", "GDAL_HTTP_BEARER": "secret"}
    assert gdal_options("https://example.org/B04.tif") == {}


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("cmr", "cmr needs EARTHDATA_TOKEN in the environment"),
        ("cdse", "cdse needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment"),
    ],
)
def test_missing_credentials_are_named(source, reason):
    with pytest.raises(AccessError, match=reason):
        open_source(source, Access(environment={}))


def test_planetary_computer_files_are_signed_by_gdal_as_they_are_read(write_tif, serve):
    """GDAL's own signing, pointed at a stand-in of the token service; nothing is kept of it."""
    image = write_tif("served/B04.tif", RGB)
    asked = []

    def sign(request: Request) -> JSONResponse:
        href = request.query_params["href"]
        return JSONResponse({"href": f"{href}?sig=secret", "msft:expiry": "2099-01-01T00:00:00Z"})

    def file(request: Request) -> Response:
        asked.append(dict(request.query_params))
        return FileResponse(image)

    routes = (Route("/sign", sign), Route("/signed/B04.tif", file, methods=["GET", "HEAD"]))
    url = serve(image.parent, routes).url
    options = read_profiles()["planetary-computer"].gdal_options("planetary-computer", {})
    read_with(("127.0.0.1",), options | {"VSICURL_PC_SAS_SIGN_HREF_URL": f"{url}/sign?href="})
    try:
        with open_raster(f"{url}/signed/B04.tif", "a signed scene") as dataset:
            assert dataset.count == 3
    finally:
        read_with(("127.0.0.1",), {})
    assert asked
    assert all(query == {"sig": "secret"} for query in asked)
