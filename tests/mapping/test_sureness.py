from dataclasses import replace

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from models.cards import DEFAULT, available, read_card
from tasks.mapping.sureness import UNSURE, sureness_doubts, sureness_of
from tasks.publish.products import SCORE_NODATA

CARD = replace(read_card(available()[DEFAULT]), sureness=0.5)


def written(path, score, seen):
    levels = np.where(seen, np.round(score * 254) + 1, SCORE_NODATA).astype(np.uint8)
    profile = {"width": score.shape[1], "height": score.shape[0], "count": 1, "dtype": "uint8"}
    tiles = {"tiled": True, "blockxsize": 64, "blockysize": 64}
    grid = {"crs": "EPSG:32633", "transform": from_origin(4e5, 5e6, 3, 3)}
    with rasterio.open(path, "w", "GTiff", **profile, **tiles, **grid) as file:
        file.write(levels, 1)
    return path


def test_a_score_on_disk_is_as_sure_as_its_pixels_where_somebody_looked(tmp_path):
    dice = np.random.default_rng(0)
    score, seen = dice.random((100, 150)) ** 4, dice.random((100, 150)) < 0.8
    known = np.round(score[seen] * 254) / 254
    found = sureness_of(written(tmp_path / "score.tif", score, seen))
    assert found == pytest.approx((known**2).sum() / known.sum())


@pytest.mark.parametrize(("best", "doubted"), [(0.6 * 0.5 + 0.05, False), (0.6 * 0.5 - 0.05, True)])
def test_weights_that_are_less_sure_than_where_they_were_judged_say_so(tmp_path, best, doubted):
    assert UNSURE == 0.6
    score = np.zeros((64, 64))
    score[:3] = best
    path = written(tmp_path / "score.tif", score, np.ones(score.shape, bool))
    doubts = sureness_doubts(path, CARD)
    assert len(doubts) == doubted
    for doubt in doubts:
        assert doubt.code == "weights-unsure"
        assert f"{best:.2f}" in doubt.text and "0.50" in doubt.text and DEFAULT in doubt.text
    assert sureness_doubts(path, replace(CARD, sureness=None)) == [], "an older card does not say"


def test_ground_of_which_nothing_was_seen_is_nothing_to_be_sure_of(tmp_path):
    path = written(tmp_path / "score.tif", np.ones((64, 64)), np.zeros((64, 64), bool))
    assert sureness_doubts(path, CARD)


def test_every_shipped_card_says_how_sure_its_weights_were_where_they_were_judged():
    for path in available().values():
        card = read_card(path)
        sources = card.scores.get("validation", {}).get("sources", {})
        each = [found["sureness"] for found in sources.values()]
        assert card.sureness
        assert not each or card.sureness == pytest.approx(np.mean(each))
