"""What an operator may choose about a response; validated before any work starts."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from models.cards import CURRENT
from tasks.errors import AssessmentError, BadInputError
from tasks.mapping.screens import parse_screens
from tasks.mapping.volume import VolumeRelation
from tasks.susceptibility.classes import Breaks, parse_breaks
from tasks.susceptibility.holding import DISTRICTS, Holding, parse_holding
from tasks.susceptibility.names import LARGEST_SEED, check_model
from tasks.susceptibility.schemes import Scheme, find_scheme

Normalise = Literal["none", "training", "before"]


def kept_whole(chosen: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Options, those of `names` that are files on this machine by their absolute paths."""
    found = [name for name in names if chosen.get(name) and Path(chosen[name]).exists()]
    return chosen | {name: str(Path(chosen[name]).resolve()) for name in found}


class SusceptibilityOptions(BaseModel):
    """Parameters of `assess_susceptibility`; what is None is as the sampling scheme has it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    dem: str | Path | None = Field(
        None, description="elevation: a raster, a folder of them, or a STAC API or catalog"
    )
    factors: Path | None = Field(None, description="TOML file that names further factors")
    model: str = Field("rf", description="name of the model")
    sampling: str = Field("scarp", description="named sampling scheme")
    presence: str | None = Field(
        None, description="cells that stand for a landslide: all, highest, centroid or how many"
    )
    ratio: float | None = Field(None, gt=0, le=200, description="absences for each presence")
    buffer_m: float | None = Field(None, ge=0, description="absences keep this far from landslides")
    least_slope_deg: float | None = Field(
        None, ge=0, lt=90, description="absences lie on slopes at least this steep"
    )
    strata: str | None = Field(None, description="spread absences over slope, elevation or none")
    classes: str = Field("natural", description="natural, quantiles, or breaks as 0.2,0.4,0.6,0.8")
    hold_out: str = Field(
        DISTRICTS, description="what is held out in space: districts, blocks:SIDE_M, or polygons"
    )
    learn_from: tuple[str, ...] = Field(
        (), description="past events to learn from, for an event that is not mapped yet"
    )
    seed: int = Field(0, ge=0, le=LARGEST_SEED, description="seed of sampling, folds and model")

    @model_validator(mode="after")
    def _all_can_be_had(self) -> SusceptibilityOptions:
        check_model(self.model)
        self.scheme, self.breaks, self.holding  # noqa: B018
        if self.learn_from and self.hold_out != DISTRICTS:
            raise AssessmentError(
                "a map carried over holds each event it learns from out in turn; leave out either "
                "--from or --hold-out"
            )
        return self

    @property
    def kept(self) -> dict[str, Any]:
        """As the store keeps it: files by their whole paths, for who reads it stands elsewhere."""
        return kept_whole(self.model_dump(mode="json"), ("dem", "factors", "hold_out"))

    @property
    def breaks(self) -> Breaks:
        """How the map is classed."""
        return parse_breaks(self.classes)

    @property
    def holding(self) -> Holding:
        """What is held out in space."""
        return parse_holding(self.hold_out)

    @property
    def scheme(self) -> Scheme:
        """The sampling scheme, with what was asked otherwise."""
        return find_scheme(
            self.sampling,
            presence=self.presence,
            ratio=self.ratio,
            buffer_m=self.buffer_m,
            least_slope_deg=self.least_slope_deg,
            strata=self.strata,
        )


class ResponseOptions(BaseModel):
    """Parameters of `respond` and of the flows it chains."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    source: str = Field(
        description="STAC API or catalog, an image file or folder, or a profile's name"
    )
    collections: tuple[str, ...] = Field((), description="STAC collections to look in")
    profiles: Path | None = Field(None, description="TOML file of further profiles")
    allow_hosts: tuple[str, ...] = Field((), description="further hosts files may be read from")
    dem: Path | None = Field(None, description="elevation raster in metres")
    until: AwareDatetime | None = Field(None, description="ignore imagery after this time")
    weights: str = Field(CURRENT, description="name or path of the weights; current: as promoted")
    threshold: float | None = Field(
        None, gt=0, lt=1, description="score of a landslide; default: the weights' own"
    )
    minimum_mapping_unit_m2: float = Field(300.0, ge=0, description="smallest landslide kept")
    hole_area_m2: float = Field(0.0, ge=0, description="holes of a smaller area are filled")
    simplify_m: float = Field(0.0, ge=0, description="how far corners may move; 0 keeps them all")
    split: bool = Field(False, description="take bodies of several landslides apart")
    minimum_clear: float = Field(
        0.6, ge=0, le=1, description="least share of a scene's part of the AOI that is clear"
    )
    coverage: float = Field(
        0.8, ge=0, le=1, description="clear share of the AOI with which nothing more is waited for"
    )
    wait_days: float = Field(
        30.0,
        ge=0,
        le=3650,
        description="days after the event until which clear imagery is waited for",
    )
    look_hours: float = Field(12.0, gt=0, le=8760, description="hours from one look to the next")
    volume_relation: VolumeRelation = Field(
        "guzzetti2009", description="how volume follows from area"
    )
    screens: tuple[str, ...] = Field(
        (), description="what may set an outline aside, such as slope=5; asked in this order"
    )
    radar: str | None = Field(
        None,
        description="STAC catalog or profile of Sentinel-1 backscatter, looked at when clear "
        "imagery is waited for in vain",
    )
    normalise: Normalise = Field(
        "none",
        description="match the image's histogram to: none, training (of the weights) or before "
        "(the scenes from before the event)",
    )
    window_px: int = Field(512, ge=32, description="side of the square the network reads at once")
    seed: int = Field(0, ge=0, le=LARGEST_SEED, description="seed of sampling and of the forest")
    factors: Path | None = Field(None, description="TOML file that names further factors")
    model: str = Field("rf", description="susceptibility model")
    out: Path | None = Field(None, description="folder of the products")

    @model_validator(mode="after")
    def _screens_can_be_asked(self) -> ResponseOptions:
        parse_screens(self.screens, self.dem)
        return self

    @model_validator(mode="after")
    def _susceptibility_can_be_had(self) -> ResponseOptions:
        self.susceptibility  # noqa: B018
        return self

    @property
    def susceptibility(self) -> SusceptibilityOptions:
        """What is asked of the susceptibility map."""
        shared = ("dem", "factors", "model", "seed")
        return SusceptibilityOptions.model_validate({name: getattr(self, name) for name in shared})


def wishes_of(source: str | None, dem: Path | None) -> dict[str, Any] | None:
    """How `scarp up` is to respond, as the store keeps it; None where nothing is said of it.

    Paths are kept whole, so that they hold wherever a worker stands.

    Raises:
        BadInputError: elevation is given without imagery, or one of them cannot be.
    """
    if source is None:
        if dem is not None:
            raise BadInputError(f"--dem {dem} says how to respond; give --source with it")
        return None
    where = str(Path(source).resolve()) if Path(source).exists() else source
    chosen = {"source": where} | ({"dem": dem.resolve()} if dem else {})
    try:
        options = ResponseOptions.model_validate(chosen)
    except ValidationError as error:
        raise BadInputError(f"--source {source}: {error.errors()[0]['msg']}") from error
    return options.model_dump(mode="json", include=set(chosen))
