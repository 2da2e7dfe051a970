import json

import geopandas as gpd
import pytest
from rio_cogeo import cog_validate

from tests.conftest import EXAMPLE

EVENT = "emilia-romagna-2023"
DEM = str(EXAMPLE / "dem.tif")


@pytest.fixture
def compared(registered, tmp_path):
    """The bundled inventory, and one with a third of it moved to where nothing slid."""
    moved = gpd.read_file(EXAMPLE / "landslides.gpkg")
    third = moved.index % 3 == 0
    moved.loc[third, moved.geometry.name] = moved.geometry[third].translate(90, 60)
    moved.to_file(tmp_path / "automatic.gpkg")
    for file in (EXAMPLE / "landslides.gpkg", tmp_path / "automatic.gpkg"):
        code, _, error = registered("inventory", "import", EVENT, str(file))
        assert code == 0, error
    return lambda *words: registered("susceptibility", "compare", EVENT, *words)


def test_one_command_gives_a_table_a_figure_and_a_map(compared, tmp_path):
    folder = tmp_path / "[bold]maps"
    words = ("1", "2", "--dem", DEM, "--model", "logistic", "-o", str(folder))
    code, shown, error = compared(*words)
    assert code == 0, error
    for said in (
        "[bold]maps",
        "presence points",
        "AUC spatial, manual samples",
        "AUC random",
        "Where the errors lie",
    ):
        assert said in shown
    assert (folder / "comparison.png").read_bytes().startswith(b"\x89PNG")
    assert cog_validate(folder / "susceptibility_difference.tif", quiet=True)[0]


def test_machines_get_every_number(compared, tmp_path):
    words = ("1", "2", "--dem", DEM, "--model", "logistic", "--json")
    code, shown, error = compared(*words)
    assert code == 0, error
    told = json.loads(shown)
    manual, automatic = told["sides"]["manual"], told["sides"]["automatic"]
    # one of the 30 lies outside the hull of the others' places, which stands for what was looked at
    assert manual["landslides"] == 29
    assert 0 < manual["alone"] < 29 and 0 < automatic["alone"] < 29
    assert manual["area_km2"] == pytest.approx(0.06, abs=0.005)
    assert set(told["auc"]["spatial"]["automatic"]) == {"manual", "automatic"}
    assert {one["kind"] for one in told["contrasts"]} == {"commission", "omission"}
    assert json.loads(compared(*words)[1]) == told


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("1", "9", "--dem", DEM), "no inventory version 9"),
        (("1", "1", "--dem", DEM), "name another"),
        (("1", "2", "--dem", "nowhere.tif"), "DEM nowhere.tif does not exist"),
        (("1", "2", "--dem", DEM, "--model", "oracle"), "no model 'oracle'"),
        (("1", "2", "--dem", DEM, "--sampling", "mine"), "no sampling scheme is called 'mine'"),
    ],
)
def test_what_cannot_be_compared_is_said_in_a_sentence(compared, words, said):
    code, _, error = compared(*words)
    assert code == 2
    assert said in error


def test_the_plain_form_needs_no_second_word(scarp):
    for words in (("susceptibility",), ("susceptibility", "assess")):
        code, _, error = scarp(*words)
        assert (code, "--points FILE.csv" in error) == (2, True)
