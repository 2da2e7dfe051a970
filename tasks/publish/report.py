"""The report: one HTML page that needs nothing else, for people who decide."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from tasks.errors import StorageError
from tasks.imagery.evidence import Evidence
from tasks.inventory.quality import AreaMatch
from tasks.percent import percent
from tasks.publish.class_legend import class_names
from tasks.publish.products import write_text
from tasks.susceptibility.auc import guesses
from tasks.susceptibility.classes import ClassRow
from tasks.types import (
    AreaOfInterest,
    Doubt,
    Event,
    Interval,
    Provenance,
    SceneJudgement,
    Screening,
)

USEFUL_AUC = 0.7
WIDE_GAP = 0.05


@dataclass(frozen=True)
class Making:
    """How one product came about, for the provenance section."""

    product: str
    run_id: str
    provenance: Provenance
    code: str = ""
    started_at: datetime | None = None
    ended_at: datetime | None = None


@dataclass(frozen=True)
class Match:
    """How the inventory agrees with a version that people made: `imported` or `manual`."""

    version: int
    method: str
    areas: AreaMatch


@dataclass(frozen=True)
class SusceptibilityResult:
    """What the report says about a susceptibility map.

    `importance` is the loss of AUC by factor; `sampling` is a sentence about cells and folds;
    `learned_from` are the events it was carried over from, if any; `learned_here` is whether it
    learned from the landslides it is shown with. `classes` are its class table,
    `factors` name, unit and source of each and its variance inflation `vif` (None: told whole by
    others), which one that is the same on all samples has not, and `compared` maps made before the
    inventory with their AUC on it.
    """

    model: str
    auc_spatial: Interval
    auc_random: Interval
    importance: Mapping[str, Interval]
    sampling: str
    learned_from: Sequence[str] = ()
    learned_here: bool = True
    classes: Sequence[ClassRow] = ()
    factors: Sequence[Mapping[str, Any]] = ()
    absent_factors: Sequence[str] = ()
    compared: Sequence[Mapping[str, Any]] = ()
    applicable_share: float | None = None
    figure: Path | None = None
    roc: Path | None = None
    importance_figure: Path | None = None
    skill_figure: Path | None = None
    dependence_figure: Path | None = None
    correlation_figure: Path | None = None
    before_figure: Path | None = None


@dataclass(frozen=True)
class Report:
    """Everything the report tells; what is None or empty is left out or said to be missing.

    Attributes:
        event: what happened.
        aoi: where was looked.
        judgements: every scene found, used or refused.
        seen_share: part of the AOI that was seen clear, 0-1; 1 only where all of it was.
        landslide_areas_m2: one for each landslide mapped.
        inventory: the version in words, such as "version 2, published".
        method: what mapped it.
        threshold: score from which a pixel is a landslide, or None for an imported inventory.
        minimum_mapping_unit_m2: smallest landslide kept.
        screens: what was screened, and how many each screen set aside.
        susceptibility: the map, or None.
        susceptibility_skipped: why there is none.
        doubts: reservations about all products.
        making: provenance of each product.
        weights_card: what is known about the weights, name to value.
        credits: attribution sentences.
        match: how the inventory agrees with one that people made, or None.
        match_figure: PNG.
        evidence: what radar saw change, or None.
        evidence_figure: PNG.
        map_figure: PNG.
        size_figure: PNG.
    """

    event: Event
    aoi: AreaOfInterest
    judgements: Sequence[SceneJudgement]
    seen_share: float
    landslide_areas_m2: Sequence[float]
    inventory: str
    method: str
    threshold: float | None = None
    minimum_mapping_unit_m2: float = 0.0
    screens: Sequence[Screening] = ()
    susceptibility: SusceptibilityResult | None = None
    susceptibility_skipped: str = ""
    doubts: Sequence[Doubt] = ()
    making: Sequence[Making] = ()
    weights_card: Mapping[str, Any] = field(default_factory=dict)
    credits: Sequence[str] = ()
    match: Match | None = None
    match_figure: Path | None = None
    evidence: Evidence | None = None
    evidence_figure: Path | None = None
    map_figure: Path | None = None
    size_figure: Path | None = None

    @property
    def unseen_km2(self) -> float:
        """The part of the AOI that no scene used shows clear."""
        return self.aoi.area_km2 * (1 - self.seen_share)

    @property
    def seen_km2(self) -> float:
        """The part of the AOI that was seen clear."""
        return self.aoi.area_km2 * self.seen_share

    @property
    def used(self) -> list[SceneJudgement]:
        """The scenes used."""
        return [judgement for judgement in self.judgements if judgement.used]

    @property
    def refused(self) -> list[SceneJudgement]:
        """The scenes looked at and not used."""
        return [judgement for judgement in self.judgements if not judgement.used]


def write_report(path: Path, report: Report) -> Path:
    """Write the report as one self-contained HTML page.

    Images are embedded and styles inline; the page asks nothing of the network.

    Args:
        path: HTML to make or replace.
        report: what to tell.

    Returns:
        `path`.

    Raises:
        StorageError: a figure cannot be read or `path` cannot be written.
    """
    environment = Environment(
        loader=PackageLoader("tasks.publish"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        data_uri=_data_uri,
        moment=_moment,
        area=_area,
        km2=_km2,
        percent=percent,
        plain=_plain,
        said=_said,
    )
    areas = np.asarray(report.landslide_areas_m2, dtype=float)
    page = environment.get_template("report.html").render(
        report=report,
        areas=areas,
        median_area=float(np.median(areas)) if len(areas) else 0.0,
        guesses=guesses,
        useful_auc=USEFUL_AUC,
        wide_gap=WIDE_GAP,
        class_names=class_names,
    )
    write_text(path, page)
    return path


def _data_uri(figure: Path) -> str:
    try:
        return f"data:image/png;base64,{b64encode(figure.read_bytes()).decode()}"
    except OSError as error:
        raise StorageError(f"figure {figure} cannot be read for the report: {error}") from error


def _moment(time: datetime | None) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if time else "date unknown"


def _area(area_m2: float) -> str:
    return f"{area_m2 / 1e6:,.2f} km²" if area_m2 >= 1e5 else f"{area_m2:,.0f} m²"


def _km2(area_km2: float) -> str:
    return f"{area_km2:,.0f} km²" if area_km2 >= 100 else f"{area_km2:,.2f} km²"


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _said(value: Any) -> str:
    """A card's or a parameter's value as words: mappings and lists without their brackets."""
    if isinstance(value, Mapping) and value:
        return "; ".join(f"{_plain(str(name))}: {_said(part)}" for name, part in value.items())
    if isinstance(value, list | tuple | Mapping):
        return ", ".join(_said(part) for part in value) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value) or "not given"
