"""The one settings object, read once at the edge from `SCARP_*` and passed down."""

from pathlib import Path
from typing import Annotated

from platformdirs import user_data_path
from pydantic import BeforeValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict


def _file(value: str | Path | None) -> Path | None:
    return Path(value).expanduser().absolute() if value else None


class Settings(BaseSettings):
    """Where Scarp keeps its things.

    Attributes:
        home: folder of the private cluster, caches and products (`SCARP_HOME`); two homes are two
            worlds. Default: the platform's user data folder.
        database_url: a PostGIS server of one's own (`SCARP_DATABASE_URL`); None, or a blank value,
            means the private cluster. Kept out of `repr`, since it may hold a password.
        dask_address: scheduler of a Dask cluster that scores images (`SCARP_DASK_ADDRESS`), such as
            `tcp://10.0.0.5:8786`; None, or a blank value, means this process.
        device: where networks run in a response (`SCARP_DEVICE`), as torch names it: cpu, cuda, …
        rules: which events are worth a response (`SCARP_RULES`, a TOML file); None, or a blank
            value, means the rules that come with Scarp.
        comcat_url: where `scarp register ID` asks for an event (`SCARP_COMCAT_URL`), an FDSN event
            service that answers GeoJSON.
        impact: TOML file that names the layers of the expected impact (`SCARP_IMPACT`), see
            docs/events.md; None, or a blank value, means that magnitude and land must do.
        console_url: where people reach `scarp serve` (`SCARP_CONSOLE_URL`), for links; `scarp up`
            sets it to its own.
        basemap_url: tiles laid under the console's maps (`SCARP_BASEMAP_URL`), such as
            https://tiles.example.org/{z}/{x}/{y}.png; None, or a blank value, means that hillshade
            and the shoreline must do, and that no request leaves the machine.
        imagery_cache_gb: room for imagery fetched whole, in GB (`SCARP_IMAGERY_CACHE_GB`).
        imagery_quota_km2: ground that may be ordered from paid sources in a calendar month, in km²
            (`SCARP_IMAGERY_QUOTA_KM2`).
    """

    model_config = SettingsConfigDict(env_prefix="SCARP_", frozen=True, extra="ignore")

    home: Annotated[Path, BeforeValidator(lambda value: Path(value).expanduser().absolute())] = (
        Field(default_factory=lambda: user_data_path("scarp"))
    )
    database_url: Annotated[str | None, BeforeValidator(lambda value: value or None)] = Field(
        default=None, repr=False
    )
    dask_address: Annotated[str | None, BeforeValidator(lambda value: value or None)] = None
    console_url: str = "http://127.0.0.1:8085"
    basemap_url: Annotated[str | None, BeforeValidator(lambda value: value or None)] = None
    device: Annotated[str, BeforeValidator(lambda value: value or "cpu")] = "cpu"
    imagery_cache_gb: float = Field(default=20.0, gt=0)
    imagery_quota_km2: float = Field(default=1000.0, ge=0)
    impact: Annotated[Path | None, BeforeValidator(_file)] = None
    rules: Annotated[Path | None, BeforeValidator(_file)] = None
    comcat_url: str = "https://earthquake.usgs.gov/fdsnws/event/1/query"
