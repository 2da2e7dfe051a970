"""How each format holds the layers of an inventory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from zipfile import ZipFile

import geopandas as gpd
import pandas as pd
import pyogrio
import shapely

from tasks.inventory.archives import dated
from tasks.inventory.polygon_files import LANDSLIDES, OBSERVED
from tasks.inventory.qgis import project, styles, write_project

Layers = Mapping[str, gpd.GeoDataFrame]
Writer = Callable[[Path, Layers, str], None]

# A double keeps 15 digits through text: an outline's area then stays within 1 in 1e9.
WKT_DECIMALS = 12
SHAPEFILE_TEXT = 254
SHAPEFILE_NAME = 10
ABBREVIATIONS = {
    "acquired": "acq",
    "amalgamated": "amalgam",
    "confidence": "confid",
    "elevation": "elev",
    "perimeter": "perim",
    "relation": "rel",
    "review": "rev",
    "reviewed": "rev",
    "screen": "scr",
    "screened": "scr",
    "slope": "slp",
    "touches": "tch",
    "volume": "vol",
}


def write_geopackage(path: Path, layers: Layers, text: str) -> None:
    """All layers with their QGIS styles, the terms as metadata, and a project beside it."""
    terms = {"dataset_metadata": {"terms": text}} if text else {}
    for name, frame in layers.items():
        _write(frame, path, layer=name, append=name != LANDSLIDES, VERSION="1.3", **terms)
    pyogrio.write_dataframe(styles(list(layers)), path, layer="layer_styles", append=True)
    bounds = shapely.total_bounds(layers[OBSERVED].geometry.to_numpy())
    document = project(path.name, list(layers), (*map(float, bounds),))
    write_project(path.with_suffix(".qgz"), document)


def write_kml(path: Path, layers: Layers, text: str) -> None:
    """One folder a layer, and the terms beside it."""
    for name, frame in layers.items():
        _write(frame, path, layer=name, append=name != LANDSLIDES, driver="LIBKML")
    _write_text(path, text)


def write_geojson(path: Path, layers: Layers, text: str) -> None:
    """One file a layer, with the decimals that keep an area."""
    for place, name, frame in _each_its_file(path, layers):
        _write(frame, place, layer=name, RFC7946="YES", COORDINATE_PRECISION=str(WKT_DECIMALS))
    _write_text(path, text)


def write_flatgeobuf(path: Path, layers: Layers, text: str) -> None:
    """One file a layer."""
    for place, name, frame in _each_its_file(path, layers):
        _write(frame, place, layer=name)
    _write_text(path, text)


def write_geoparquet(path: Path, layers: Layers, text: str) -> None:
    """One file a layer."""
    for place, _, frame in _each_its_file(path, layers):
        frame.to_parquet(place, index=False)
    _write_text(path, text)


def write_csv(path: Path, layers: Layers, text: str) -> None:
    """One file a layer, outlines as WKT in longitude and latitude."""
    for place, _, frame in _each_its_file(path, layers):
        outlines = shapely.to_wkt(frame.geometry.to_numpy(), rounding_precision=WKT_DECIMALS)
        table = pd.DataFrame(frame.drop(columns="geometry")).assign(WKT=outlines)
        table.to_csv(place, index=False, lineterminator="\r\n")
    _write_text(path, text)


def write_shapefiles(path: Path, layers: Layers, text: str) -> None:
    """A zip of shapefiles, their columns cut to ten letters, and the terms."""
    folder = path.with_suffix("")
    folder.mkdir()
    for name, frame in layers.items():
        _write(
            _as_dbase(frame),
            folder / f"{name}.shp",
            encoding="UTF-8",
            DBF_DATE_LAST_UPDATE="2000-01-01",
        )
    _write_text(folder / LANDSLIDES, text)
    with ZipFile(path, "w") as archive:
        for part in sorted(folder.iterdir()):
            archive.writestr(dated(part.name), part.read_bytes())
            part.unlink()
    folder.rmdir()


WRITERS: Mapping[str, Writer] = {
    ".gpkg": write_geopackage,
    ".parquet": write_geoparquet,
    ".geojson": write_geojson,
    ".fgb": write_flatgeobuf,
    ".csv": write_csv,
    ".kml": write_kml,
    ".zip": write_shapefiles,
}


def _write(frame: gpd.GeoDataFrame, path: Path, **options: object) -> None:
    pyogrio.write_dataframe(
        frame, path, geometry_type="MultiPolygon", promote_to_multi=True, **options
    )


def _each_its_file(path: Path, layers: Layers) -> Iterable[tuple[Path, str, gpd.GeoDataFrame]]:
    for name, frame in layers.items():
        place = path if name == LANDSLIDES else path.with_name(f"{path.stem}_{name}{path.suffix}")
        yield place, name, frame


def _write_text(path: Path, text: str) -> None:
    if text:
        path.with_suffix(".txt").write_text(text, encoding="utf-8")


def _as_dbase(frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """What a .dbf can hold: short names, short texts, and times as text."""
    table = frame.copy()
    for name in table.select_dtypes("datetimetz"):
        table[name] = table[name].dt.strftime("%Y-%m-%dT%H:%M:%SZ").astype("string")
    for name in table.select_dtypes("string"):
        table[name] = table[name].map(_cut, na_action="ignore").astype("string")
    return table.rename(columns=short_names([name for name in table if name != "geometry"]))


def _cut(text: str) -> str:
    return text.encode()[:SHAPEFILE_TEXT].decode(errors="ignore")


def short_names(names: list[str]) -> dict[str, str]:
    """A name of at most ten letters for each, no two alike: `elevation_min_m` is `elev_min_m`."""
    short: dict[str, str] = {}
    for name in names:
        made = "_".join(ABBREVIATIONS.get(word, word) for word in name.split("_"))
        if len(made) > SHAPEFILE_NAME:
            made = made.replace("_", "")[:SHAPEFILE_NAME]
        number = 1
        while made.casefold() in {taken.casefold() for taken in short.values()}:
            number += 1
            made = f"{made[: SHAPEFILE_NAME - len(str(number))]}{number}"
        short[name] = made
    return short
