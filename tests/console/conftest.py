"""Commands run as a person types them, each test in a world of its own."""

import sys

import pytest

from tests.conftest import EXAMPLE


@pytest.fixture
def scarp(settings, monkeypatch, capsys):
    """Run one command; returns its exit code, standard output and standard error."""
    import flows.world
    from console.cli import main

    def settle() -> None:
        monkeypatch.setenv("SCARP_HOME", str(settings.home))
        monkeypatch.setenv("SCARP_DATABASE_URL", settings.database_url)

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["scarp", *words])
        with pytest.raises(SystemExit) as stopped:
            main()
        shown = capsys.readouterr()
        return int(stopped.value.code or 0), shown.out, shown.err

    settle()
    yield run
    settle()  # a test may have named another database, or none
    flows.world.open_world().engine.dispose()
    flows.world._open.cache_clear()


@pytest.fixture
def registered(scarp):
    code, _, error = scarp(
        "register", "--file", str(EXAMPLE / "event.json"), "--aoi", str(EXAMPLE / "aoi.geojson")
    )
    assert code == 0, error
    return scarp
