"""`scarp db` on a database of its own."""

import json
import subprocess
from pathlib import Path
from urllib.parse import unquote

import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from console.db import app
from infra.errors import ClusterError


@pytest.fixture
def scarp_db(settings, engine, monkeypatch):
    monkeypatch.setenv("SCARP_HOME", str(settings.home))
    monkeypatch.setenv("SCARP_DATABASE_URL", settings.database_url)

    def run(*words):
        result = CliRunner().invoke(app, words)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


def test_psql_takes_the_url_it_prints(scarp_db):
    url = scarp_db("url").stdout.strip()
    query = "select * from scarp.v_landslides limit 5"
    done = subprocess.run(["psql", url, "-c", query], capture_output=True, text=True, check=True)
    assert "(0 rows)" in done.stdout and "area_m2" in done.stdout


def test_the_readers_url_reads_views_and_no_tables(scarp_db):
    url = scarp_db("url", "--role", "reader").stdout.strip()
    for relation, allowed in (("v_landslides", True), ("landslide", False)):
        command = ["psql", url, "-c", f"select count(*) from scarp.{relation}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode == 0) is allowed, done.stderr


@pytest.mark.parametrize("role", ["owner", "reader"])
def test_a_service_entry_opens_the_database_as_its_role(scarp_db, tmp_path, monkeypatch, role):
    (tmp_path / "services").write_text(scarp_db("url", "--role", role, "--service").stdout)
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    command = ["psql", "service=scarp", "-tAc", "select current_user, count(*) from scarp.v_events"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"scarp_{role}|0"


def test_the_description_names_every_view(scarp_db):
    assert "### `scarp.v_landslides`" in scarp_db("describe").stdout


def test_status_is_json_for_machines_and_names_no_password(scarp_db, settings, monkeypatch):
    url, passfile = settings.database_url.split("?passfile=")
    password = Path(unquote(passfile)).read_text().strip().split(":")[-1]
    monkeypatch.setenv("SCARP_DATABASE_URL", url.replace("@", f":{password}@"))
    status = scarp_db("status", "--json").stdout
    assert json.loads(status)["private"] is False
    assert scarp_db("url").stdout.startswith("postgresql://scarp_owner@127.0.0.1:")
    assert password not in status + scarp_db("url").stdout + scarp_db("url", "--service").stdout


def test_status_starts_nothing(scarp_db, settings, monkeypatch):
    monkeypatch.delenv("SCARP_DATABASE_URL")
    status = json.loads(scarp_db("status", "--json").stdout)
    assert (status["created"], status["running"]) == (False, False)
    assert not settings.home.exists()


def test_a_server_of_ones_own_is_not_stopped(scarp_db):
    with pytest.raises(ClusterError, match="stop it where it runs"):
        scarp_db("stop")


def test_dump_and_restore(scarp_db, engine, tmp_path):
    dump = str(tmp_path / "scarp.dump")
    assert scarp_db("dump", dump).exit_code == 0
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA scarp CASCADE"))
    assert scarp_db("restore", dump, "--yes").exit_code == 0
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM scarp.v_events")) == 0


def test_a_restore_asks_first(scarp_db, tmp_path):
    dump = str(tmp_path / "scarp.dump")
    scarp_db("dump", dump)
    assert scarp_db("restore", dump).exit_code == 1


def test_a_dump_that_does_not_exist_is_bad_input(scarp_db, tmp_path):
    assert scarp_db("restore", str(tmp_path / "nowhere"), "--yes").exit_code == 2
