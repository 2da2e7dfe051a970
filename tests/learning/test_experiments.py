"""`scarp experiment`: the papers' comparisons, at small scale, on tiles in the published layout."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from console.cli import app
from models.errors import ModelError
from models.samples import Entry, group_of
from models.weights import load
from tasks.learning.catalog import read_data
from tasks.learning.experiments import (
    EXPERIMENTS,
    as_table,
    blocks_of,
    events,
    incremental,
    networks,
)
from tasks.learning.leaks import check_apart
from tasks.learning.protocol import read_protocol
from tasks.learning.scoring import score_sample
from tasks.mapping.windows import WindowPlan

TINY = """
network = "ldm-net-compact"
bands = ["red", "green", "blue"]
[recipe]
epochs = 1
steps = 2
batch = 2
crop = 32
gsd_m = [0.5, 12.0]
scales = [0.8, 1.25]
"""


@pytest.fixture
def world(tmp_path, write_picture, scene):
    (tmp_path / "tiny.toml").write_text(TINY)
    names = ["df001", "df002", "qx001", "qx002", "wn001", "hz001"]
    for number, name in enumerate(names):
        image, mask = scene(number, 64, (8, 28, 6, 30))
        write_picture(tmp_path / "bijie" / "landslide" / "image" / f"{name}.png", image)
        write_picture(tmp_path / "bijie" / "landslide" / "mask" / f"{name}.png", mask)
        write_picture(tmp_path / "ulmd" / "Luding" / "image" / f"{name}.png", image[:, ::-1])
        write_picture(tmp_path / "ulmd" / "Luding" / "mask" / f"{name}.png", mask[::-1])
    return tmp_path


def command(world, name, *more):
    data = ["--data", f"bijie={world / 'bijie'}", "--protocol", str(world / "tiny.toml")]
    return ["experiment", name, *data, "-o", str(world / name), *more]


def run(*words):
    return CliRunner().invoke(app, list(words), catch_exceptions=False)


def entries_of(world, *names):
    return read_data([f"{name}={world / name}" for name in names])


def test_networks_are_compared_at_like_size_on_the_same_tiles(world):
    protocol = read_protocol(str(world / "tiny.toml"))
    arms = networks(protocol, entries_of(world, "bijie"))
    assert [arm.name for arm in arms] == ["G_FFN", "plain FFN", "unet", "segformer-b0"]
    assert len({repr(arm.protocol.recipe) for arm in arms}) == 1
    found = json.loads(run(*command(world, "networks", "--seeds", "1", "--json")).stdout)
    assert found["data"] == ["bijie"], "without the folder, which is of this machine"
    sizes = [row["parameters"] for row in found["arms"]]
    assert max(sizes) < 1.25 * min(sizes)
    assert {row["tiles"] for row in found["arms"]} == {4}
    assert found["arms"][0]["scores"]["validation"]["sources"]["bijie"]["n_tiles"] == 1


def test_an_experiment_that_was_stopped_goes_on_and_another_is_refused_the_folder(
    world, write_picture, scene
):
    first = json.loads(run(*command(world, "ffn", "--seeds", "1", "--json")).stdout)
    path = world / "ffn" / "G-FFN-0" / "scores.json"
    before = path.stat().st_mtime_ns
    both = json.loads(run(*command(world, "ffn", "--seeds", "2", "--json")).stdout)
    assert path.stat().st_mtime_ns == before and both["arms"][: len(first["arms"])] == first["arms"]
    assert [row["seed"] for row in both["arms"]] == [0, 0, 1, 1]
    assert "| G_FFN | test | bijie | 2 | 0.50 |" in (world / "ffn" / "ffn.md").read_text()
    with pytest.raises(ModelError, match="holds another run: protocol.recipe.rate"):
        run(*command(world, "ffn", "--set", "rate=0.1"))
    mask = world / "bijie" / "landslide" / "mask" / "df001.png"
    write_picture(mask, scene(0, 64, (30, 50, 6, 30))[1])
    with pytest.raises(ModelError, match="ffn was begun with other tiles, masks"):
        run(*command(world, "ffn", "--seeds", "2"))


def test_an_event_is_tested_on_what_all_others_taught(world):
    protocol = read_protocol(str(world / "tiny.toml"))
    for arm in events(protocol, entries_of(world, "bijie", "ulmd")):
        name = arm.name.removeprefix("never seen: ")
        tested = {e.event for e in arm.entries if e.split == "test"}
        assert tested == {name} and name not in {e.event for e in arm.entries if e.split != "test"}


def test_events_of_almost_one_name_keep_their_own_scores(world, write_picture, scene):
    for number, place in enumerate(["Tal 1", "Tal-1", "Tal-1", "Tal-1", "Berg", "Berg"]):
        image, mask = scene(number, 64, (8, 28, 6, 30 + number))
        write_picture(world / "ulmd" / place / "image" / f"{number}.png", image)
        write_picture(world / "ulmd" / place / "mask" / f"{number}.png", mask)
    words = ["--protocol", str(world / "tiny.toml"), "-o", str(world / "out"), "--seeds", "1"]
    found = run("experiment", "events", "--data", f"ulmd={world / 'ulmd'}", *words, "--json")
    tested = {
        row["arm"]: row["scores"]["test"]["sources"]["ulmd"]["n_tiles"]
        for row in json.loads(found.stdout)["arms"]
    }
    assert tested == {
        "never seen: Tal 1": 1, "never seen: Tal-1": 3, "never seen: Berg": 2,
        "never seen: Luding": 6,
    }  # fmt: skip


def test_what_is_undefined_is_a_dash_in_the_table_and_not_a_score_of_0():
    def scored(f1):
        names = {"f1": f1, "iou": f1}
        interval = None if f1 is None else (f1 - 0.1, f1 + 0.1)
        each = {"micro": names, "macro": names, "pr_auc": f1,
                "intervals": {"micro": {"f1": interval}}}  # fmt: skip
        return {"arm": "x", "scores": {"test": {"threshold": 0.5, "sources": {"bijie": each}}}}

    def last(*rows):
        return as_table({"experiment": "events", "arms": list(rows)}).splitlines()[-1]

    assert last(scored(None)) == "| x | test | bijie | 1 | 0.50 | – | – | – | – | – |"
    assert "| 0.600 (0.600-0.600) | 0.500-0.700 | 0.600 |" in last(scored(0.6), scored(None))


def test_tiles_without_an_event_beside_others_that_name_theirs_are_none_of_their_own(world):
    protocol = read_protocol(str(world / "tiny.toml"))
    named = entries_of(world, "bijie")
    nameless = replace(named[0], name="nameless", event="", split="test")
    arms = events(protocol, [*named, nameless])
    assert [arm.name for arm in arms] == [arm.name for arm in events(protocol, named)]
    for arm in arms:
        assert [e.split for e in arm.entries if e.name == "nameless"] == ["train"]


def test_the_event_scarp_is_judged_by_is_learnt_from_in_no_arm(world):
    protocol = read_protocol(str(world / "tiny.toml"))
    kept = Entry("scene/0-0", lambda: None, "us2000h8ty", "hokkaido2018", "test")
    arms = events(protocol, [*entries_of(world, "bijie"), kept])
    found = [e for arm in arms for e in arm.entries if e.source == kept.source]
    assert len(found) == len(arms) > 1 and all(e.split == "test" for e in found)


def test_blocks_of_a_new_region_are_learnt_from_or_tested_on_never_both(world, write_picture):
    dice = np.random.default_rng(0)
    big = dice.integers(0, 255, (3, 320, 320)).astype(np.uint8)
    write_picture(world / "bijie" / "landslide" / "image" / "hz002.png", big)
    write_picture(world / "bijie" / "landslide" / "mask" / "hz002.png", big[0] // 200)
    protocol = read_protocol(str(world / "tiny.toml"))
    arms = incremental(protocol, entries_of(world, "bijie"), block_px=32)
    learnt = [[e for e in arm.entries if e.split == "train"] for arm in arms]
    assert [len(each) for each in learnt] == [0, 1, 5, 10, 21]
    tested = [{e.name for e in arm.entries if e.split == "test"} for arm in arms]
    assert all(each == tested[0] for each in tested), "all arms are tested on the same blocks"
    assert not {e.name for e in learnt[-1]} & tested[0]
    check_apart(arms[-1].entries)


def test_blocks_of_cuts_that_overlap_show_no_ground_twice(world, write_picture):
    pixels = np.random.default_rng(0).integers(0, 255, (3, 640, 700)).astype(np.uint8)
    site = world / "gvlm" / "Kodagu_India"
    write_picture(site / "im2.png", pixels)
    write_picture(site / "ref.png", pixels[0] // 200)
    protocol = read_protocol(str(world / "tiny.toml"))
    arm = incremental(protocol, entries_of(world, "gvlm"), block_px=64)[-1]
    shown = np.zeros(pixels.shape[1:], int)
    for block in arm.entries:
        _, rows, columns = block.place
        assert np.array_equal(block.read().image, pixels[:, rows, columns])
        shown[rows, columns] += 1
    assert shown.max() == 1 and shown.mean() > 0.8


def test_what_blocks_teach_is_told_from_what_a_chosen_threshold_brings(world, write_picture):
    dice = np.random.default_rng(0)
    big = dice.integers(0, 255, (3, 640, 640)).astype(np.uint8)
    write_picture(world / "bijie" / "landslide" / "image" / "hz002.png", big)
    write_picture(world / "bijie" / "landslide" / "mask" / "hz002.png", big[0] // 200)
    words = ("--seeds", "1", "--start", "ldm-net-tiny", "--json")
    changes = ("--set", "threshold=0", "--set", "network=ldm-net-tiny")
    found = json.loads(run(*command(world, "incremental", *words, *changes)).stdout)
    plain, chosen = found["arms"][:2]
    assert chosen["arm"] == "0% of the blocks, threshold chosen"
    tests = [row["scores"]["test"] for row in (plain, chosen)]
    assert tests[0]["threshold"] == load("ldm-net-tiny")[1].threshold != tests[1]["threshold"]
    assert tests[0]["pr_auc"] == tests[1]["pr_auc"], "they are the same weights"
    row = f"| {chosen['arm']} | test | bijie | 1 | {tests[1]['threshold']:.2f} |"
    assert row in (world / "incremental" / "incremental.md").read_text()


def test_blocks_hold_the_pixels_of_the_tile_they_were_cut_from(world):
    entry = entries_of(world, "bijie")[0]
    whole = entry.read()
    blocks = [block.read() for block in blocks_of(entry, 32)]
    assert len(blocks) == 4 and sum(b.mask.sum() for b in blocks) == whole.mask.sum()
    assert np.array_equal(blocks[3].image, whole.image[:, 32:, 32:])
    assert len({group_of(block) for block in blocks_of(entry, 32)}) == 4


def test_a_block_is_scored_with_the_ground_around_it_in_sight(world):
    entry = entries_of(world, "bijie")[0]
    whole = entry.read()
    block = blocks_of(entry, 32)[0].read()
    assert np.array_equal(block.around.image, whole.image[:, :48, :48])
    network, card = load("ldm-net-rgb")
    score = partial(
        score_sample, network=network, card=card, plan=WindowPlan(), device=torch.device("cpu")
    )
    seen = score(block)
    assert np.array_equal(seen, score(block.around)[:32, :32])
    assert np.abs(seen - score(replace(block, around=None))).max() > 0.01


def test_scores_that_are_no_numbers_are_those_of_no_weights(world):
    network, card = load("ldm-net-tiny")
    for parameter in network.parameters():
        parameter.data *= 1e30
    sample = entries_of(world, "bijie")[0].read()
    with pytest.raises(ModelError, match="df001.png: the scores of weights 'ldm-net-tiny' are no"):
        score_sample(sample, network, card, WindowPlan(), torch.device("cpu"))


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("sources", "the data are one dataset"),
        ("serial", "give a serial one: lmhld-part"),
        ("incremental", "too few"),
        ("nonsense", "choose from networks, ffn, events"),
    ],
)
def test_what_an_experiment_cannot_do_is_said(world, name, problem):
    with pytest.raises(ModelError, match=problem):
        run(*command(world, name))


def test_every_experiment_is_named_in_the_help():
    help_text = run("experiment", "--help").stdout
    assert all(name in help_text for name in EXPERIMENTS)
