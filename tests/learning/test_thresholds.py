import numpy as np
import pytest

from models.errors import ModelError
from models.samples import Entry, Sample
from tasks.learning.thresholds import best_threshold


def tile(source, scores, mask, valid=None):
    """A tile whose only band is the score that a network would give it."""
    image = np.asarray([scores], np.float32)[None]
    seen = np.ones_like(image[0], bool) if valid is None else np.asarray([valid], bool)
    sample = Sample(source, image, np.asarray([mask], bool), seen, ("score",), source=source)
    return Entry(source, lambda: sample, source=source)


def score(sample):
    return sample.image[0]


def test_the_threshold_parts_what_can_be_parted():
    one = tile("one", [0.1, 0.2, 0.62, 0.9], [0, 0, 1, 1])
    chosen = best_threshold([one], score)
    assert 0.2 < chosen <= 0.62


def test_every_dataset_counts_alike_and_unseen_pixels_not_at_all():
    few = tile("few", [0.3, 0.6], [1, 0])
    many = tile("many", [0.3, 0.31, 0.8] * 50, [0, 0, 1] * 50)
    assert 0.31 < best_threshold([many], score) <= 0.8
    # F1 of `few` is 2/3 from 0.3 down and 0 above, of `many` 1/2 and 1.
    assert best_threshold([few, many], score) <= 0.3
    blind = tile("few", [0.3, 0.6], [1, 0], [0, 0])
    assert 0.31 < best_threshold([blind, many], score) <= 0.8


def test_without_a_landslide_nothing_can_be_chosen():
    with pytest.raises(ModelError, match="holds a landslide"):
        best_threshold([tile("none", [0.1, 0.9], [0, 0])], score)


def test_it_is_where_pooled_f1_peaks():
    dice = np.random.default_rng(0)
    mask = dice.random(5000) < 0.2
    scores = np.clip(0.35 * mask + dice.normal(0.3, 0.15, 5000), 0, 1).astype(np.float32)
    chosen = best_threshold([tile("one", scores, mask)], score)

    def f1(threshold):
        mapped = scores >= threshold
        return 2 * (mapped & mask).sum() / (mapped.sum() + mask.sum())

    assert f1(chosen) == pytest.approx(max(f1(t) for t in np.arange(0.01, 1, 0.01)), abs=1e-3)
