"""The one settings object, read once at the edge from `SCARP_*` and passed down."""

from pathlib import Path
from typing import Annotated

from platformdirs import user_data_path
from pydantic import BeforeValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Where Scarp keeps its things.

    Attributes:
        home: folder of the private cluster, caches and products (`SCARP_HOME`); two homes are two
            worlds. Default: the platform's user data folder.
        database_url: a PostGIS server of one's own (`SCARP_DATABASE_URL`); None, or a blank value,
            means the private cluster. Kept out of `repr`, since it may hold a password.
        dask_address: scheduler of a Dask cluster that scores images (`SCARP_DASK_ADDRESS`), such as
            `tcp://10.0.0.5:8786`; None, or a blank value, means this process.
    """

    model_config = SettingsConfigDict(env_prefix="SCARP_", frozen=True, extra="ignore")

    home: Annotated[Path, BeforeValidator(lambda value: Path(value).expanduser().absolute())] = (
        Field(default_factory=lambda: user_data_path("scarp"))
    )
    database_url: Annotated[str | None, BeforeValidator(lambda value: value or None)] = Field(
        default=None, repr=False
    )
    dask_address: Annotated[str | None, BeforeValidator(lambda value: value or None)] = None
