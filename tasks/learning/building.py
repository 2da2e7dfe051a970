"""A dataset from scenes and the landslides drawn in them: chips, masks, splits and a card."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from shutil import rmtree
from typing import Any, Literal

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning
from rasterio.transform import array_bounds

from models.datasets import chips as read_chips
from models.errors import ModelError
from models.pictures import gsd_of, opened, read_image
from models.samples import Sample, Split
from tasks.errors import StorageError
from tasks.learning.catalog import SPLITS
from tasks.learning.leaks import check_apart
from tasks.learning.patches import Sizing, assign, chip_sizes, hardest
from tasks.learning.scenes import LANDSLIDES, LOOKED_AT, drawn, images_of, outlines, polygons_of
from tasks.percent import percent
from tasks.publish.chip_figures import Place, chips_figure

Kind = Literal["auto", "event", "block"]
_LEAST_EVENTS = 3
# A side: smaller blocks would be chips, and those of two splits neighbours everywhere.
_BLOCK_M = 2000.0
_LEAST_CHIPS = 2


@dataclass(frozen=True)
class Wishes:
    """How to build.

    Attributes:
        chip_px: side of a chip; None for the largest that LMHLD's rule suggests.
        least_share: share of landslide pixels below which a chip is no sample of them (LMHLD).
        negatives: chips without any landslide for each chip with; 0 for none.
        split: by event, by blocks of ground, or by event where there are three.
        block_m: side of a block, at least two chips; None for 2 km, or more where chips need it.
        seed: of the draws.
    """

    chip_px: int | None = None
    least_share: float = 0.1
    negatives: float = 0.25
    split: Kind = "auto"
    block_m: float | None = None
    seed: int = 0


@dataclass(frozen=True)
class Chip:
    """A chip that is kept, and what it belongs to."""

    image: Path
    row: int
    column: int
    share: float
    bareness: float
    group: str
    split: Split = "train"


def build_dataset(
    folder: Path,
    out: Path,
    wishes: Wishes,
    each: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Cut scenes into chips and masks, and write them with a card into a new folder.

    Chips do not overlap. LMHLD's filters (section 2.3) leave out those with few landslide pixels
    and those that reach over the edge of what was seen; of chips without a landslide as many stay
    as `wishes` say, the barest above all (GDCLD). Splits keep events or blocks of ground whole.

    Args:
        folder: of GeoTIFFs and polygons, as `tasks.learning.scenes.scenes` reads them.
        out: folder to make: `<split>/<event>/images` and `masks`, card.json, card.md, map.png.
        wishes: how.
        each: told how many scenes of how many are done.

    Returns:
        The card.

    Raises:
        ModelError: the scenes cannot be used, no chip is left, there are too few events or blocks
            to split, a block is smaller than two chips a side, or chips of two splits show the same
            ground.
        StorageError: `out` is not empty, or cannot be written.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise StorageError(f"{out} is not empty; give a new folder")
    images = images_of(folder)
    sizing = chip_sizes([area for image in images for area in _areas_px(image)])
    size = wishes.chip_px or sizing.candidates_px[-1]
    kind = wishes.split
    if kind == "auto":
        kind = "event" if len(images) >= _LEAST_EVENTS else "block"
    if kind == "block":
        wishes = replace(wishes, block_m=_block_m(images, size, wishes.block_m))
    found: list[Chip] = []
    looked_at = 0
    for done, image in enumerate(images, start=1):
        chips = _look(image, size, wishes, kind)
        looked_at += len(chips)
        found += chips
        each(done, len(images))
    kept = _split(_choose(found, wishes), wishes.seed)
    card = _card(folder, kept, sizing, size, kind, wishes, looked_at)
    out = out.resolve()  # or '.' has no name
    aside = out.with_name(f".{out.name}.part")
    rmtree(aside, ignore_errors=True)
    try:
        for chip in kept:
            _write(chip, size, aside)
        check_apart(read_chips(aside))
        _describe(aside, card, kept, size)
        if out.exists():
            out.rmdir()
        aside.replace(out)
    except OSError as error:
        raise StorageError(f"{out} cannot be written: {error}") from error
    finally:
        rmtree(aside, ignore_errors=True)
    return card


def _areas_px(image: Path) -> list[float]:
    """Area in pixels of each landslide drawn inside an image."""
    shapes = outlines(polygons_of(image), image, LANDSLIDES) or []
    with opened(image) as dataset:
        transform, (rows, columns) = dataset.transform, dataset.shape
    places = ((~transform @ (shape.centroid.x, shape.centroid.y), shape) for shape in shapes)
    return [
        shape.area / abs(transform.determinant)
        for (column, row), shape in places
        if 0 <= column < columns and 0 <= row < rows
    ]


def _block_m(images: Sequence[Path], size: int, wished_m: float | None) -> float:
    """Side of the blocks of all scenes, large enough that chips are not split one by one."""
    least_m, coarsest = 0.0, images[0]
    for image in images:
        with opened(image) as dataset:
            least_m, coarsest = max(
                (least_m, coarsest), (_LEAST_CHIPS * size * (gsd_of(dataset) or 1.0), image)
            )
    if wished_m is not None and wished_m < least_m:
        raise ModelError(
            f"{coarsest}: --block-m {wished_m:g} is less than {_LEAST_CHIPS} chips of {size} "
            f"pixels, so that neighbours would be split at random; give {ceil(least_m)} or more, "
            "or smaller chips with --chip-px"
        )
    return wished_m or max(_BLOCK_M, ceil(least_m))


def _look(image: Path, size: int, wishes: Wishes, kind: Kind) -> list[Chip]:
    """All whole chips of a scene that somebody looked at, with what decides if they are kept."""
    polygons = polygons_of(image)
    landslides, looked = drawn(polygons, image, LANDSLIDES), drawn(polygons, image, LOOKED_AT)
    if landslides is None:
        raise ModelError(f"{polygons}: holds no layer of landslides")
    with opened(image) as dataset:
        transform, crs = dataset.transform, dataset.crs
        pixel = abs(transform.determinant) ** 0.5
        side = (wishes.block_m or _BLOCK_M) * pixel / (gsd_of(dataset) or 1.0)
    rows, columns = landslides.shape
    chips = []
    for row in range(0, rows - size + 1, size):
        for column in range(0, columns - size + 1, size):
            place = slice(row, row + size), slice(column, column + size)
            picture = read_image(image, place=place)
            if not picture.valid.all() or (looked is not None and not looked[place].all()):
                continue
            # Blocks are counted from the CRS's origin: the same ground in two scenes is one block.
            x, y = transform @ (column + size / 2, row + size / 2)
            block = f"{crs.to_string()}/{int(x // side)}/{int(y // side)}"
            group = image.stem if kind == "event" else block
            # What it refuses is said with the scene's name, not that of a chip that is never kept.
            sample = Sample(
                f"{image}[{row}:, {column}:]", picture.pixels, landslides[place], picture.valid,
                picture.bands,
            )  # fmt: skip
            share = float(sample.mask.mean())
            bare = _bareness(sample.image, sample.bands)
            chips.append(Chip(image, row, column, share, bare, group))
    return chips


def _bareness(pixels: NDArray[Any], bands: Sequence[str]) -> float:
    """How bare the barest tenth of a chip is: red against near infrared, else against green."""
    if "red" not in bands or not {"nir", "green"} & set(bands):
        return float(np.quantile(pixels.mean(axis=0, dtype=np.float64), 0.9))
    red, other = (
        pixels[bands.index(name)].astype(np.float64)
        for name in ("red", "nir" if "nir" in bands else "green")
    )
    return float(np.quantile((red - other) / np.maximum(red + other, 1e-6), 0.9))


def _choose(chips: Sequence[Chip], wishes: Wishes) -> list[Chip]:
    positive = [chip for chip in chips if chip.share > 0 and chip.share >= wishes.least_share]
    if not positive:
        raise ModelError(
            f"of {len(chips)} chips that were seen whole none is {percent(wishes.least_share)} "
            "landslide; lower --least-share or --chip-px"
        )
    empty = [chip for chip in chips if chip.share == 0]
    wanted = min(len(empty), round(wishes.negatives * len(positive)))
    bare = np.array([chip.bareness for chip in empty])
    dice = np.random.default_rng(wishes.seed)
    numbers = hardest(bare, wanted, dice) if wanted else []
    return [*positive, *(empty[number] for number in numbers)]


def _split(chips: Sequence[Chip], seed: int) -> list[Chip]:
    splits = assign([chip.group for chip in chips], seed)
    return [replace(chip, split=splits[chip.group]) for chip in chips]


def _write(chip: Chip, size: int, out: Path) -> None:
    """A chip and its mask as GeoTIFFs of one stem."""
    place = slice(chip.row, chip.row + size), slice(chip.column, chip.column + size)
    picture = read_image(chip.image, place=place)
    landslides = drawn(polygons_of(chip.image), chip.image, LANDSLIDES)
    with opened(chip.image) as dataset:
        transform = dataset.window_transform(rasterio.windows.Window.from_slices(*place))
        crs = dataset.crs
    mask = np.zeros((size, size), np.uint8) if landslides is None else landslides[place]
    for kind, pixels, names in (
        ("images", picture.pixels, picture.bands),
        ("masks", mask.astype(np.uint8)[None], ("landslide",)),
    ):
        path = out / chip.split / chip.image.stem / kind / f"{chip.row}-{chip.column}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(
                path, "w", driver="GTiff", width=size, height=size, count=len(pixels),
                dtype=pixels.dtype, crs=crs, transform=transform, compress="deflate",
                photometric="minisblack",
            ) as file:  # fmt: skip
                file.write(pixels)
                for number, name in enumerate(names, start=1):
                    file.set_band_description(number, name)


def _card(
    folder: Path, chips: Sequence[Chip], sizing: Sizing, size: int, kind: Kind, wishes: Wishes,
    looked_at: int,
) -> dict[str, Any]:  # fmt: skip
    def counts(some: Sequence[Chip]) -> dict[str, Any]:
        return {
            "chips": len(some),
            "with_landslides": sum(chip.share > 0 for chip in some),
            "landslide_share": float(np.mean([chip.share for chip in some])) if some else None,
            "groups": len({chip.group for chip in some}),
        }

    return {
        "made_from": [image.name for image in images_of(folder)],
        "chip_px": size,
        "candidates_px": list(sizing.candidates_px),
        "landslide_quartiles_px": [round(value, 1) for value in sizing.quartiles_px],
        "least_share": wishes.least_share,
        "negatives_for_each_positive": wishes.negatives,
        "split_by": kind,
        "block_m": wishes.block_m if kind == "block" else None,
        "seed": wishes.seed,
        "chips_seen_whole": looked_at,
        **counts(chips),
        "splits": {name: counts([c for c in chips if c.split == name]) for name in SPLITS},
        "events": dict(Counter(chip.image.stem for chip in chips)),
    }


def _describe(folder: Path, card: dict[str, Any], chips: Sequence[Chip], size: int) -> None:
    text = json.dumps(card, indent=1, ensure_ascii=False) + "\n"
    (folder / "card.json").write_text(text, encoding="utf-8")
    (folder / "card.md").write_text(_as_markdown(card), encoding="utf-8")
    chips_figure(folder / "map.png", [_place(chip, size) for chip in chips])


def _place(chip: Chip, size: int) -> Place:
    with opened(chip.image) as dataset:
        window = rasterio.windows.Window(chip.column, chip.row, size, size)
        west, south, east, north = array_bounds(size, size, dataset.window_transform(window))
    return Place(chip.image.stem, chip.split, chip.share > 0, (west, south, east, north))


def _as_markdown(card: dict[str, Any]) -> str:
    lines = [
        "# Chips",
        "",
        f"{card['chips']} chips of {card['chip_px']}², {card['with_landslides']} with landslides, "
        f"from {', '.join(card['made_from'])}; split by {card['split_by']}.",
        "",
        f"Quartiles of landslide area: {', '.join(map(str, card['landslide_quartiles_px']))} "
        f"pixels, which suggests chips of {', '.join(map(str, card['candidates_px']))}.",
        "",
        "| split | chips | with landslides | landslide pixels | groups |",
        "|---|---|---|---|---|",
    ]
    for name, row in card["splits"].items():
        share = "–" if row["landslide_share"] is None else percent(row["landslide_share"])
        lines.append(
            f"| {name} | {row['chips']} | {row['with_landslides']} | {share} | {row['groups']} |"
        )
    return "\n".join([*lines, "", "![Where the chips lie](map.png)", ""])
