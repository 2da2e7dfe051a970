from __future__ import annotations

from dataclasses import replace
from itertools import product

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from rio_cogeo import cog_validate
from shapely.geometry import box

from tasks.errors import SamplingError
from tasks.susceptibility import compare
from tasks.susceptibility.compare import SIDES, cross_auc, same_landslides
from tasks.susceptibility.degrade import Degradation, degrade
from tasks.susceptibility.difference import difference_map
from tasks.susceptibility.folds import taken
from tasks.susceptibility.learners import fit_model
from tasks.susceptibility.sampling import ABSENCE, Samples, draw_samples


def squares(*corners: tuple[float, float], side: float = 100) -> gpd.GeoDataFrame:
    outlines = [box(x, y, x + side, y + side) for x, y in np.array(corners) + (350_000, 3_832_000)]
    return gpd.GeoDataFrame(geometry=outlines, crs=32643).to_crs(4326)


def test_landslides_that_touch_have_one_number_even_through_a_third():
    manual = squares((0, 0), (150, 0), (1000, 0))
    automatic = squares((90, 0), (2000, 0))
    labels = same_landslides(manual, automatic)
    assert labels["manual"][0] == labels["manual"][1] == labels["automatic"][0]
    assert len({*labels["manual"], *labels["automatic"]}) == 3


def test_an_inventory_beside_itself_changes_nothing(kaghan, samples):
    labels = same_landslides(kaghan.landslides, kaghan.landslides)
    told = cross_auc(dict.fromkeys(SIDES, samples), labels, model="logistic")
    assert told.change_spatial.value == told.change_on_manual.value == 0
    own = told.spatial["manual"]["manual"]
    for one, other in product(SIDES, SIDES):
        assert told.spatial[one][other].value == own.value
    assert 0.6 < own.low < own.value < own.high < 0.9


def gathered(samples: Samples, east: float, north: float) -> Samples:
    """The samples with the eight landslides nearest to a place, 0-1 each way, and all absences."""
    away = np.hypot(
        samples.easting - samples.easting.min() - east * np.ptp(samples.easting),
        samples.northing - samples.northing.min() - north * np.ptp(samples.northing),
    )
    nearest = dict.fromkeys(samples.landslide[np.argsort(away)].tolist())
    kept = [number for number in nearest if number != ABSENCE][:8]
    return taken(samples, np.flatnonzero(np.isin(samples.landslide, [*kept, ABSENCE])))


def test_districts_without_which_an_inventory_teaches_nothing_are_left_out_and_counted(
    kaghan, samples
):
    """A model that learns from no landslide is no model, and 0.5 is not its AUC."""
    labels = same_landslides(kaghan.landslides, kaghan.landslides)
    drawn = {"manual": samples, "automatic": gathered(samples, 0.5, 0.5)}
    told = cross_auc(drawn, labels, model="woe")
    assert told.left_out == 2
    assert told.spatial["automatic"]["automatic"].value > 0.6


def test_an_inventory_all_in_one_district_cannot_be_compared(kaghan, samples):
    labels = same_landslides(kaghan.landslides, kaghan.landslides)
    drawn = {"manual": samples, "automatic": gathered(samples, 0.8, 0.75)}
    with pytest.raises(SamplingError, match="one of the inventories lie in one district"):
        cross_auc(drawn, labels, model="woe")


def test_what_was_learned_of_a_landslide_is_not_asked_of_its_likeness():
    """A factor that is a landslide's name would give its twin in the other inventory away."""
    random = np.random.default_rng(3)
    count, cells = 120, 8
    name = np.repeat(random.random(count), cells)
    where = np.repeat(random.uniform(0, 20_000, (count, 2)), cells, axis=0)
    absent = random.uniform(0, 20_000, (count * cells, 2))
    y = np.arange(2 * count * cells) < count * cells
    drawn = Samples(
        names=("name",),
        x=np.concatenate([name, random.random(count * cells)])[:, None].astype(np.float32),
        y=y,
        easting=np.concatenate([where[:, 0], absent[:, 0]]),
        northing=np.concatenate([where[:, 1], absent[:, 1]]),
        landslide=np.where(y, np.arange(len(y)) // cells, ABSENCE),
    )
    other = random.random(count * cells)[:, None].astype(np.float32)
    # drawn otherwise, its centre lies elsewhere, perhaps in another district
    moved = np.where(y, drawn.easting + 6_000, drawn.easting)
    twin = replace(drawn, x=np.concatenate([drawn.x[y], other]), easting=moved)
    own = np.arange(count)
    labels = {"manual": own, "automatic": own}
    told = cross_auc({"manual": drawn, "automatic": twin}, labels, repeats=1)
    for auc in (told.spatial["manual"]["automatic"], told.spatial["automatic"]["manual"]):
        assert auc.value < 0.62


def test_false_outlines_in_low_ground_make_a_model_rank_true_landslides_worse(
    kaghan, ground, samples
):
    how = Degradation(false_share=0.4, channel_share=0)
    worse = degrade(kaghan.landslides, kaghan.aoi, ground, how)
    drawn = {"manual": samples, "automatic": draw_samples(worse, kaghan.aoi, kaghan.stack)}
    told = cross_auc(drawn, same_landslides(kaghan.landslides, worse), model="logistic")
    assert told.change_on_manual.high < 0
    on_manual = {of: told.spatial[of]["manual"].value for of in SIDES}
    assert told.change_on_manual.value == pytest.approx(
        on_manual["automatic"] / on_manual["manual"] - 1
    )


def test_the_map_of_differences_is_one_model_less_the_other(kaghan, samples, tmp_path):
    forest, line = (fit_model(name, samples, 1) for name in ("rf", "logistic"))
    path = difference_map(forest, line, kaghan.stack, tmp_path / "d.tif", {"SCARP_EVENT": "k"})
    assert cog_validate(path, quiet=True)[0]
    with rasterio.open(path) as written:
        assert written.tags()["SCARP_EVENT"] == "k"
        more = written.read(1)
        assert written.crs == rasterio.CRS.from_user_input(str(kaghan.stack.geobox.crs))
    rows, cols = np.nonzero(kaghan.stack.known())
    chosen = slice(None, None, 997)
    x = kaghan.stack.at(rows[chosen], cols[chosen])
    np.testing.assert_allclose(
        more[rows[chosen], cols[chosen]], forest.predict(x) - line.predict(x), atol=1e-6
    )
    assert np.isnan(more[~kaghan.stack.known()]).all()


def test_equal_seeds_compare_equally_and_a_distance_is_kept_in_space_alone(
    kaghan, samples, monkeypatch
):
    labels = same_landslides(kaghan.landslides, kaghan.landslides)
    both = dict.fromkeys(SIDES, samples)
    how = {"model": "logistic", "seed": 4, "repeats": 1}
    first, again = (cross_auc(both, labels, **how) for _ in range(2))
    assert first == again
    monkeypatch.setattr(compare, "BUFFER_M", 500.0)
    farther = cross_auc(both, labels, **how)
    assert farther.spatial != first.spatial and farther.random == first.random
