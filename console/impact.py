"""`scarp impact`: what a ShakeMap makes one expect, with no event and no database."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from console.output import AsJson, print_json, print_line, screen, table

if TYPE_CHECKING:
    from tasks.events.impact import Impact
    from tasks.types import AreaOfInterest


def impact(
    shakemap: Annotated[Path, typer.Argument(help="grid.xml or raster.zip of a ShakeMap.")],
    layers: Annotated[
        Path | None,
        typer.Option(envvar="SCARP_IMPACT", help="TOML that names the layers: docs/events.md."),
    ] = None,
    dem: Annotated[Path | None, typer.Option(help="Elevation, for Newmark displacements.")] = None,
    pga: Annotated[float, typer.Option(min=0, help="Least PGA of the area, in g.")] = 0.1,
    mmi: Annotated[float | None, typer.Option(help="Least intensity of it, instead.")] = None,
    buffer_m: Annotated[float, typer.Option(min=0, help="Metres to add round the area.")] = 0.0,
    land: Annotated[Path | None, typer.Option(help="Polygons of land of your own.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for prior.tif and aoi.geojson.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Where a ShakeMap asks to look, and the landslides to expect there.

    Example: scarp impact grid.xml --layers layers.toml -o expected
    """
    from shapely.geometry import mapping

    from tasks.events.impact import impact_of_magnitude, impact_of_shaking
    from tasks.events.impact_layers import read_layers
    from tasks.events.shakemap import read_shakemap
    from tasks.events.shaken import shakemap_aoi
    from tasks.publish.products import write_text

    shaking = read_shakemap(shakemap)
    aoi = shakemap_aoi(shaking, pga_g=pga, mmi=mmi, buffer_m=buffer_m, land=land)
    configured = read_layers(layers) if layers else None
    prior = out / "prior.tif" if out else None
    expected = impact_of_shaking(shaking, aoi, configured, dem, shaking.magnitude, prior)
    if expected is None and shaking.magnitude is not None:
        expected = impact_of_magnitude(shaking.magnitude, aoi)
    if out:
        write_text(out / "aoi.geojson", json.dumps(mapping(aoi.geometry)))
    about = ("network", "code", "version", "place", "magnitude", "processed_at")
    if as_json:
        told = {name: getattr(shaking, name) for name in about}
        print_json({"shakemap": told, "aoi_km2": aoi.area_km2, "how": aoi.how, "impact": expected})
        return
    screen.print(table(shaking.place or shakemap.name, [_row(aoi, expected)]))
    why = expected.how if expected else "nothing without layers, as the file names no magnitude"
    said = (f"area of interest: {aoi.how}", f"expected: {why}", f"written to {out}")
    for line in said if out else said[:2]:
        print_line(line)


def _row(aoi: AreaOfInterest, expected: Impact | None) -> dict[str, str | None]:
    """What the table shows."""
    return {
        "area_km2": f"{aoi.area_km2:,.1f}",
        "expected_landslides_km2": f"{expected.expected_km2:.3g}" if expected else None,
        "largest_share": f"{expected.largest:.3g}" if expected and expected.largest else None,
        "model": expected.model if expected else None,
    }
