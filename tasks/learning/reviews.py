"""What reviewers said of an inventory, as tiles to learn from and to judge on."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import rasterize
from scipy import ndimage
from scipy.cluster.hierarchy import DisjointSet

from models.errors import ModelError
from models.pictures import opened, read_image
from models.samples import Entry, Sample, Split, tiles_of
from tasks.learning.scenes import scene_statistics

TRUE_STATES = ("confirmed", "edited")
_TEST_EVERY = 4

Place = tuple[slice, slice]


def review_blocks(
    image: Path, outlines: gpd.GeoDataFrame, event: str, block_px: int = 128
) -> list[Entry]:
    """Blocks of a scene in which somebody reviewed an outline, a part of them held out to test.

    What was confirmed or drawn is landslide, what was rejected is not, and neither is the ground
    between, since whoever judged an outline looked at what lies beside it. Outlines that nobody
    has reviewed count nowhere. Blocks that share an outline stay together, so that nothing is
    tested on the other half of what was learnt; every fourth such group is held out, in the order
    of how much landslide they show, so that both parts hold some.

    Args:
        image: the scene, with a CRS.
        outlines: with `review_state`, EPSG:4326.
        event: whose inventory it is.
        block_px: side of a block.

    Raises:
        ModelError: too few groups of blocks hold a reviewed outline, or none holds a landslide.
    """
    with opened(image) as dataset:
        shape, transform = dataset.shape, Affine(*dataset.transform[:6])
        drawn = outlines.to_crs(dataset.crs.to_wkt())
    state = drawn["review_state"]
    truth = _burnt(drawn[state.isin(TRUE_STATES)], shape, transform)
    unknown = _burnt(drawn[state == "unreviewed"], shape, transform) & ~truth
    judged = _burnt(drawn[state != "unreviewed"], shape, transform)
    places = [place for place in tiles_of(shape, block_px) if judged[place].any()]
    places = [place for place in places if read_image(image, place=place).valid.any()]
    groups = _together(places, judged)
    groups.sort(key=lambda group: -sum(int(truth[place].sum()) for place in group))
    if len(groups) < _TEST_EVERY:
        raise ModelError(
            f"{event}: the reviews touch {len(places)} blocks of {block_px} pixels, in "
            f"{len(groups)} groups that share no outline; {_TEST_EVERY} are needed to learn and to "
            "test: review more, or take smaller blocks: --block-px"
        )
    if not truth.any():
        raise ModelError(f"{event}: every reviewed outline was rejected; confirm or draw some")
    entries = []
    for number, group in enumerate(groups):
        split: Split = "test" if number % _TEST_EVERY == 1 else "train"
        for place in group:
            read = partial(_read, image, place, truth[place], unknown[place], event, split)
            name = f"{event}/{place[0].start}-{place[1].start}"
            entries.append(Entry(name, read, event, "reviews", split, f"{event}/{number}"))
    return entries


def _together(places: Sequence[Place], judged: NDArray[np.bool_]) -> list[list[Place]]:
    """Places in groups that no outline joins."""
    bodies, _ = ndimage.label(judged, np.ones((3, 3)))
    groups: DisjointSet[int] = DisjointSet(range(len(places)))
    first: dict[int, int] = {}
    for number, place in enumerate(places):
        for body in np.unique(bodies[place][judged[place]]):
            groups.merge(first.setdefault(body, number), number)
    return [[places[number] for number in sorted(group)] for group in groups.subsets()]


def _burnt(drawn: gpd.GeoDataFrame, shape: tuple[int, int], transform: Affine) -> NDArray[np.bool_]:
    if drawn.empty:
        return np.zeros(shape, bool)
    return np.asarray(rasterize(drawn.geometry, shape, transform=transform, dtype="uint8") > 0)


def _read(
    image: Path, place: Place, truth: NDArray[Any], unknown: NDArray[Any],
    event: str, split: Split,
) -> Sample:  # fmt: skip
    picture = read_image(image, place=place)
    valid = picture.valid & ~unknown
    return Sample(
        f"{image}[{place[0].start}:, {place[1].start}:]", picture.pixels, truth & valid, valid,
        picture.bands, picture.gsd_m, event, "reviews", split, picture.footprint,
        partial(scene_statistics, image),
    )  # fmt: skip
