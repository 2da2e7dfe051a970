"""Whose landslides a file holds, in words: how to cite them, on what terms, what is not known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import geopandas as gpd

from tasks.types import Event

if TYPE_CHECKING:
    from tasks.inventory.store import StoredInventory


@dataclass(frozen=True)
class About:
    """Whose landslides a file holds: the event and the version of its inventory."""

    event: Event
    inventory: StoredInventory

    @property
    def citation(self) -> str:
        """How to cite the version, in one line."""
        stored = self.inventory
        author = stored.attribution or "Scarp"
        return (
            f"{author} ({stored.created_at:%Y}): landslides of {self.event.title} "
            f"({self.event.id}, {self.event.occurred_at:%Y-%m-%d}), inventory version "
            f"{stored.version}, {stored.method}."
        )

    def text(self, landslides: gpd.GeoDataFrame) -> str:
        """Citation, licence and what is not known, for people who get the file alone."""
        stored = self.inventory
        lines = [
            self.citation,
            f"Licence: {stored.licence or 'not stated'}.",
            f"{len(landslides)} landslides, {landslides['area_m2'].sum() / 1e6:.4f} km², status "
            f"{stored.status}, digest {stored.digest}.",
            f"Only {stored.observed_km2:.4f} km² were looked at (observed_area): outside it "
            "nothing is known, which is not the same as no landslide.",
            *(f"Note: {doubt.text}." for doubt in stored.doubts),
        ]
        return "\n".join(lines) + "\n"
