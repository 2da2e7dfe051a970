"""Published landslide datasets in the layout they come in, each a thin reader over one record.

Every reader takes the folder of a dataset as unpacked and returns its tiles unread, in a fixed
order. Files are opened when a tile is read. What no file says, such as pixel sizes and the events a
paper tests on, is taken from the papers.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from models.errors import ModelError
from models.pictures import by_stem, picture_statistics, read_image, read_pair, size_in_file
from models.samples import RGB, Entry, Sample, Split, as_mask, moved, tiles_of

# Where training data lie, as west, south, east, north in degrees; drawn generously round the
# districts that Ghorbanzadeh et al. 2022 name, since the tiles themselves carry no position.
REGIONS = {
    "Iburi, Hokkaido, Japan": (141.6, 42.4, 142.4, 43.0),
    "Kodagu, India": (75.3, 11.9, 76.2, 12.9),
    "Rasuwa, Nepal": (85.0, 27.9, 85.9, 28.5),
    "Taitung, Taiwan": (120.6, 22.1, 121.7, 23.6),
}
PLANET_BANDS = ("blue", "green", "red", "nir")
L4S_BANDS = (
    "coastal", "blue", "green", "red", "rededge071", "rededge075", "rededge078", "nir", "nir09",
    "cirrus", "swir16", "swir22", "slope", "elevation",
)  # fmt: skip
# Neighbours in an archive are often neighbours on the ground, so that many in a row go together.
RUN = 20

_IMAGES = ("image", "images", "img", "imgs")
_MASKS = ("mask", "masks", "label", "labels")
_SPLITS: dict[str, Split] = {
    "train": "train", "training": "train", "val": "validation", "valid": "validation",
    "validation": "validation", "test": "test", "testing": "test",
}  # fmt: skip
# LDM-Net's section 2.5 and GDCLD's section 5 test on these, and train on the others.
_GVLM_TESTS = ("kaikoura", "kodagu", "taitung")
_GDCLD_TESTS = ("lushan", "mesetas", "mestas", "sumatra", "sumarta", "palu")
_ULMD_TESTS = ("jiuzhaigou",)
# Metres by sensor (GDCLD, Table 3) and by study area (LMHLD, Table 1).
_GDCLD_GSD = {"uav": 0.2, "planet": 3.0, "gf6": 2.0, "gf-6": 2.0, "gaofen": 2.0}
_LMHLD_GSD = {"rio": 5.0, "hokkaido": 3.0, "emilia": 10.0, "gorkha": 10.0, "jiuzhai": 1.0,
              "wenchuan": 0.8, "taiwan": 3.0}  # fmt: skip
# Of the counties of Bijie in which landslides were mapped, by the letters that tiles begin with.
_BIJIE_SPLITS: dict[str, Split] = {"wn": "validation", "hz": "test"}


@dataclass(frozen=True)
class Tiles:
    """Square tiles of one sensor, all of one size.

    Attributes:
        pixels: uint8 (n, h, w, bands).
        masks: bool (n, h, w), True on a landslide.
        bands: common names, in order.
        gsd_m: ground size of a pixel.
    """

    pixels: NDArray[np.uint8]
    masks: NDArray[np.bool_]
    bands: tuple[str, ...]
    gsd_m: float

    def __len__(self) -> int:
        return len(self.pixels)

    def take(self, which: NDArray[np.bool_]) -> Tiles:
        """The tiles where `which` (n,) is True."""
        return Tiles(self.pixels[which], self.masks[which], self.bands, self.gsd_m)


def landslide4sense(folder: Path, split: Split) -> Tiles:
    """Landslide4Sense as 8-bit Sentinel-2 RGB at 10 m (Ghorbanzadeh et al. 2022).

    Args:
        folder: holds `train.npz` and `validation.npz`: `x` uint8 (n, 128, 128, 3), `y` the masks
            with eight pixels to a byte (n, 128, 16).
        split: which of the two.

    Raises:
        ModelError: the file is missing, unreadable or of another layout.
    """
    path = folder / f"{split}.npz"
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            pixels, packed = archive["x"], archive["y"]
    # A single array, as .npy files hold, is none that can be closed: TypeError.
    except (OSError, EOFError, KeyError, TypeError, ValueError, BadZipFile) as error:
        raise ModelError(f"{path}: not a Landslide4Sense archive with x and y ({error})") from error
    if packed.dtype != np.uint8 or packed.ndim != 3:
        raise ModelError(
            f"{path}: y is {packed.dtype} {packed.shape}, not uint8 (n, rows, columns / 8) with "
            "eight pixels to a byte (numpy.packbits)"
        )
    masks = np.unpackbits(packed, axis=2).astype(bool)
    if pixels.dtype != np.uint8 or pixels.shape != (*masks.shape, 3):
        raise ModelError(f"{path}: x {pixels.dtype} {pixels.shape} does not fit y {masks.shape}")
    return Tiles(pixels, masks, RGB, 10.0)


def hold_out(tiles: Tiles, every: int = 10, block: int = RUN) -> tuple[Tiles, Tiles]:
    """Split into (to learn from, to choose on): each `every`-th run of `block` tiles is held out.

    Runs rather than single tiles, because neighbours in the archive are often neighbours on the
    ground.
    """
    held = np.arange(len(tiles)) // block % every == every - 1
    return tiles.take(~held), tiles.take(held)


def l4s_rgb(folder: Path) -> list[Entry]:
    """The tiles of `landslide4sense`, one by one; runs of 20 are a group."""
    splits: tuple[Split, ...] = ("train", "validation")
    return [entry for split in splits for entry in _l4s_entries(folder, split)]


def _l4s_entries(folder: Path, split: Split) -> list[Entry]:
    tiles = landslide4sense(folder, split)

    def read(number: int) -> Sample:
        mask = tiles.masks[number]
        return Sample(
            f"{folder / split}.npz[{number}]", tiles.pixels[number].transpose(2, 0, 1), mask,
            np.ones_like(mask), tiles.bands, tiles.gsd_m, source="l4s_rgb", split=split,
        )  # fmt: skip

    return [
        Entry(f"{split}/{i}", partial(read, i), "", "l4s_rgb", split, f"{split}/{i // RUN}")
        for i in range(len(tiles))
    ]


def landslide4sense_h5(folder: Path) -> list[Entry]:
    """Landslide4Sense as published: `TrainData/img/image_1.h5` with `TrainData/mask/mask_1.h5`.

    Arrays are `img` (128, 128, 14), Sentinel-2 B1-B12, slope and elevation, and `mask` (128, 128).
    The same of ValidData and TestData, where there is a folder of masks: the competition kept them.
    """
    folders: dict[str, Split] = {"TrainData": "train", "ValidData": "validation",
                                 "TestData": "test"}  # fmt: skip
    entries = []
    for name, split in folders.items():
        masks = folder / name / "mask"
        truths = {path.name.lower(): path for path in listed(masks)}
        for image in _numbered(folder / name / "img", ".h5") if masks.is_dir() else ():
            number = int(re.sub(r"\D", "", image.stem) or 0)
            called = image.name.lower().replace("image", "mask")
            if called not in truths:
                raise ModelError(f"{image}: has no mask {masks / called}; fetch the dataset again")
            mask = truths[called]
            read = partial(_read_h5, image, mask, split)
            group = f"{name}/{number // RUN}"
            entries.append(Entry(f"{name}/{image.stem}", read, "", "landslide4sense", split, group))
    return _some(entries, folder, "TrainData/img/image_1.h5 with TrainData/mask/mask_1.h5")


def _read_h5(image: Path, mask: Path, split: Split) -> Sample:
    pixels, truth = _h5(image, "img"), _h5(mask, "mask")
    if pixels.ndim != 3 or pixels.shape[2] != len(L4S_BANDS):
        raise ModelError(f"{image}: img is {pixels.shape}, not (rows, columns, {len(L4S_BANDS)})")
    if truth.ndim != 2:
        raise ModelError(f"{mask}: mask is {truth.shape}, not (rows, columns)")
    known = {"source": "landslide4sense", "split": split}
    return _sample(image, mask, pixels, truth, L4S_BANDS, 10.0, **known)


def _h5(path: Path, name: str) -> NDArray[Any]:
    # Imported where it is used: it is slow to, and few need it.
    from netCDF4 import Dataset

    if not path.is_file():
        raise ModelError(f"{path}: no such file")
    try:
        with Dataset(str(path)) as file:
            return np.asarray(file.variables[name][:])
    except (OSError, RuntimeError, KeyError) as error:
        raise ModelError(f"{path}: is no HDF5 file with {name!r} ({error})") from error


def hr_gldd(folder: Path) -> list[Entry]:
    """HR-GLDD (Meena et al. 2023): `trainX.npy` (n, 128, 128, 4), `trainY.npy` (n, 128, 128, 1).

    PlanetScope at 3 m, blue, green, red, near infrared; the same as val and test.
    """
    names: dict[str, Split] = {"train": "train", "val": "validation", "test": "test"}
    entries = []
    for name, split in names.items():
        image, mask = _file(folder, f"{name}X.npy"), _file(folder, f"{name}Y.npy")
        if not image.exists() and not mask.exists():
            continue
        pixels, truth = _npy(image), _npy(mask)
        if pixels.ndim != 4 or pixels.shape[3] != 4 or truth.shape != (*pixels.shape[:3], 1):
            raise ModelError(
                f"{image} {pixels.shape} and {mask} {truth.shape} are not (n, rows, columns, 4) "
                "and (n, rows, columns, 1)"
            )
        entries += [
            Entry(f"{name}/{i}", partial(_read_npy, image, mask, i, split), "", "hr-gldd", split)
            for i in range(len(pixels))
        ]
    return _some(entries, folder, "trainX.npy")


def _read_npy(image: Path, mask: Path, number: int, split: Split) -> Sample:
    names = f"{image}[{number}]", f"{mask}[{number}]"
    pixels, truth = np.array(_npy(image)[number]), np.array(_npy(mask)[number, ..., 0])
    return _sample(*names, pixels, truth, PLANET_BANDS, 3.0, source="hr-gldd", split=split)


@lru_cache(maxsize=16)
def _npy(path: Path) -> NDArray[Any]:
    wrong = f"{path}: is missing, truncated or no array of numbers; fetch the dataset again"
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        raise ModelError(wrong) from error
    # An archive of arrays may be called .npy too.
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "buif":
        raise ModelError(wrong)
    return array


def gvlm(folder: Path) -> list[Entry]:
    """GVLM (Zhang et al. 2023): a folder a site with `im1.png`, `im2.png` (after), `ref.png`.

    Google Earth at 0.59 m, cut into 512² with 10 % overlap, normalised by the site. Kaikoura,
    Kodagu and Taitung are for testing (LDM-Net, section 2.5), every fifth of the other sites for
    validation.
    """
    sites = [path for path in _folders(folder) if _file(path, "im2.png").exists()]
    learnt = [site for site in sites if not _named(site.name, _GVLM_TESTS)]
    entries = []
    for site in sites:
        split: Split = "validation" if site in learnt[4::5] else "train"
        split = split if site in learnt else "test"
        image, mask = _file(site, "im2.png"), _file(site, "ref.png")
        scene = partial(picture_statistics, image, RGB, None)
        for place in tiles_of(size_in_file(image), 512, 0.1):
            read = partial(
                read_pair, image, mask, RGB, 0.59, place,
                event=site.name, source="gvlm", split=split, scene=scene,
            )  # fmt: skip
            name = f"{site.name}/{place[0].start}-{place[1].start}"
            # Cuts overlap, so that a site is the least that can be drawn apart.
            where = (site.name, *place)
            entries.append(Entry(name, read, site.name, "gvlm", split, site.name, where))
    return _some(entries, folder, "<site>/im2.png with ref.png")


def ulmd(folder: Path) -> list[Entry]:
    """ULMD (LDM-Net): UAV tiles at 0.2 m with masks; Luding to learn from, Jiuzhaigou to test."""
    return _paired(folder, "ulmd", gsd_m=0.2, tests=_ULMD_TESTS)


def gdcld(folder: Path) -> list[Entry]:
    """GDCLD (Fang et al. 2024): 1024² TIFFs with masks; four events are kept for testing.

    The sensor is told from the names, for a pixel size of 0.2 m (UAV), 3 m (PlanetScope) or 2 m
    (Gaofen-6); unknown otherwise, as Map World has several.
    """
    return _paired(folder, "gdcld", gsd_m=partial(_by_word, _GDCLD_GSD), tests=_GDCLD_TESTS)


def _by_word(sizes: Mapping[str, float], path: Path) -> float | None:
    """The pixel size that belongs to a word on the way to a tile, or in its name."""
    text = path.as_posix().lower()
    return next((size for word, size in sizes.items() if word in text), None)


def cas(folder: Path) -> list[Entry]:
    """CAS (Xu et al. 2024): a folder a region and sensor with `img` and `mask` (512², 0 and 1).

    Tiles overlap by half, and sensors named in brackets, as in `Longxi River (UAV)`, see the same
    ground, so that only whole regions are kept apart: in the order of their names, every fifth is
    for testing and the one before it for validation.
    """
    entries = _paired(folder, "cas", gsd_m=_cas_gsd)
    of = {entry.event: re.sub(r"\s*[(（].*?[)）]", "", entry.event) for entry in entries}
    turns: dict[int, Split] = {3: "validation", 4: "test"}
    ordered = sorted(set(of.values()), key=str.casefold)
    split = {region: turns.get(i % 5, "train") for i, region in enumerate(ordered)}
    regions = [of[entry.event] for entry in entries]
    return [
        replace(moved(entry, event=region, split=split[region]), group=region)
        for entry, region in zip(entries, regions, strict=True)
    ]


def _cas_gsd(path: Path) -> float | None:
    """Pixel size as the folder is named, such as `Jiuzhai valley (UAV-0.2m)`."""
    found = re.search(r"([\d.]+) ?m[)）]", path.as_posix())
    return float(found[1]) if found else None


def lmhld(folder: Path) -> list[Entry]:
    """LMHLD (Liu et al. 2025): patches of 32-224² in four bands, a folder a study area.

    Blue, green, red, near infrared; split as the folders are, in which patches do not overlap. The
    area's name tells the pixel size (Table 1).
    """
    entries = _paired(folder, "lmhld", gsd_m=partial(_by_word, _LMHLD_GSD), bands=PLANET_BANDS)
    return [entry if entry.event else moved(entry, event=folder.name) for entry in entries]


def chips(folder: Path) -> list[Entry]:
    """What `scarp dataset build` writes: `<split>/<event>/images` and `masks`, bands described."""
    return _paired(folder, "chips", gsd_m=None, bands=())


def bijie(folder: Path) -> list[Entry]:
    """Bijie (Ji et al. 2020), TripleSat at 0.8 m, by county; tiles without landslide to learn from.

    As published (`landslide/image`, `landslide/mask`, `non-landslide/image`, the county being the
    letters a name begins with) or as `images`, `masks` and `tiles.csv` with columns id, county.
    """
    counties = _counties(folder / "tiles.csv") if (folder / "tiles.csv").exists() else None
    if counties is not None:
        pictures, masks = by_stem(folder / "images"), by_stem(folder / "masks")
    else:
        pictures, masks = (
            by_stem(folder / "landslide" / "image"),
            by_stem(folder / "landslide" / "mask"),
        )
        stable = folder / "non-landslide" / "image"
        pictures |= {
            f"bare/{k}": path for k, path in (by_stem(stable) if stable.is_dir() else {}).items()
        }
    place = folder / ("landslide/mask" if counties is None else "masks")
    entries = []
    for stem, image in pictures.items():
        bare = stem.startswith("bare/") if counties is None else not counties.get(stem)
        if stem not in masks and not bare:
            raise ModelError(f"{image}: has no mask {stem} in {place}; fetch the dataset again")
        county = _county(image, counties) if stem in masks else ""
        split = _BIJIE_SPLITS.get(county, "train")
        read = partial(
            read_pair, image, masks.get(stem), RGB, 0.8, event=county, source="bijie", split=split
        )
        entries.append(Entry(stem, read, county, "bijie", split))
    return entries


def _county(image: Path, counties: dict[str, str] | None) -> str:
    """Where a landslide of Bijie lies, by the table or else by its name.

    Raises:
        ModelError: neither says; it might be one of those to test on.
    """
    if counties is not None:
        found, where = counties.get(image.stem, ""), "tiles.csv gives it none; add it there"
    else:
        letters = re.match("[a-z]+", image.stem.lower())
        found, where = letters[0] if letters else "", "its name begins with none, as hz001 does"
    if not found:
        raise ModelError(f"{image}: its county is unknown, by which tiles are split: {where}")
    return found


def _counties(path: Path) -> dict[str, str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file)
            columns, rows = table.fieldnames or (), list(table)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ModelError(f"{path}: is no table in UTF-8 ({error}); save it as such") from error
    if not {"id", "county"} <= set(columns):
        raise ModelError(f"{path}: has no columns id and county; it has {', '.join(columns)}")
    return {row["id"]: (row["county"] or "").strip().lower() for row in rows}


def uav_ortho(folder: Path) -> list[Entry]:
    """One orthomosaic, `ortho_jpeg.tif`, and `mask.tif`, in cuts of about 512².

    North to south: a fifth to test, one to choose on, and three to learn from. Black is
    nobody looked; cuts that show nothing else are left out. Nobody says how many centimetres a
    pixel measures. Cuts are normalised by the whole.
    """
    image, mask = folder / "ortho_jpeg.tif", folder / "mask.tif"
    rows, columns = size_in_file(image)
    if size_in_file(mask) != (rows, columns):
        raise ModelError(f"{image} and its mask {mask} must be of the same size")
    entries = []
    for place in tiles_of((rows, columns), 512):
        if not _lit(read_image(image, RGB, place).pixels).any():
            continue
        share = place[0].stop / rows
        split: Split = "test" if share <= 0.2 else "validation" if share <= 0.4 else "train"
        name = f"{place[0].start}-{place[1].start}"
        read = partial(_read_uav, image, mask, place, split)
        entries.append(Entry(name, read, "", "uav_ortho", split))
    return entries


def _read_uav(image: Path, mask: Path, place: tuple[slice, slice], split: Split) -> Sample:
    scene = partial(picture_statistics, image, RGB, _lit)
    sample = read_pair(image, mask, RGB, None, place, source="uav_ortho", split=split, scene=scene)
    valid = sample.valid & _lit(sample.image)
    return replace(sample, valid=valid, mask=sample.mask & valid)


def _lit(pixels: NDArray[Any]) -> NDArray[np.bool_]:
    """Where a picture is not black; JPEG makes black a little grey."""
    return np.asarray(pixels.max(axis=0) > 4)


READERS: dict[str, Callable[[Path], list[Entry]]] = {
    "hr-gldd": hr_gldd,
    "gvlm": gvlm,
    "ulmd": ulmd,
    "gdcld": gdcld,
    "cas": cas,
    "bijie": bijie,
    "lmhld": lmhld,
    "landslide4sense": landslide4sense_h5,
    "l4s_rgb": l4s_rgb,
    "uav_ortho": uav_ortho,
    "chips": chips,
}


def _paired(
    folder: Path,
    source: str,
    gsd_m: float | None | Callable[[Path], float | None],
    bands: tuple[str, ...] = RGB,
    tests: tuple[str, ...] = (),
) -> list[Entry]:
    """Images in folders beside their masks, anywhere under `folder`, as `_pairs` finds them.

    A folder called train, val or test on the way, or `train_dataset` and so on as archives are
    named, gives the split, and what else is on the way the event; an event of `tests`, told by that
    or by the file's name, is for testing.
    """
    entries = []
    for images, masks, way in _pairs(folder):
        truths = by_stem(masks)
        splits = [found for part in way if (found := _split_of(part))]
        split: Split = splits[0] if splits else "train"
        event = "/".join(part for part in way if not _split_of(part))
        for stem, image in by_stem(images).items():
            if stem not in truths:
                raise ModelError(f"{image}: has no mask of that stem in {masks}")
            tested: Split = "test" if _named(f"{event}/{stem}", tests) else split
            read = partial(
                read_pair, image, truths[stem], bands,
                gsd_m(image.relative_to(folder.parent)) if callable(gsd_m) else gsd_m,
                event=event, source=source, split=tested,
            )  # fmt: skip
            entries.append(Entry("/".join((*way, stem)), read, event, source, tested))
    return _some(entries, folder, "image folders beside mask folders")


def _pairs(folder: Path) -> Iterator[tuple[Path, Path, tuple[str, ...]]]:
    """Folders of images, each with that of its masks, and the names on the way to both.

    One called image or the like lies beside one called mask or the like, or `test_data` beside
    `test_label`; both may hold a folder an event.
    """
    for images in listed(folder, "**/*"):
        name = images.name.lower()
        if name not in _IMAGES and not name.endswith("_data"):
            continue
        words = _MASKS if name in _IMAGES else (name.replace("_data", "_label"),)
        beside = {path.name.lower(): path for path in _folders(images.parent)}
        masks = next((beside[word] for word in words if word in beside), None)
        if masks:
            way = images.parent.relative_to(folder).parts
            way += (images.name,) if _split_of(name) else ()
            both = ((one, masks / one.name, (*way, one.name)) for one in _folders(images))
            yield from [pair for pair in both if pair[1].is_dir()] or [(images, masks, way)]


def _split_of(folder: str) -> Split | None:
    """The split that a folder's name says; None if it is no split's."""
    return _SPLITS.get(re.sub("_data(set)?$", "", folder.lower()))


def _sample(
    name: str | Path, truth_name: str | Path, pixels: NDArray[Any], truth: NDArray[Any],
    bands: tuple[str, ...], gsd_m: float, **known: Any,
) -> Sample:  # fmt: skip
    """A sample of pixels (h, w, bands) and stored mask values (h, w), each with where it lies."""
    mask = as_mask(truth, truth_name)
    return Sample(
        str(name), pixels.transpose(2, 0, 1), mask, np.ones_like(mask), bands, gsd_m, **known
    )


def _named(text: str, words: tuple[str, ...]) -> bool:
    return any(word in text.lower() for word in words)


def listed(folder: Path, pattern: str = "*") -> list[Path]:
    """What is in a folder, sorted; none of what a Mac puts into an archive, or hides.

    That is `__MACOSX`, `._*` and `.DS_Store`, which are called like images and are none.
    """
    return sorted(
        path
        for path in folder.glob(pattern)
        if not any(p.startswith((".", "__MACOSX")) for p in path.relative_to(folder).parts)
    )


def _file(folder: Path, name: str) -> Path:
    """The file of a folder that is called so, in capitals or not; so written where none is."""
    return next((p for p in listed(folder) if p.name.lower() == name.lower()), folder / name)


def _folders(folder: Path) -> list[Path]:
    return [path for path in listed(folder) if path.is_dir()]


def _numbered(folder: Path, suffix: str) -> list[Path]:
    """Files by the number in their name."""
    found = (path for path in listed(folder) if path.suffix.lower() == suffix)
    return sorted(found, key=lambda p: int(re.sub(r"\D", "", p.stem) or 0))


def _some(entries: list[Entry], folder: Path, layout: str) -> list[Entry]:
    if not entries:
        raise ModelError(f"{folder}: holds no tiles in the published layout ({layout})")
    return entries
