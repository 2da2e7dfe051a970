"""What QGIS reads beside the layers: their styles, and a project that opens them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from xml.etree import ElementTree as xml
from zipfile import ZipFile

import pandas as pd
import rasterio
from pyproj import CRS

from tasks.inventory.archives import dated

TITLES = {
    "landslides": "Landslides",
    "observed_area": "Nobody looked here (hatched)",
    "aoi": "Area of interest",
    "screened": "Set aside by a screen",
}
PROJECT = "Landslides"
WGS84 = CRS.from_epsg(4326)
# QGIS asks for the time of a style; the same inventory gives the same file at any time.
SOME_TIME = pd.Timestamp("2000-01-01", tz="UTC")


def styles(layers: Sequence[str]) -> pd.DataFrame:
    """Rows of the table `layer_styles`, in which QGIS looks for a GeoPackage's own styles."""
    rows = [
        {
            "f_table_catalog": "",
            "f_table_schema": "",
            "f_table_name": layer,
            "f_geometry_column": "geom",
            "styleName": layer,
            "styleQML": _style(layer),
            "styleSLD": "",
            "useAsDefault": True,
            "description": TITLES[layer],
            "owner": "",
            "update_time": SOME_TIME,
        }
        for layer in layers
    ]
    return pd.DataFrame(rows)


def project(geopackage: str, layers: Sequence[str], bounds: tuple[float, ...]) -> bytes:
    """A QGIS project (.qgs) of a GeoPackage in the same folder.

    Args:
        geopackage: its file name.
        layers: its layers, the first on top.
        bounds: what to show at first: west, south, east, north in degrees.
    """
    root = xml.Element("qgis", version="3.22.0", projectname=PROJECT)
    xml.SubElement(root, "title").text = PROJECT
    _crs(xml.SubElement(root, "projectCrs"), WGS84)
    reference = xml.SubElement(xml.SubElement(root, "properties"), "SpatialRefSys")
    xml.SubElement(reference, "ProjectionsEnabled", type="int").text = "1"
    tree = xml.SubElement(root, "layer-tree-group")
    canvas = xml.SubElement(root, "mapcanvas", name="theMapCanvas")
    xml.SubElement(canvas, "units").text = "degrees"
    extent = xml.SubElement(canvas, "extent")
    for name, value in zip(("xmin", "ymin", "xmax", "ymax"), bounds, strict=True):
        xml.SubElement(extent, name).text = repr(value)
    described = xml.SubElement(root, "projectlayers")
    for layer in layers:
        source = f"./{geopackage}|layername={layer}"
        node = {"id": _id(layer), "name": TITLES[layer], "source": source, "providerKey": "ogr"}
        xml.SubElement(tree, "layer-tree-layer", node | {"checked": "Qt::Checked"})
        described.append(_map_layer(layer, source))
    return bytes(xml.tostring(root, encoding="utf-8", xml_declaration=True))


def write_project(path: Path, document: bytes) -> None:
    """A project as QGIS keeps it, zipped (.qgz)."""
    with ZipFile(path, "w") as archive:
        archive.writestr(dated(f"{path.stem}.qgs"), document)


def lay_under(path: Path, rasters: Mapping[str, str]) -> None:
    """Add rasters to a project, under all it has; the first is shown, the others can be.

    Args:
        path: the project (.qgz), replaced.
        rasters: titles of GeoTIFFs in its folder, by their file names, the topmost first.
    """
    with ZipFile(path) as archive:
        root = xml.fromstring(archive.read(f"{path.stem}.qgs"))
    tree, described = root.find("layer-tree-group"), root.find("projectlayers")
    assert tree is not None and described is not None
    for number, (file, title) in enumerate(rasters.items()):
        with rasterio.open(path.with_name(file)) as raster:
            crs = CRS.from_user_input(raster.crs)
        source, key = f"./{file}", _id(Path(file).stem)
        node = {"id": key, "name": title, "source": source, "providerKey": "gdal"}
        checked = "Qt::Unchecked" if number else "Qt::Checked"
        xml.SubElement(tree, "layer-tree-layer", node | {"checked": checked})
        layer = xml.SubElement(described, "maplayer", type="raster")
        _describe(layer, key, source, title, crs)
        xml.SubElement(layer, "provider").text = "gdal"
    write_project(path, xml.tostring(root, encoding="utf-8", xml_declaration=True))


def _map_layer(layer: str, source: str) -> xml.Element:
    node = xml.Element("maplayer", type="vector", geometry="Polygon")
    _describe(node, _id(layer), source, TITLES[layer], WGS84)
    xml.SubElement(node, "provider", encoding="UTF-8").text = "ogr"
    renderer = xml.fromstring(_style(layer)).find("renderer-v2")
    assert renderer is not None
    node.append(renderer)
    return node


def _describe(node: xml.Element, key: str, source: str, title: str, crs: CRS) -> None:
    xml.SubElement(node, "id").text = key
    xml.SubElement(node, "datasource").text = source
    xml.SubElement(node, "layername").text = title
    _crs(xml.SubElement(node, "srs"), crs)


def _id(layer: str) -> str:
    """QGIS replaces an id of ten letters or fewer by one of its own."""
    return f"scarp_layer_{layer}"


def _crs(parent: xml.Element, crs: CRS) -> None:
    reference = xml.SubElement(parent, "spatialrefsys")
    xml.SubElement(reference, "wkt").text = crs.to_wkt()
    if authority := crs.to_authority():
        xml.SubElement(reference, "authid").text = ":".join(authority)


def _style(layer: str) -> str:
    return (files("tasks.inventory") / "styles" / f"{layer}.qml").read_text(encoding="utf-8")
