"""A run stopped at any moment, by kill -9 too, goes on where it was and gives the same bytes."""

import fcntl
import json
import logging
import multiprocessing
import os
import random
import resource
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from models.weights import Card
from tasks.errors import StorageError
from tasks.mapping.segment import segment_scene
from tasks.mapping.windows import WindowPlan, bands, window_starts

HEIGHT, WIDTH = 420, 130
PLAN = WindowPlan(64, 16)
ROWS, COLUMNS = len(bands(HEIGHT, PLAN)), len(window_starts(WIDTH, PLAN))


class Seeing(torch.nn.Module):
    """Looks around every pixel, so that windows disagree near their edges; takes its time."""

    def __init__(self, seed: int = 0, rest_s: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.net = torch.nn.Conv2d(3, 1, 5, padding=2)
        self.rest_s = rest_s

    def forward(self, x: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        time.sleep(self.rest_s)
        return self.net(x)


@pytest.fixture
def image(write_image):
    dice = np.random.default_rng(5)
    valid = np.ones((HEIGHT, WIDTH), bool)
    valid[100:180, 20:100] = False
    return write_image(dice.integers(0, 255, (3, HEIGHT, WIDTH)).astype(np.uint8), valid)


def run(image, card: Card, folder, rest_s: float = 0.0) -> None:
    """What the killed processes do."""
    segment_scene(
        image,
        Seeing(rest_s=rest_s),
        card,
        folder / "score.tif",
        plan=PLAN,
        disagreement=folder / "disagreement.tif",
    )


def finished(folder) -> int:
    ledger = folder / ".score.tif.part" / "ledger.json"
    return json.loads(ledger.read_text())["bands"] if ledger.exists() else 0


def test_kill_9_at_five_random_moments_changes_no_byte(image, card, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run(image, card, whole)
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["tests.mapping.test_resume"])
    dice = random.Random(9)
    kept = []
    for _ in range(5):
        child = processes.Process(target=run, args=(image, card, killed, 0.02))
        child.start()
        goal = min(finished(killed) + dice.randint(0, 2), ROWS - 1)
        while finished(killed) < goal and child.is_alive():
            time.sleep(0.005)
        time.sleep(dice.uniform(0, 0.1))
        child.kill()
        child.join()
        kept.append(finished(killed))
    assert kept == sorted(kept)
    assert 0 < kept[-1] <= ROWS

    seen = []
    segment_scene(
        image,
        Seeing(),
        card,
        killed / "score.tif",
        plan=PLAN,
        disagreement=killed / "disagreement.tif",
        progress=lambda done, _: seen.append(done),
    )
    assert seen == list(range(kept[-1] * COLUMNS + 1, ROWS * COLUMNS + 1))
    for name in ("score.tif", "disagreement.tif"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes()
    assert {path.name for path in killed.iterdir()} == {"score.tif", "disagreement.tif"}


class Stop(Exception):
    pass


def stop_after(windows: int):
    def progress(done: int, _: int) -> None:
        if done == windows:
            raise Stop

    return progress


@pytest.mark.parametrize("windows", [1, COLUMNS - 1, COLUMNS, COLUMNS + 1, ROWS * COLUMNS])
def test_an_error_between_windows_loses_no_finished_row(image, card, tmp_path, windows):
    score = tmp_path / "out" / "score.tif"
    whole = segment_scene(image, Seeing(), card, tmp_path / "whole.tif", plan=PLAN)
    with pytest.raises(Stop):
        segment_scene(image, Seeing(), card, score, plan=PLAN, progress=stop_after(windows))
    # The row's last window is told of before the row is written.
    assert finished(score.parent) == (windows - 1) // COLUMNS
    assert not score.exists()
    segment_scene(image, Seeing(), card, score, plan=PLAN)
    assert score.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("changed", ["weights", "plan", "image"])
def test_whatever_changed_is_named_and_nothing_old_is_kept(
    image, card, write_image, tmp_path, caplog, changed
):
    score = tmp_path / "out" / "score.tif"
    with pytest.raises(Stop):
        segment_scene(image, Seeing(), card, score, plan=PLAN, progress=stop_after(3 * COLUMNS + 1))
    assert finished(score.parent) == 3
    network, plan = Seeing(), PLAN
    if changed == "weights":
        network = Seeing(seed=1)
    elif changed == "plan":
        plan = replace(PLAN, views=4)
    else:
        darker = np.random.default_rng(6).integers(0, 200, (3, HEIGHT, WIDTH)).astype(np.uint8)
        write_image(darker, np.ones((HEIGHT, WIDTH), bool))
    with caplog.at_level(logging.WARNING):
        segment_scene(image, network, card, score, plan=plan)
    assert f"starting over, because {changed}" in caplog.text
    anew = segment_scene(image, network, card, tmp_path / "anew.tif", plan=plan)
    assert score.read_bytes() == anew.read_bytes()


def test_two_runs_never_write_the_same_raster(image, card, tmp_path):
    folder = tmp_path / ".score.tif.part"
    folder.mkdir()
    handle = os.open(folder, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(StorageError, match="another process"):
        segment_scene(image, Seeing(), card, tmp_path / "score.tif", plan=PLAN)
    os.close(handle)
    segment_scene(image, Seeing(), card, tmp_path / "score.tif", plan=PLAN)


def test_a_disk_without_room_for_the_score_is_found_out_before_any_window(image, card, tmp_path):
    processes = multiprocessing.get_context("forkserver")
    answers = processes.Queue()
    child = processes.Process(target=_map_on_a_small_disk, args=(image, card, tmp_path, answers))
    child.start()
    assert answers.get(timeout=60) == f"no room to write {tmp_path / 'score.tif'}", "raised first"
    child.join()


def _map_on_a_small_disk(image, card, folder, answers) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    def progress(done: int, total: int) -> None:
        answers.put("a window was scored")

    try:
        segment_scene(image, Seeing(), card, folder / "score.tif", plan=PLAN, progress=progress)
    except StorageError as error:
        answers.put(str(error).partition(":")[0])
