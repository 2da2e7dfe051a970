"""Rows of windows on a real Dask cluster: a scheduler and two worker processes on loopback."""

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial

import numpy as np
import pytest
from distributed import Client

from models.weights import load
from tasks.errors import RasterError
from tasks.mapping.blocks import score_on_cluster
from tasks.mapping.segment import segment_scene
from tasks.mapping.windows import WindowPlan

PLAN = WindowPlan(64, 16)


@pytest.fixture
def cluster(tmp_path):
    """A client of two workers, and their processes."""
    log = (tmp_path / "dask.log").open("w")
    run = partial(subprocess.Popen, cwd=tmp_path, stdout=log, stderr=log)
    at_home = ["--host", "127.0.0.1", "--no-dashboard"]
    known = ["--scheduler-file", str(tmp_path / "scheduler.json")]
    dask = [sys.executable, "-m", "dask"]
    scheduler = run([*dask, "scheduler", *known, *at_home, "--port", "0"])
    alone = ["--no-nanny", "--nthreads", "1", "--death-timeout", "30"]
    workers = [run([*dask, "worker", *known, *at_home, *alone]) for _ in range(2)]
    try:
        until = time.monotonic() + 30
        while not (tmp_path / "scheduler.json").exists() and time.monotonic() < until:
            time.sleep(0.1)
        address = json.loads((tmp_path / "scheduler.json").read_text())["address"]
        with Client(address, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=30)
            yield client, workers
    finally:
        for process in (*workers, scheduler):
            process.kill()
            process.wait()
        log.close()


@pytest.fixture
def image(write_image):
    pixels = np.random.default_rng(3).integers(0, 255, (3, 400, 260)).astype(np.uint8)
    return write_image(pixels, np.ones((400, 260), bool))


def test_a_worker_killed_at_work_changes_no_byte_of_the_result(cluster, image, tmp_path):
    client, workers = cluster
    network, card = load("ldm-net-tiny")
    here = segment_scene(image, network, card, tmp_path / "here.tif", plan=PLAN)

    def kill_one(done: int, _: int) -> None:
        if done == 1:
            os.kill(workers[0].pid, signal.SIGKILL)

    there = segment_scene(
        image,
        network,
        card,
        tmp_path / "there.tif",
        plan=PLAN,
        progress=kill_one,
        scorer=partial(score_on_cluster, client),
    )
    assert workers[0].wait(10) == -signal.SIGKILL
    assert len(client.ncores()) == 1
    assert there.read_bytes() == here.read_bytes()

    image.unlink()
    with pytest.raises(RasterError, match=r"image\.tif"):
        segment_scene(image, network, card, there, scorer=partial(score_on_cluster, client))
