"""From reviews to weights: the bundled example in a true PostGIS; promoted, or without effect."""

import json

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin
from shapely.geometry import box
from typer.testing import CliRunner

from console.cli import app
from flows.map_landslides import map_landslides
from flows.weights import current_weights, locate_weights, promote_weights
from models.cards import DEFAULT
from models.errors import ModelError
from models.samples import group_of
from models.weights import load
from tasks.inventory.review import Reviewer, add, confirm, reject
from tasks.inventory.store import read_landslides, read_review_states, scenes_of
from tasks.learning.reviews import review_blocks
from tests.conftest import EXAMPLE
from tests.flows.conftest import EVENT, rows

pytestmark = pytest.mark.usefixtures("prefect")
ANN = Reviewer("ann")
INVENTORIES = "SELECT id, version, status, digest FROM scarp.inventory ORDER BY version"


@pytest.fixture
def reviewed(registered, options):
    """An inventory of the example: two thirds confirmed, some rejected, one drawn, some left."""
    mapped = map_landslides(EVENT, options)
    with registered.engine.begin() as connection:
        at = connection, mapped.inventory.id
        numbers = list(read_landslides(*at)["number"])
        confirm(*at, numbers[: len(numbers) // 3], ANN)
        reject(*at, numbers[len(numbers) // 3 : len(numbers) // 2], ANN)
        reference = gpd.read_file(EXAMPLE / "landslides.gpkg").to_crs(4326)
        add(*at, [reference.geometry.iloc[0]], ANN, "landslide")
    return mapped


def command(out, *more):
    fast = ["--set", "steps=2", "--set", "epochs=1", "--set", "crop=32", "--block-px", "32"]
    return ["train", "--from-reviews", EVENT, "-o", str(out), *fast, *more]


def run(*words):
    return CliRunner().invoke(app, list(words), catch_exceptions=False)


def test_a_candidate_is_judged_beside_the_weights_in_use_and_used_only_once_promoted(
    registered, reviewed, options, tmp_path
):
    before = rows(registered, INVENTORIES)
    found = json.loads(run(*command(tmp_path / "run", "--json")).stdout)
    assert found["before_scores"]["n_tiles"] == found["candidate_scores"]["n_tiles"] > 0
    assert rows(registered, INVENTORIES) == before and current_weights() == DEFAULT
    _, card = load(found["weights"])
    _, shipped = load(DEFAULT)
    assert set(shipped.regions) < {*shipped.regions, EVENT} == set(card.regions)
    assert card.recipe["before"]["digest"] == shipped.digest
    told = json.loads(run("model", "promote", found["weights"], "--json").stdout)
    assert told == {"current": f"{card.name}-{card.digest[:8]}", "before": DEFAULT}
    assert load(locate_weights("current"))[1].digest == card.digest
    again = map_landslides(EVENT, options)
    assert card.digest[:8] in again.inventory.method
    assert [row[0] for row in before] == [row[0] for row in rows(registered, INVENTORIES)][:1]
    with pytest.raises(ModelError, match=f"did you mean '{told['current']}'"):
        locate_weights(told["current"][:-1])
    assert promote_weights(DEFAULT) == DEFAULT == current_weights()
    assert promote_weights(told["current"]) == current_weights() == told["current"]


def test_what_nobody_reviewed_teaches_nothing_and_what_was_rejected_is_no_landslide(
    registered, reviewed, tmp_path
):
    from tasks.imagery.mosaic import prepare_mosaic
    from tasks.types import AreaOfInterest

    with registered.engine.connect() as connection:
        scenes = scenes_of(connection, reviewed.inventory)
        states = read_review_states(connection, reviewed.inventory.id)
    assert {scene.id for scene in scenes} == set(reviewed.inventory.scene_ids)
    area = AreaOfInterest(reviewed.inventory.observed, "given")
    image = prepare_mosaic(scenes, area, tmp_path).path
    assert {"confirmed", "edited", "rejected", "unreviewed"} == set(states["review_state"])
    blocks = review_blocks(image, states, EVENT, 32)
    samples = [block.read() for block in blocks]
    true = states[states["review_state"].isin(("confirmed", "edited"))]
    pixels = sum(sample.mask.sum() for sample in samples)
    assert pixels * 100 == pytest.approx(true.to_crs(32632).area.sum(), rel=0.1)
    unseen = sum((~sample.valid).sum() for sample in samples)
    all_reviewed = states[states["review_state"] != "unreviewed"]
    assert unseen > sum(
        (~b.read().valid).sum() for b in review_blocks(image, all_reviewed, EVENT, 32)
    )
    splits = [block.split for block in blocks]
    assert "test" in splits and "train" in splits
    assert any(np.any(s.mask) for s, split in zip(samples, splits, strict=True) if split == "test")


def test_too_few_reviews_are_refused(registered, options, tmp_path):
    mapped = map_landslides(EVENT, options)
    with registered.engine.begin() as connection:
        found = read_landslides(connection, mapped.inventory.id)
        smallest = found.loc[found["area_m2"].idxmin(), "number"]
        reject(connection, mapped.inventory.id, [int(smallest)], ANN)
    with pytest.raises(
        ModelError, match="touch 1 blocks of 32 pixels, in 1 groups .* 4 are needed"
    ):
        run(*command(tmp_path / "run"))


def test_blocks_that_share_a_landslide_are_not_parted(tmp_path):
    scene = tmp_path / "scene.tif"
    grid = {"crs": "EPSG:32654", "transform": from_origin(500_000, 4_700_000, 3, 3)}
    size = {"count": 3, "width": 256, "height": 128, "dtype": "uint8"}
    with rasterio.open(scene, "w", "GTiff", **size, **grid, photometric="RGB") as image:
        image.write(np.random.default_rng(0).integers(1, 255, (3, 128, 256)).astype("uint8"))

    def at(column, row, width=10):
        west, north = 500_000 + 3 * column, 4_700_000 - 3 * row
        return box(west, north - 30, west + 3 * width, north)

    crossing = at(20, 10, width=30)
    drawn = [crossing, *(at(10 + 32 * n, 74) for n in range(4))]
    outlines = gpd.GeoDataFrame(
        {"review_state": ["confirmed"] * 5}, geometry=drawn, crs="EPSG:32654"
    )
    entries = review_blocks(scene, outlines, "storm", block_px=32)
    splits = {entry.name: entry.split for entry in entries}
    assert splits["storm/0-0"] == splits["storm/0-32"] == "train"
    assert sorted(splits.values()) == ["test"] + ["train"] * 5
    groups = {entry.name: group_of(entry) for entry in entries}
    assert groups["storm/0-0"] == groups["storm/0-32"] and len(set(groups.values())) == 5
