"""The private cluster, put through what a machine does to it."""

import multiprocessing
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest

from infra import postgres, programs
from infra.errors import ClusterError, PostgresMissingError

AS_ROOT = os.geteuid() == 0


@pytest.fixture
def new_home():
    """A home that the server's user can reach, deeper than the path of a socket may be."""
    folder = Path(tempfile.mkdtemp(prefix="scarp-home-"))
    folder.chmod(0o755)
    home = folder / ("d" * 60) / ("e" * 60)
    home.parent.mkdir()
    yield home
    _remove(home)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def home():
    """A home with a cluster that the tests of this file share."""
    folder = Path(tempfile.mkdtemp(prefix="scarp-home-"))
    folder.chmod(0o755)
    postgres.start(folder)
    yield folder
    _remove(folder)
    shutil.rmtree(folder)


def _remove(home):
    postgres.stop(home, force=True)
    if (home / "postgres").is_symlink():
        shutil.rmtree((home / "postgres").resolve())


def _answer(url, query="SELECT 42"):
    with psycopg.connect(url) as connection:
        return connection.execute(query).fetchone()[0]


def test_a_server_that_runs_is_found_and_not_started_again(home):
    url = postgres.start(home)
    pid = postgres.status(home).pid
    assert postgres.start(home) == url
    assert postgres.status(home).pid == pid
    assert _answer(url) == 42


