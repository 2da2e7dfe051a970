"""The column names that others expect: a table for each, from theirs to what we know."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

import geopandas as gpd

from tasks.errors import InventoryError
from tasks.inventory.citation import About

Profile = Literal["scarp", "usgs", "inspire"]
Column = Callable[[gpd.GeoDataFrame, About], Any]

LANDSLIDE_HAZARD = "http://inspire.ec.europa.eu/codelist/NaturalHazardCategoryValue/landslide"


def _same(name: str) -> Column:
    return lambda landslides, _: landslides[name]


def _identity(landslides: gpd.GeoDataFrame, about: About) -> Any:
    return f"{about.event.id}-" + landslides["number"].astype(str)


def _usgs_confidence(landslides: gpd.GeoDataFrame, _: About) -> Any:
    """Confidence 8 where a person confirmed or drew the outline, 3 where a network alone did."""
    seen = landslides["review_state"].isin(["confirmed", "edited"])
    return seen.map({True: 8, False: 3})


# Attributes of the compilation of US inventories (Mirus et al. 2020, Landslides 17).
_USGS: Mapping[str, Column] = {
    "LS_ID": _identity,
    "Inventory": lambda _, about: about.citation,
    "Info_Source": lambda _, about: about.inventory.attribution or "Scarp",
    "Date_Min": lambda _, about: about.event.occurred_at,
    "Date_Max": lambda landslides, _: landslides["acquired_at"],
    "Confidence": _usgs_confidence,
    "LS_Part": _same("kind"),
    "Area_m2": _same("area_m2"),
    "Volume_m3": _same("volume_m3"),
    "Notes": lambda _, about: about.inventory.licence,
}

# ObservedEvent of the theme Natural Risk Zones (D2.8.III.12), nested names joined by `_`.
_INSPIRE: Mapping[str, Column] = {
    "inspireId_localId": _identity,
    "inspireId_namespace": lambda _, about: f"scarp.{about.event.id}",
    "inspireId_versionId": lambda _, about: str(about.inventory.version),
    "nameOfEvent": lambda _, about: about.event.title,
    "typeOfHazard_hazardCategory": lambda *_: LANDSLIDE_HAZARD,
    "typeOfHazard_specificHazardType": _same("kind"),
    "validFrom": lambda _, about: about.event.occurred_at,
    "validTo": _same("acquired_at"),
    "beginLifeSpanVersion": lambda _, about: about.inventory.created_at,
    "magnitudeOrIntensity_quantitativeValue": _same("area_m2"),
    "magnitudeOrIntensity_assessmentMethod": lambda _, about: about.inventory.method,
}
PROFILES: Mapping[str, Mapping[str, Column]] = {"usgs": _USGS, "inspire": _INSPIRE}


def in_profile(
    landslides: gpd.GeoDataFrame, profile: Profile, about: About | None
) -> gpd.GeoDataFrame:
    """Landslides with the columns of a profile; `scarp` leaves them as they are.

    Raises:
        InventoryError: the profile is not known, or needs an event and there is none.
    """
    if profile == "scarp":
        return landslides
    if profile not in PROFILES:
        raise InventoryError(f"profile {profile} is not one of {', '.join(get_args(Profile))}")
    if about is None:
        raise InventoryError(f"profile {profile} needs the event that the landslides belong to")
    made = landslides[["geometry"]].copy()
    for name, column in PROFILES[profile].items():
        made[name] = column(landslides, about)
    return made
