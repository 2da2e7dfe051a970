"""A command imports what it uses and no more: that is most of what a short one costs."""

import json
import subprocess
import sys

import pytest
import rasterio

from tests.conftest import EXAMPLE

WORKING = {"numba", "torch", "scipy", "pandas", "geopandas", "rasterio", "shapely", "odc"}
# What neither a command line nor mapping one image needs.
ELSEWHERE = {
    "torch._dynamo", "sympy", "alembic", "fastapi", "httpx", "matplotlib", "monai", "planet",
    "prefect", "psycopg", "pystac", "pystac_client", "sklearn", "sqlalchemy", "transformers",
}  # fmt: skip

SHOW_IMPORTS = """
import json, sys
from console.cli import app
app(sys.argv[1:], standalone_mode=False)
print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


def imported_by(*words: str) -> set[str]:
    """The modules a new process holds after one command."""
    command = [sys.executable, "-c", SHOW_IMPORTS, *words]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert ran.returncode == 0, ran.stderr
    return set(json.loads(ran.stderr.splitlines()[-1]))


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """A clear scene of the example as one GeoTIFF."""
    path = tmp_path_factory.mktemp("image") / "scene.tif"
    scene = EXAMPLE / "scenes" / "2023-05-23"
    with rasterio.open(scene / "B04.tif") as band:
        profile = band.profile | {"driver": "GTiff", "count": 3, "photometric": "RGB"}
    with rasterio.open(path, "w", **profile) as raster:
        for number, name in enumerate(("B04", "B03", "B02"), start=1):
            with rasterio.open(scene / f"{name}.tif") as band:
                raster.write(band.read(1), number)
    return path


@pytest.mark.parametrize("command", [[], ["map"], ["respond"], ["inventory"], ["model"]])
def test_help_imports_nothing_that_does_the_work(command):
    assert not (WORKING | ELSEWHERE) & imported_by(*command, "--help")


def test_cards_are_listed_without_torch():
    assert not (WORKING | ELSEWHERE) & imported_by("model", "list")


def test_one_image_is_mapped_without_what_events_catalogs_and_fits_need(image, tmp_path):
    assert not ELSEWHERE & imported_by("map", str(image), "-o", str(tmp_path / "out"))


def test_networks_are_named_without_the_libraries_they_come_from():
    show = "import sys; from models import registry; registry.names(); print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", show], capture_output=True, text=True, check=True)
    libraries = {"transformers", "monai", "segmentation_models_pytorch", "torchvision", "timm"}
    assert not libraries & set(ran.stdout.split())
