import numpy as np

from models.normalisation import Statistics
from models.samples import RGB, Entry, Sample
from tasks.learning.composing import composed_scenes


def tile(number, gsd_m=0.8, side=200, source="small", scene=None):
    """Green ground with a red landslide in the middle."""
    dice = np.random.default_rng(number)
    image = dice.integers(60, 90, (3, side, side)).astype(np.uint8)
    mask = np.zeros((side, side), bool)
    mask[side // 3 : side // 2, side // 3 : side // 2] = True
    image[0, mask] += 100
    sample = Sample(
        f"{source} {number}", image, mask, np.ones_like(mask), RGB, gsd_m, source=source,
        split="validation", scene=scene,
    )  # fmt: skip
    return Entry(sample.name, lambda: sample, source=source, split="validation")


def test_scenes_are_made_of_the_tiles_of_one_dataset_at_pixels_of_about_3_m():
    tiles = [tile(n) for n in range(4)]
    scenes = [entry.read() for entry in composed_scenes(tiles, RGB, 6)]
    assert {(s.source, s.gsd_m, s.image.shape) for s in scenes} == {
        ("small, composed", 3.2, (3, 384, 384))
    }
    covered = [s.mask.mean() for s in scenes]
    assert 0 < max(covered) < 0.6 and all(s.valid.all() for s in scenes)
    redder = [(s.image[0] - s.image[1])[s.mask].mean() for s in scenes if s.mask.any()]
    assert min(redder) > 0.1
    again = composed_scenes(tiles, RGB, 6)
    assert all(np.array_equal(a.image, b.read().image) for a, b in zip(scenes, again, strict=True))
    other = composed_scenes(tiles, RGB, 6, seed=1)[0].read()
    assert not np.array_equal(other.image, scenes[0].image)


def test_tiles_of_scenes_of_unknown_size_or_as_large_as_a_scene_make_none():
    statistics = Statistics.of(np.ones((3, 4), np.uint8))
    tiles = [
        tile(0, source="cut", scene=lambda bands, gsd_m: statistics),
        tile(1, gsd_m=None, source="unknown"),
        tile(2, gsd_m=10.0, source="large"),
        tile(3),
    ]
    assert {s.source for s in composed_scenes(tiles, RGB, 2)} == {"small, composed"}
    assert composed_scenes(tiles, RGB, 0) == []


def test_pixels_too_fine_to_be_brought_to_3_m_say_their_true_size():
    assert {s.read().gsd_m for s in composed_scenes([tile(0, gsd_m=0.1)], RGB, 1)} == {0.8}
