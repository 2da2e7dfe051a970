"""What an operator may choose about a response; validated before any work starts."""

from __future__ import annotations

from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from tasks.mapping.screens import parse_screens
from tasks.mapping.volume import VolumeRelation


class ResponseOptions(BaseModel):
    """Parameters of `respond` and of the flows it chains."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str = Field(description="STAC API or catalog, or an image file or folder")
    dem: Path | None = Field(None, description="elevation raster in metres")
    until: AwareDatetime | None = Field(None, description="ignore imagery after this time")
    weights: str = Field("ldm-net-tiny", description="name or path of the weights")
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
    volume_relation: VolumeRelation = Field(
        "guzzetti2009", description="how volume follows from area"
    )
    screens: tuple[str, ...] = Field(
        (), description="what may set an outline aside, such as slope=5; asked in this order"
    )
    window_px: int = Field(512, ge=32, description="side of the square the network reads at once")
    seed: int = Field(0, description="seed of sampling and of the forest")
    out: Path | None = Field(None, description="folder of the products")

    @model_validator(mode="after")
    def _screens_can_be_asked(self) -> ResponseOptions:
        parse_screens(self.screens, self.dem)
        return self