def test_psql_opens_the_url(home):
    done = subprocess.run(
        ["psql", postgres.start(home), "-Atc", "SELECT current_database()"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "scarp\n"


@pytest.mark.skipif(not AS_ROOT, reason="only root has another user to become")
def test_the_server_never_runs_as_root(home):
    postgres.start(home)
    status = Path(f"/proc/{postgres.status(home).pid}/status").read_text()
    uids = next(line for line in status.splitlines() if line.startswith("Uid:")).split()[1:]
    assert "0" not in uids
    assert (home / "postgres" / "data").stat().st_uid != 0


def test_the_password_is_in_its_file_only_and_needed(home):
    url = postgres.start(home)
    passfile = Path(parse_qs(urlsplit(url).query)["passfile"][0])
    password = passfile.read_text().strip().split(":")[-1]
    assert stat.S_IMODE(passfile.stat().st_mode) == 0o600
    assert len(password) > 30 and password not in url
    assert password not in (home / "postgres" / "server.log").read_text()
    with pytest.raises(psycopg.OperationalError, match="no password supplied"):
        psycopg.connect(url.split("?")[0] + "?passfile=/dev/null")


def test_it_listens_on_loopback_alone(home):
    url = postgres.start(home)
    assert _answer(url, "SHOW listen_addresses") == "127.0.0.1"


def test_a_socket_lies_in_the_data_folder(home):
    url = urlsplit(postgres.start(home))
    data = (home / "postgres" / "data").resolve()
    query = f"host={data} port={url.port} user={url.username} dbname=scarp"
    assert _answer(f"{query} passfile={home}/postgres/pgpass") == 42


def test_it_comes_back_after_kill_9_with_what_was_committed(home):
    with psycopg.connect(postgres.start(home)) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS seven")
    os.kill(postgres.status(home).pid, signal.SIGKILL)
    assert _answer(postgres.start(home), "SELECT seven FROM kept") == 7


def test_it_starts_over_a_pid_file_whose_pid_nobody_has(home):
    postgres.stop(home, force=True)
    _write_pid_file(home, 4_000_000)
    assert _answer(postgres.start(home)) == 42


def test_it_starts_over_a_pid_file_whose_pid_another_program_has_got(home):
    postgres.stop(home, force=True)
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, **_as_server(home)) as stranger:
        _write_pid_file(home, stranger.pid)
        assert not postgres.status(home).running
        assert _answer(postgres.start(home)) == 42
        assert stranger.poll() is None


def test_a_port_file_that_a_kill_left_empty_stops_nothing(home):
    postgres.start(home)
    postgres.stop(home)
    (home / "postgres" / "port").write_text("")
    assert urlsplit(postgres.start(home)).port


def test_it_moves_to_another_port_when_its_own_is_taken(home):
    before = urlsplit(postgres.start(home)).port
    postgres.stop(home, force=True)
    with socket.socket() as thief:
        # Connections of the server that just stopped may still linger on its port.
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        thief.bind(("127.0.0.1", before))
        thief.listen()
        url = postgres.start(home)
        assert urlsplit(url).port != before
        assert _answer(url) == 42


def test_it_keeps_its_port_while_it_can(home):
    before = postgres.start(home)
    postgres.stop(home, force=True)
    assert postgres.start(home) == before


def test_it_is_not_stopped_under_anothers_feet(home):
    url = postgres.start(home)
    with closing(psycopg.connect(url, application_name="an analyst")) as connection:
        with pytest.raises(ClusterError, match=r"1 connection.*\(an analyst\).*--force"):
            postgres.stop(home)
        assert connection.execute("SELECT 42").fetchone() == (42,)
        assert postgres.stop(home, force=True)
    assert not postgres.status(home).running
    assert not postgres.stop(home)


def _start(home):
    return postgres.start(home), postgres.status(home).pid


def test_processes_that_start_at_once_share_one_new_cluster_and_no_other(home, new_home):
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        started = pool.map(_start, [new_home] * 3)
    assert len(set(started)) == 1
    assert started[0][0] != postgres.start(home)


def test_a_creation_that_was_interrupted_is_begun_again(new_home):
    (new_home / "postgres" / "data.new").mkdir(parents=True)
    (new_home / "postgres" / "data.new" / "PG_VERSION").write_text("15")
    if AS_ROOT:
        os.chown(new_home / "postgres", postgres._server_user(new_home).uid, -1)
    assert _answer(postgres.start(new_home)) == 42


@pytest.mark.skipif(not AS_ROOT, reason="only root puts a cluster elsewhere")
def test_a_home_only_root_can_reach_has_its_cluster_elsewhere_until_it_is_removed(new_home):
    new_home.mkdir(mode=0o700)
    assert _answer(postgres.start(new_home)) == 42
    elsewhere = postgres.status(new_home).folder
    assert elsewhere.parent == postgres.OUTSIDE
    new_home.chmod(0o755)
    postgres.stop(new_home)
    assert _answer(postgres.start(new_home)) == 42
    assert postgres.status(new_home).folder == elsewhere

    new_home.chmod(0o700)
    (new_home / "postgres").unlink()
    assert _answer(postgres.start(new_home)) == 42
    assert postgres.status(new_home).folder != elsewhere
    assert not (elsewhere / "data" / "postmaster.pid").exists()
    shutil.rmtree(elsewhere)


@pytest.mark.skipif(not AS_ROOT, reason="only root can become another user")
def test_a_user_who_is_not_root_runs_the_server_as_himself(new_home):
    user = pwd.getpwnam("nobody")
    new_home.mkdir()
    os.chown(new_home, user.pw_uid, user.pw_gid)
    root = Path(__file__).parents[2]
    script = (
        f"import os, sys; sys.path.insert(0, {str(root)!r}); from pathlib import Path; "
        f"from infra import postgres; os.setgroups([]); os.setgid({user.pw_gid}); "
        f"os.setuid({user.pw_uid}); postgres.start(Path({str(new_home)!r}))"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd="/")
    server = Path(f"/proc/{postgres.status(new_home).pid}")
    assert server.stat().st_uid == user.pw_uid
    assert _answer(postgres.start(new_home)) == 42


def test_a_home_that_is_a_file_says_what_to_do(tmp_path):
    (tmp_path / "home").write_text("a file")
    with pytest.raises(ClusterError, match="home .*set SCARP_HOME"):
        postgres.start(tmp_path / "home")


def test_a_server_that_cannot_start_says_why_and_where_to_look(home):
    postgres.stop(home, force=True)
    configuration = home / "postgres" / "data" / "postgresql.conf"
    sound = configuration.read_text()
    configuration.write_text(sound + "\nno_such_setting = 1\n")
    with pytest.raises(ClusterError, match=r"does not start: conf.*contains errors.*server\.log"):
        postgres.start(home)
    configuration.write_text(sound)


def test_without_postgresql_it_says_what_to_install(new_home, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(programs, "SEARCHED", ())
    with pytest.raises(PostgresMissingError, match="apt-get install postgresql postgresql-postgis"):
        postgres.start(new_home)


def test_a_cluster_of_a_version_that_is_gone_names_its_packages():
    with pytest.raises(
        PostgresMissingError, match="apt-get install postgresql-9 postgresql-9-post"
    ):
        programs.find_binaries("9")


def _as_server(home):
    owner = (home / "postgres" / "data").stat()
    return {"user": owner.st_uid, "group": owner.st_gid} if AS_ROOT else {}


def _write_pid_file(home, pid):
    data = (home / "postgres" / "data").resolve()
    path = data / "postmaster.pid"
    path.write_text(f"{pid}\n{data}\n1600000000\n5432\n.\n127.0.0.1\n  1 1\nready\n")
    os.chown(path, data.stat().st_uid, data.stat().st_gid)
