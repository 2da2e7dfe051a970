from __future__ import annotations

import numpy as np
import pytest
import rasterio
from sklearn.metrics import roc_auc_score

from tasks.susceptibility.before import Earlier, score_earlier
from tasks.susceptibility.predict import predict_map
from tasks.susceptibility.sampling import ABSENCE


class Steepness:
    def __init__(self, at):
        self.at = at

    def predict(self, x):
        return x[:, self.at] / 90


@pytest.fixture(scope="module")
def steepness(kaghan, tmp_path_factory):
    path = tmp_path_factory.mktemp("before") / "prior.tif"
    at = kaghan.stack.names.index("slope")
    return predict_map(Steepness(at), kaghan.stack, path, {}).path


def scored(samples, kaghan, *paths):
    earlier = [Earlier(f"prior {number}", "d1", path) for number, path in enumerate(paths)]
    return score_earlier(samples, str(kaghan.stack.geobox.crs), earlier, 0)


def test_an_earlier_map_is_scored_on_the_inventorys_samples(samples, kaghan, steepness):
    prior, mechanics = scored(samples, kaghan, steepness)
    slope = samples.x[:, samples.names.index("slope")]
    assert prior.auc.value == pytest.approx(roc_auc_score(samples.y, slope), abs=0.01)
    assert prior.auc.low < prior.auc.value < prior.auc.high
    assert prior.samples == len(samples.y) and not prior.problem
    assert mechanics.what == "infinite slope"


def test_a_map_in_degrees_is_scored_where_it_lies(samples, kaghan, steepness, tmp_path):
    turned = tmp_path / "degrees.tif"
    with (
        rasterio.open(steepness) as source,
        rasterio.vrt.WarpedVRT(source, crs="EPSG:4326") as view,
    ):
        rasterio.shutil.copy(view, turned, driver="GTiff")
    here, there, _ = scored(samples, kaghan, steepness, turned)
    assert there.auc.value == pytest.approx(here.auc.value, abs=0.03)


def test_a_map_that_is_gone_or_knows_nothing_here_says_so(samples, kaghan, steepness, tmp_path):
    empty = tmp_path / "empty.tif"
    with rasterio.open(steepness) as source:
        profile = source.profile
    with rasterio.open(empty, "w", **(profile | {"driver": "GTiff"})) as dataset:
        dataset.write(np.zeros((1, dataset.height, dataset.width), np.uint8))
    gone, nothing, _ = scored(samples, kaghan, tmp_path / "gone.tif", empty)
    assert gone.auc is None and "can no longer be read" in gone.problem
    assert nothing.auc is None and nothing.samples == 0 and "does not know" in nothing.problem


def test_landslides_count_once_however_many_cells_they_have(samples, kaghan, steepness):
    (prior, _) = scored(samples, kaghan, steepness)
    assert samples.landslide[samples.y].min() > ABSENCE
    assert prior.auc.high - prior.auc.low > 0.01
