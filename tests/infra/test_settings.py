from pathlib import Path

import pytest

from infra.settings import Settings


@pytest.fixture(autouse=True)
def no_settings(monkeypatch):
    monkeypatch.delenv("SCARP_HOME", raising=False)
    monkeypatch.delenv("SCARP_DATABASE_URL", raising=False)


def test_the_home_is_the_platforms_user_data_folder(monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert Settings().home.name == "scarp"
    assert Settings().home.is_absolute()


def test_a_home_may_be_relative_or_begin_with_a_tilde(monkeypatch):
    monkeypatch.setenv("SCARP_HOME", "~/maps")
    assert Settings().home == Path.home() / "maps"
    monkeypatch.setenv("SCARP_HOME", "maps")
    assert Settings().home == Path.cwd() / "maps"


def test_a_blank_url_means_scarps_own_database(monkeypatch):
    monkeypatch.setenv("SCARP_DATABASE_URL", "")
    assert Settings().database_url is None


def test_a_password_does_not_show(monkeypatch):
    monkeypatch.setenv("SCARP_DATABASE_URL", "postgresql://ann:s3cret@host/maps")
    assert "s3cret" in (Settings().database_url or "")
    assert "s3cret" not in repr(Settings())
