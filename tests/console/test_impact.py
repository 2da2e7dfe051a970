import json
import os

import pytest
import rasterio
from typer.testing import CliRunner

from console.cli import app
from tasks.errors import RasterError
from tests.conftest import DATA

GRID = DATA / "usgs_groundfailure_loma_prieta" / "grid.xml"


@pytest.fixture
def layers(tmp_path):
    inputs = os.path.relpath(GRID.parent / "model_inputs", tmp_path)
    path = tmp_path / "layers.toml"
    path.write_text(
        "[nowicki_jessee]\n"
        f'slope = "{inputs}/global_grad.tif"\nslope_unit = "gradient"\n'
        f'lithology = "{inputs}/GLIM_replace.tif"\n'
        f'landcover = "{inputs}/globcover_replace.tif"\n'
        f'cti = "{inputs}/global_cti_fil.grd"\n'
    )
    return path


def run(*arguments):
    return CliRunner().invoke(app, ["impact", *map(str, arguments)])


def test_a_shakemap_and_its_layers_give_area_expectation_and_map(layers, tmp_path):
    said = run(GRID, "--layers", layers, "-o", tmp_path / "out", "--json")
    assert said.exit_code == 0, said.output
    told = json.loads(said.stdout)
    assert told["shakemap"]["place"] == "Loma Prieta, California"
    assert told["impact"]["model"] == "nowicki-jessee-2018"
    assert told["impact"]["expected_km2"] == pytest.approx(36.92, rel=1e-3)
    assert 4_000 < told["aoi_km2"] < 6_000
    with rasterio.open(tmp_path / "out" / "prior.tif") as prior:
        assert prior.crs.to_epsg() == 4326
    area = json.loads((tmp_path / "out" / "aoi.geojson").read_text())
    assert area["type"] == "MultiPolygon"


def test_without_layers_the_magnitude_must_do(monkeypatch):
    monkeypatch.delenv("SCARP_IMPACT", raising=False)
    said = run(GRID, "--mmi", "7")
    assert said.exit_code == 0, said.output
    assert "malamud-2004" in said.stdout
    assert "intensity of at least 7" in said.stdout


def test_without_a_magnitude_there_is_still_an_area(tmp_path, monkeypatch):
    monkeypatch.delenv("SCARP_IMPACT", raising=False)
    (tmp_path / "grid.xml").write_text(GRID.read_text().replace('magnitude="6.9"', ""))
    told = json.loads(run(tmp_path / "grid.xml", "--json").stdout)
    assert told["impact"] is None
    assert told["aoi_km2"] > 4_000
    assert "names no magnitude" in run(tmp_path / "grid.xml").stdout


def test_wrong_input_ends_in_a_sentence(tmp_path):
    assert isinstance(run(tmp_path / "missing.xml").exception, RasterError)
