"""`scarp start` and `scarp deploy`: a true Prefect server, and pools of another kind."""

import os
import subprocess
import tempfile
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from console.cli import app
from infra.pools import read_pools
from infra.ports import free_port
from tests.conftest import new_world
from tests.console.machine import SCARP, wait_for

INFRA = Path(__file__).parents[2] / "infra"


@pytest.fixture(scope="module")
def server(cluster_home):
    """A Prefect server as a container starts it, with the environment of what asks it."""
    port = free_port()
    with (
        tempfile.TemporaryDirectory(prefix="scarp-machines-") as home,
        new_world(cluster_home, Path(home)) as settings,
    ):
        given = os.environ | {"SCARP_HOME": home, "SCARP_DATABASE_URL": settings.database_url}
        given.pop("PREFECT_API_URL", None)
        command = [*SCARP, "start", "prefect", "--port", str(port)]
        process = subprocess.Popen(
            command, env=given, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}/api", timeout=60) as asked:
                wait_for(lambda: answers(asked))
                yield asked, given | {"PREFECT_API_URL": str(asked.base_url).rstrip("/")}
        finally:
            process.terminate()
            process.wait()


def answers(asked):
    try:
        return asked.get("/health").is_success
    except httpx.TransportError:
        return False


def scarp(environment, *words):
    done = subprocess.run(
        [*SCARP, *words], env=environment, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stderr


def test_the_deployments_of_one_machine_are_those_of_a_cluster(server):
    asked, environment = server
    pools = INFRA / "kubernetes" / "pools.yaml"
    code, said = scarp(environment, "deploy", "--pools", str(pools), "--gpu-slots", "3")
    assert code == 0, said
    found = {one["name"]: one for one in asked.post("/work_pools/filter", json={}).json()}
    assert {name: found[name]["type"] for name in found} == {
        "cpu": "kubernetes",
        "gpu": "kubernetes",
    }
    assert found["gpu"]["concurrency_limit"] == 3
    properties = found["gpu"]["base_job_template"]["variables"]["properties"]
    assert (properties["gpus"]["default"], properties["image"]["default"]) == (1, "scarp:cuda")
    deployed = asked.post("/deployments/filter", json={}).json()
    assert {one["name"]: one["work_pool_name"] for one in deployed}["map-landslides"] == "gpu"

    code, said = scarp(environment, "deploy")
    assert code == 1
    assert "the pool cpu is of type kubernetes, not process; delete it with" in said


def test_a_server_takes_the_pools_of_docker(server):
    asked, _ = server
    for name, (kind, template) in read_pools(
        INFRA / "docker" / "pools.yaml", ["cpu", "gpu"]
    ).items():
        pool = {"name": f"{kind}-{name}", "type": kind, "base_job_template": template}
        made = asked.post("/work_pools/", json=pool)
        assert made.is_success, made.text


@pytest.mark.parametrize("words", [["deploy"], ["start", "worker-gpu"], ["start", "relay"]])
def test_a_part_that_knows_no_server_says_so(monkeypatch, words):
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    result = CliRunner().invoke(app, words)
    assert "PREFECT_API_URL names no Prefect server" in str(result.exception)


def test_a_file_of_pools_that_is_not_there_is_told_before_anything_is_asked(server):
    _, environment = server
    code, said = scarp(environment, "deploy", "--pools", "nowhere.yaml")
    assert code == 2 and "nowhere.yaml cannot be read" in said
