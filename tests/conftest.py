"""A true PostGIS for the tests: the private cluster users get, migrated once, copied per test."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.engine import make_url

from infra import postgres
from infra.schema import open_engine
from infra.settings import Settings

EXAMPLE = Path(__file__).parents[1] / "examples" / "emilia_romagna_2023"
DATA = Path(__file__).parents[2] / "shared" / "data"

_numbers = count(1)


def pytest_configure() -> None:
    """Keep whatever runs a flow or a command away from the data folder of who runs the tests."""
    os.environ["SCARP_HOME"] = tempfile.mkdtemp(prefix="scarp-tests-home-")
    # Tells Prefect to be silent, which it must hear before any test imports it.
    import flows  # noqa: F401


def pytest_unconfigure() -> None:
    """Leave neither that folder nor a server in it."""
    home = Path(os.environ["SCARP_HOME"])
    postgres.stop(home, force=True)
    shutil.rmtree(home)


@pytest.fixture(scope="session")
def cluster_home() -> Iterator[Path]:
    """A SCARP_HOME with a running cluster; its database `scarp` is the template of the others."""
    home = Path(tempfile.mkdtemp(prefix="scarp-tests-"))
    home.chmod(0o755)
    open_engine(Settings(home=home)).dispose()
    with psycopg.connect(postgres.start(home), autocommit=True) as connection:
        # A database that lives for one test need not survive a power cut.
        connection.execute("ALTER SYSTEM SET fsync = off")
        connection.execute("SELECT pg_reload_conf()")
    yield home
    postgres.stop(home, force=True)
    shutil.rmtree(home)


@pytest.fixture
def settings(cluster_home: Path, tmp_path: Path) -> Iterator[Settings]:
    """Settings of a world of one's own: an empty home and a freshly migrated database."""
    with new_world(cluster_home, tmp_path / "home") as settings:
        yield settings


@contextmanager
def new_world(cluster_home: Path, home: Path, template: str = "scarp") -> Iterator[Settings]:
    """A database of one's own in the tests' cluster, for as long as the block runs.

    It is a copy of the database `template`, to which nobody may be connected just then.
    """
    name = f"test_{os.getpid()}_{next(_numbers)}"
    admin = make_url(postgres.start(cluster_home)).set(database="postgres")
    with psycopg.connect(admin.render_as_string(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        yield Settings(home=home, database_url=admin.set(database=name).render_as_string())
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def entered_world(cluster_home: Path, home: Path) -> Iterator[Settings]:
    """A `new_world` that SCARP_* name, for fixtures that outlive a test."""
    with new_world(cluster_home, home) as settings, entered(settings):
        yield settings


@contextmanager
def entered(settings: Settings) -> Iterator[None]:
    """SCARP_* name a world while the block runs."""
    import flows.world

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SCARP_HOME", str(settings.home))
        patch.setenv("SCARP_DATABASE_URL", settings.database_url)
        flows.world._open.cache_clear()
        yield
        flows.world.open_world().engine.dispose()
        flows.world._open.cache_clear()


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    """The store of one test, empty and at the newest schema."""
    engine = open_engine(settings)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM scarp.event")) == 0
    yield engine
    engine.dispose()
