"""What QGIS reads beside the layers: their styles, and a project that opens them."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from xml.etree import ElementTree as xml

import pandas as pd
from pyproj import CRS

TITLES = {
    "landslides": "Landslides",
    "observed_area": "Nobody looked here (hatched)",
    "aoi": "Area of interest",
    "screened": "Set aside by a screen",
}
PROJECT = "Landslides"
WGS84 = "EPSG:4326"
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
    _crs(xml.SubElement(root, "projectCrs"))
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


def _map_layer(layer: str, source: str) -> xml.Element:
    node = xml.Element("maplayer", type="vector", geometry="Polygon")
    xml.SubElement(node, "id").text = _id(layer)
    xml.SubElement(node, "datasource").text = source
    xml.SubElement(node, "layername").text = TITLES[layer]
    _crs(xml.SubElement(node, "srs"))
    xml.SubElement(node, "provider", encoding="UTF-8").text = "ogr"
    renderer = xml.fromstring(_style(layer)).find("renderer-v2")
    assert renderer is not None
    node.append(renderer)
    return node


def _id(layer: str) -> str:
    """QGIS replaces an id of ten letters or fewer by one of its own."""
    return f"scarp_layer_{layer}"


def _crs(parent: xml.Element) -> None:
    reference = xml.SubElement(parent, "spatialrefsys")
    xml.SubElement(reference, "wkt").text = CRS.from_user_input(WGS84).to_wkt()
    xml.SubElement(reference, "authid").text = WGS84


def _style(layer: str) -> str:
    return (files("tasks.inventory") / "styles" / f"{layer}.qml").read_text(encoding="utf-8")
