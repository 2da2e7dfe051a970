"""How large the landslides of an event are expected to be, at once and before any image."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tasks.errors import AreaError
from tasks.events.aoi import as_multipolygon, geodesic_disc
from tasks.events.impact_layers import ImpactLayers
from tasks.events.land import on_land
from tasks.events.shakemap import ShakeMap
from tasks.events.shaken import keefer_radius_km, keefer_upper_area_km2
from tasks.percent import percent
from tasks.types import AreaOfInterest, Event

ImpactModel = Literal["nowicki-jessee-2018", "newmark", "malamud-2004"]

_MEAN_LANDSLIDE_KM2 = 3.07e-3


@dataclass(frozen=True)
class Impact:
    """What one model expects of one event.

    Attributes:
        model: its name.
        expected_km2: area expected to slide; it ranks events.
        how: a sentence on what it rests on.
        largest: the largest value of the prior map, 0-1; None without a map.
        path: the prior map; None if none was asked for or the model makes none.
        parameters: what it was computed with.
    """

    model: ImpactModel
    expected_km2: float
    how: str
    largest: float | None = None
    path: Path | None = None
    parameters: dict[str, Any] = field(default_factory=dict)


def expected_impact(
    event: Event,
    aoi: AreaOfInterest,
    layers: ImpactLayers | None = None,
    shakemap: ShakeMap | None = None,
    dem: Path | None = None,
    prior: Path | None = None,
) -> Impact | None:
    """The landslides to expect, by the best model there is ground for.

    With a ShakeMap and its layers that is Nowicki Jessee et al. (2018); with a ShakeMap, a DEM and
    a strength Newmark displacements; with no more than a magnitude the number and size of past
    earthquakes' landslides, spread over the land that may have been shaken.

    Args:
        event: what happened.
        aoi: where to look.
        layers: what ground is known.
        shakemap: how it shook; None while there is none.
        dem: elevation in metres, instead of the one `layers` names.
        prior: where to write the prior map, float32 COG, 0-1, NaN where unknown; None for none.

    Returns:
        None where nothing can be expected: a rainfall, or an earthquake without magnitude.

    Raises:
        RasterError: a layer or the DEM cannot be used.
        StorageError: the prior map cannot be written.
    """
    by_shaking = (
        impact_of_shaking(shakemap, aoi, layers, dem, event.magnitude, prior) if shakemap else None
    )
    if by_shaking or event.kind != "earthquake" or event.magnitude is None:
        return by_shaking
    return impact_of_magnitude(event.magnitude, aoi, event)


def impact_of_shaking(
    shakemap: ShakeMap,
    aoi: AreaOfInterest,
    layers: ImpactLayers | None,
    dem: Path | None = None,
    magnitude: float | None = None,
    prior: Path | None = None,
) -> Impact | None:
    """As `expected_impact`, from a ShakeMap alone; None where no ground is known."""
    if layers is None:
        return None
    # Maps, and the terrain under them, take seconds to import.
    from tasks.events.impact_maps import map_newmark, map_nowicki_jessee

    usgs, strength = layers.nowicki_jessee, layers.newmark
    if usgs:
        expected = map_nowicki_jessee(shakemap, usgs, prior)
        return Impact(
            "nowicki-jessee-2018",
            expected.expected_km2,
            "coverage by Nowicki Jessee et al. (2018) where PGA is at least 0.1 g, from "
            f"{_named(shakemap)}",
            expected.largest,
            prior,
            usgs.model_dump(mode="json"),
        )
    ground = dem or (strength.dem if strength else None)
    if strength is None or ground is None:
        return None
    expected = map_newmark(shakemap, strength, ground, aoi.geometry, magnitude, prior)
    return Impact(
        "newmark",
        expected.expected_km2,
        f"Newmark displacements (Jibson 2007) on {ground.name} from {_named(shakemap)}",
        expected.largest,
        prior,
        strength.model_dump(mode="json") | {"dem": str(ground), "magnitude": magnitude},
    )


def impact_of_magnitude(
    magnitude: float, aoi: AreaOfInterest, event: Event | None = None
) -> Impact:
    """Malamud's total, as if spread evenly over the largest area it may lie in (Keefer 1984).

    Of an area that somebody gave for an event, only land within reach of its epicentre counts.
    """
    km2, ground = aoi.area_km2, "the area of interest"
    if event and aoi.how == "given":
        km2, ground = _reached_km2(event, magnitude, aoi), f"land of {ground} within its reach"
    share = min(1.0, km2 / keefer_upper_area_km2(magnitude))
    return Impact(
        "malamud-2004",
        malamud_area_km2(magnitude) * share,
        f"the landslides of a M {magnitude:g} (Malamud et al. 2004), {percent(share)} of which "
        f"would be on the {km2:,.0f} km² of {ground}",
        parameters={"magnitude": magnitude, "aoi_km2": km2},
    )


def _reached_km2(event: Event, magnitude: float, aoi: AreaOfInterest) -> float:
    disc = geodesic_disc(event.longitude, event.latitude, keefer_radius_km(magnitude) * 1000)
    part = as_multipolygon(aoi.geometry & disc)
    if part.is_empty:
        return 0.0
    try:
        return AreaOfInterest(on_land(part, "the area of interest"), "given").area_km2
    except AreaError:
        return 0.0


def malamud_area_km2(magnitude: float) -> float:
    """Total area of an earthquake's landslides in km² (Malamud et al. 2004).

    log10 N = 1.29 M - 5.65 landslides (± 0.52 of log10 N; "Landslides, earthquakes, and erosion",
    EPSL 229, 45-59) of 0.00307 km² in the mean ("Landslide inventories and their statistical
    properties", ESPL 29, 687-711).
    """
    return float(_MEAN_LANDSLIDE_KM2 * 10 ** (1.29 * magnitude - 5.65))


def _named(shakemap: ShakeMap) -> str:
    """What messages call a ShakeMap."""
    known = [part for part in (shakemap.network, shakemap.code) if part]
    return f"ShakeMap {':'.join(known) or shakemap.path.name}"
