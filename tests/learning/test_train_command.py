"""`scarp train`: protocols, a run's folder, going on after kill -9, and what is refused."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from affine import Affine
from safetensors.torch import load_file
from typer.testing import CliRunner

from console.cli import app
from models.batches import Cuts, order_of
from models.cards import Card
from models.ensemble import Ensemble
from models.errors import ModelError
from models.recipes import Recipe
from models.registry import build
from models.samples import RGB, Entry, Sample
from models.training import Progress, train
from models.weights import load
from tasks.errors import StorageError
from tasks.learning.drafting import _quantiles
from tasks.learning.leaks import check_apart, overlapping
from tasks.learning.protocol import protocols, read_protocol
from tasks.learning.run import split_entries
from tasks.learning.scenes import scenes
from tasks.publish.products import held

TINY = """
network = "ldm-net-compact"
bands = ["red", "green", "blue"]
[options]
drop_path = 0.1
[recipe]
epochs = 3
batch = 4
accumulate = 2
crop = 32
rate = 1e-3
ema = 0.5
scales = [0.5, 2.0]
losses = { bce = 1.0, lovasz = 0.5 }
"""


@pytest.fixture
def world(tmp_path, write_picture, scene):
    """A protocol for seconds, and twelve tiles of Bijie as published, two of them validation."""
    (tmp_path / "tiny.toml").write_text(TINY)
    names = [*(f"df{n:03}" for n in range(9)), "wn001", "wn002", "hz001"]
    for number, name in enumerate(names):
        image, mask = scene(number, 40, (8, 28, 6, 30))
        write_picture(tmp_path / "bijie" / "landslide" / "image" / f"{name}.png", image)
        write_picture(tmp_path / "bijie" / "landslide" / "mask" / f"{name}.png", mask)
    return tmp_path


def command(world, out, *more):
    data = f"bijie={world / 'bijie'}"
    return ["train", str(world / "tiny.toml"), "--data", data, "-o", str(out), *more]


def run(*words):
    return CliRunner().invoke(app, list(words), catch_exceptions=False)


def refused(*words):
    result = CliRunner().invoke(app, list(words))
    assert isinstance(result.exception, ModelError), result.output
    return str(result.exception)


def test_a_run_killed_at_any_moment_ends_with_the_weights_of_one_that_was_not(world):
    run(*command(world, world / "whole"))
    words = [str(Path(sys.executable).parent / "scarp"), *command(world, world / "killed")]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    checkpoint = world / "killed" / "training.checkpoint"
    until = time.monotonic() + 120
    while not checkpoint.exists() and time.monotonic() < until:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert torch.load(checkpoint, weights_only=True)["epoch"] < 3, "killed on the way"
    assert not (world / "killed" / "tiny.safetensors").exists()
    run(*command(world, world / "killed"))
    whole, resumed = (load_file(world / n / "tiny.safetensors") for n in ("whole", "killed"))
    assert whole.keys() == resumed.keys()
    for name, value in whole.items():
        assert torch.equal(value, resumed[name]), name


def test_a_run_leaves_config_log_curves_and_weights_that_work(world):
    out = world / "run"
    done = run(*command(world, out, "--seed", "3", "--set", "epochs=2", "--json"))
    card = json.loads(done.stdout)
    assert card["scores"]["validation"]["n_tiles"] == 2 and card["scores"]["test"]["n_tiles"] == 1
    (held,) = card["scores"]["validation"]["sources"].values()
    assert 0 < card["sureness"] == held["sureness"] < 1
    assert card["regions"] == ["df"] and card["bands"] == ["red", "green", "blue"]
    assert card["gsd_range_m"] == pytest.approx([0.4, 1.6])
    config = json.loads((out / "config.json").read_text())
    assert config["protocol"]["recipe"]["seed"] == 3 and config["commit"]
    log = [json.loads(line) for line in (out / "training.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in log] == [1, 2]
    assert log[0].keys() == {"epoch", "loss", "rate", "score", "seconds"}
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")
    network, _ = load(out / "tiny.safetensors")
    assert network(torch.zeros(1, 3, 32, 32)).shape == (1, 1, 32, 32)
    words = ["evaluate", "--data", f"bijie={world / 'bijie'}", "--json"]
    again = json.loads(run(*words, "--weights", str(out / "tiny.safetensors")).stdout)
    assert again["micro"] == pytest.approx(card["scores"]["test"]["micro"])
    said = refused(*command(world, out, "--seed", "4", "--set", "epochs=2"))
    assert f"{out} holds another run: protocol.recipe.seed = 3 there and 4 here; give" in said
    # As if it had been killed between the last epoch and what it says of it.
    for name in ("training.jsonl", "curves.png"):
        (out / name).unlink()
    run(*command(world, out, "--seed", "3", "--set", "epochs=2"))
    assert len((out / "training.jsonl").read_text().splitlines()) == 2
    assert (out / "curves.png").exists()


def test_of_a_large_tile_a_card_keeps_the_quantiles_of_a_part(scene, monkeypatch):
    monkeypatch.setattr("tasks.learning.drafting.quantiles_of", lambda pixels: pixels.shape)
    large, small = (
        Sample("", image, mask > 0, mask < 2, RGB)
        for image, mask in (scene(size=600), scene(size=64))
    )
    card = Card("", "", {}, RGB, (1, 1), "", "", ())
    assert _quantiles([large, small], card) == (3, 600**2 // 6 + 64**2)


def test_a_run_is_not_gone_on_with_on_tiles_or_weights_that_changed(world, write_picture, scene):
    run(*command(world, world / "before", "--set", "epochs=1"))
    weights = world / "before" / "tiny.safetensors"
    words = [*command(world, world / "run", "--start", str(weights)), "--set", "epochs=1"]
    run(*words)
    config = (world / "run" / "config.json").read_bytes()
    run(*words)
    begun = f"{world / 'run'} was begun with other "
    mask = world / "bijie" / "landslide" / "mask" / "df001.png"
    whole = mask.read_bytes()
    write_picture(mask, np.zeros_like(scene(1, 40)[1]))
    assert f"{begun}tiles, masks or reviews than now lie" in refused(*words)
    mask.write_bytes(whole)
    shutil.rmtree(world / "before")
    run(*command(world, world / "before", "--set", "epochs=1", "--seed", "9"))
    assert f"{begun}weights than now lie" in refused(*words)
    assert (world / "run" / "config.json").read_bytes() == config


def test_a_full_disk_and_a_run_that_is_under_way_are_said(world):
    folder = world / "run"
    folder.mkdir()
    (folder / "training.part").symlink_to("/dev/full")
    words = command(world, folder, "--set", "epochs=1")
    full = CliRunner().invoke(app, words).exception
    assert isinstance(full, StorageError) and "run: free some disk space" in str(full)
    (folder / "training.part").unlink()
    with held(folder):
        assert "run: another command is at work there" in refused(*words)
    run(*words)


def test_who_is_taught_has_seen_what_its_teacher_saw(world):
    how = world / "teacher.toml"
    how.write_text(TINY)
    run("train", str(how), *command(world, world / "teacher")[2:])
    teacher = world / "teacher" / "teacher.safetensors"
    path = teacher.with_suffix(".json")
    path.write_text(path.read_text().replace('"df"', '"elsewhere"'))
    run(*command(world, world / "taught", "--teacher", str(teacher)))
    run(*command(world, world / "alone"))
    card = json.loads((world / "taught" / "tiny.json").read_text())
    assert card["regions"] == ["df", "elsewhere"] and "taught by teacher" in card["training_data"]
    digest = json.loads(path.read_text())["digest"]
    assert card["recipe"]["teachers"] == [{"name": "teacher", "digest": digest}]
    taught, alone = (load_file(world / name / "tiny.safetensors") for name in ("taught", "alone"))
    assert any(not torch.equal(value, alone[name]) for name, value in taught.items())
    said = refused(*command(world, world / "taught"))
    assert "holds another run: teachers = [" in said and "there and null here" in said


def test_joined_weights_answer_as_both_together_and_have_seen_what_either_saw(world):
    run(*command(world, world / "one", "--set", "epochs=1"))
    other = ("--set", "epochs=1", "--set", "network=efficient-unet")
    run(*command(world, world / "two", *other, "--set", "options={photographs=true}"))
    paths = [world / name / "tiny.safetensors" for name in ("one", "two")]
    card_of_two = paths[1].with_suffix(".json")
    card_of_two.write_text(card_of_two.read_text().replace('"df"', '"elsewhere"'))
    words = ("--data", f"bijie={world / 'bijie'}", "-o", str(world / "both"))
    run("model", "join", *map(str, paths), *words, "--name", "both")
    network, card = load(world / "both" / "both.safetensors")
    assert card.regions == ("df", "elsewhere") and card.architecture == "ensemble"
    assert [one["digest"] for one in card.recipe["mean of"]] == [load(p)[1].digest for p in paths]
    assert card.scores["validation"]["n_tiles"] == 2 and card.scores["test"]["n_tiles"] == 1
    assert card.sureness == card.scores["validation"]["sources"]["bijie"]["sureness"]
    x = torch.randn(1, 3, 40, 40)
    with torch.no_grad():
        both = Ensemble([load(path)[0].half().float() for path in paths])
        assert torch.allclose(network(x), both(x), atol=1e-5)
        assert not torch.allclose(network(x), network.members[0](x), atol=1e-2)
    again = ("model", "join", *map(str, paths), *words, "--name", "both")
    assert "both.safetensors: is there already" in refused(*again)
    assert "one alone makes no mean" in refused("model", "join", str(paths[0]), *words)
    odd = ("model", "join", *map(str, paths), *words, "--name", "a/b")
    assert "--name a/b: is a path" in refused(*odd)
    two = world / "two-bands.toml"
    two.write_text(TINY.replace('["red", "green", "blue"]', '["red", "green"]'))
    run("train", str(two), *command(world, world / "narrow", "--set", "epochs=1")[2:])
    narrow = str(world / "narrow" / "two-bands.safetensors")
    assert "both must be the same" in refused("model", "join", str(paths[0]), narrow, *words)


def test_the_mean_of_numbers_is_one_network_of_the_same_kind(world):
    run(*command(world, world / "one", "--set", "epochs=1"))
    run(*command(world, world / "two", "--set", "epochs=1", "--set", "seed=1"))
    one, two = (world / name / "tiny.safetensors" for name in ("one", "two"))
    words = ("--data", f"bijie={world / 'bijie'}", "-o", str(world / "mean"), "--numbers")
    words = (*words, "--composed", "2")
    run("model", "join", str(one), str(two), str(two), *words, "--name", "mean")
    network, card = load(world / "mean" / "mean.safetensors")
    assert card.architecture == load(one)[1].architecture and card.scores["test"]["n_tiles"] == 1
    kept = [dict(load(path)[0].float().named_parameters()) for path in (one, two)]
    for key, value in network.named_parameters():
        expected = (kept[0][key] + 2 * kept[1][key]) / 3
        assert torch.allclose(value, expected, rtol=2e-3, atol=1e-6)  # half precision
    assert [made["name"] for made in card.recipe["average of"]] == ["tiny"] * 3
    said = refused("model", "join", str(one), "ldm-net-rgb", *words, "--name", "odd")
    assert "ldm-net-rgb: is another network than tiny" in said


def test_weights_that_do_not_fit_are_refused_before_the_folder_is_taken(world):
    two = world / "two.toml"
    two.write_text(TINY.replace('["red", "green", "blue"]', '["red", "green"]'))
    words = ["train", str(two), *command(world, world / "run")[2:]]
    for option in ("--teacher", "--start"):
        said = refused(*words, option, "ldm-net-rgb")
        assert said.startswith("ldm-net-rgb: takes red, green, blue, the protocol red, green")
        assert "no weights named 'nobody'" in refused(*words, option, "nobody")
    assert not (world / "run").exists() or not list((world / "run").iterdir())


def test_a_band_that_only_a_tile_to_test_on_lacks_is_missed_before_anything_is_trained(
    world, write_picture, scene
):
    image, mask = scene(5, 40, (8, 28, 6, 30))
    place = world / "chips" / "test" / "here"
    write_picture(place / "image" / "a.tif", image[:2])
    write_picture(place / "mask" / "a.tif", mask)
    words = command(world, world / "run", "--data", f"chips={world / 'chips'}")
    assert "a.tif: band 'red' is missing" in refused(*words)
    assert not (world / "run").exists(), "the folder is free for the command put right"


def test_a_threshold_that_cannot_be_chosen_is_refused_before_anything_is_trained(
    world, write_picture
):
    for name in ("wn001", "wn002"):
        mask = world / "bijie" / "landslide" / "mask" / f"{name}.png"
        write_picture(mask, np.zeros((40, 40), np.uint8))
    words = command(world, world / "run", "--set", "threshold=0")
    assert "say which with --set threshold=0.5" in refused(*words)
    assert not (world / "run").exists() or not list((world / "run").iterdir())


def test_tiles_without_any_landslide_teach_nothing_and_are_refused(world, write_picture):
    for path in (world / "bijie" / "landslide" / "mask").glob("df*"):
        write_picture(path, np.zeros((40, 40), np.uint8))
    said = refused(*command(world, world / "run"))
    assert "none of the 9 tiles to learn from holds a landslide" in said
    assert not (world / "run").exists() or not list((world / "run").iterdir())


def test_any_network_is_saved_with_a_card_that_builds_it(world):
    changes = ("--set", "epochs=1", "--set", "network=pidnet", "--set", "options={}")
    run(*command(world, world / "run", *changes))
    network, card = load(world / "run" / "tiny.safetensors")
    assert card.architecture == "pidnet" and card.options == {"bands": 3}
    assert network(torch.zeros(1, 3, 32, 32)).shape == (1, 1, 32, 32)


def test_the_papers_protocols_say_what_the_papers_say():
    kept = {name: read_protocol(name) for name in protocols()}
    scgc, gdcld, lmhld = (kept[name].recipe for name in ("scgc-net", "gdcld", "lmhld"))
    assert kept["ldm-net"].recipe.losses == {"bce": 1.0} and kept["ldm-net"].threshold == 0.5
    assert scgc.losses == {"dynamic_weighted_ce": 0.4, "focal": 0.4, "lovasz": 0.2}
    assert (scgc.optimiser, scgc.rate, scgc.decay) == ("adam", 2e-4, 1e-4)
    assert (scgc.schedule, scgc.batch, scgc.epochs, scgc.turns) == ("cosine", 16, 400, False)
    assert (gdcld.optimiser, gdcld.rate, gdcld.decay, gdcld.epochs) == ("adamw", 6e-4, 0.01, 100)
    assert (lmhld.optimiser, lmhld.rate, lmhld.gamma, lmhld.epochs) == ("sgd", 1e-2, 0.99, 300)
    assert kept["lmhld-part"].serial.shallow and kept["lmhld-part"].recipe.rate == 1e-2
    assert [name for name in kept if not kept[name].network] == ["reviews"]
    for protocol in (kept[name] for name in kept if kept[name].network):
        with torch.device("meta"):
            build(protocol.network, len(protocol.bands), **protocol.options)


def test_lmhld_part_trains_on_one_dataset_after_the_other(world, write_picture, scene):
    for area, size in (("Gorkha", 32), ("Hokkaido", 48)):
        for split, count in (("train", 4), ("val", 1)):
            for number in range(count):
                image, mask = scene(100 * number + size + count, size, (4, 20, 4, 20))
                place = world / "lmhld" / area / split
                write_picture(place / "image" / f"{number}.tif", np.concatenate([image, image[:1]]))
                write_picture(place / "label" / f"{number}.tif", mask)
    out = world / "part"
    words = ["train", "lmhld-part", "-o", str(out), "--set", "epochs=1", "--set", "batch=4"]
    run(*words, "--data", f"lmhld={world / 'lmhld'}")
    first, second = (
        torch.load(out / f"stage-{n}.checkpoint", weights_only=True)["network"] for n in (0, 1)
    )
    frozen = "network.conv_0.conv_1.conv.weight"
    assert torch.equal(first[frozen], second[frozen])
    for name in ("network.conv_0.conv_0.conv.weight", "network.upcat_1.convs.conv_0.conv.weight"):
        assert not torch.equal(first[name], second[name])


def square(west, south):
    return ((west, south + 1), (west + 1, south + 1), (west + 1, south), (west, south))


def entry(name, image, split, footprint=None):
    shape = image.shape[1:]
    sample = Sample(
        name, image, np.zeros(shape, bool), np.ones(shape, bool), ("red", "green", "blue"),
        split=split, footprint=footprint,
    )  # fmt: skip
    return Entry(name, lambda: sample, source="s", split=split)


def test_tiles_of_two_splits_with_the_same_pixels_or_ground_are_refused(tmp_path, scene):
    one, other, third = (scene(seed)[0] for seed in (1, 2, 3))
    with pytest.raises(ModelError, match=r"s/b \(test\) holds the same pixels as s/a \(train\)"):
        check_apart([entry("a", one, "train"), entry("b", one.copy(), "test")])
    with pytest.raises(ModelError, match=r"s/b \(test\) holds .* as s/a \(validation\)"):
        check_apart([entry("a", one, "validation"), entry("b", one.copy(), "test")])
    check_apart([entry("a", one, "test"), entry("b", one.copy(), "test")])
    left, touching, over = square(0, 0), square(1, 0), square(0.9, 0)
    check_apart([entry("a", one, "train", left), entry("b", other, "test", touching)])
    for split in ("train", "validation"):
        with pytest.raises(ModelError, match=rf"s/c \(test\) lies on .* s/a \({split}\)"):
            check_apart([entry("a", one, split, left), entry("c", third, "test", over)])
    blank = np.zeros((3, 8, 8), np.uint8)
    check_apart([entry("a", blank, "train"), entry("b", blank, "test")])


def test_tiles_across_the_180th_meridian_lie_on_those_east_of_it():
    def tile(west, east):
        return ((west, -17.0), (east, -17.0), (east, -17.1), (west, -17.1))

    assert overlapping([tile(179.9, 180.1), tile(-179.95, -179.85)]) == [(0, 1)]
    assert overlapping([tile(-179.95, -179.85), tile(179.95, 180.1)]) == [(0, 1)]
    assert overlapping([tile(179.9, 180.1), tile(180.0, 180.2)]) == [(0, 1)]
    assert overlapping([tile(179.9, 180.1), tile(-179.9, -179.8)]) == []
    assert overlapping([tile(179.8, 179.9), tile(-179.95, -179.85)]) == [] == overlapping([])


def test_tiles_to_test_on_that_nobody_saw_are_refused_before_anything_is_trained(scene):
    def unseen(name, split):
        seen = entry(name, scene()[0], split).read()
        return Entry(name, lambda: replace(seen, valid=~seen.valid), source="s", split=split)

    tiles = [unseen("a", "train"), unseen("b", "validation"), unseen("c", "test")]
    with pytest.raises(ModelError, match=r"is valid of s/b \(validation\), s/c \(test\); leave"):
        check_apart(tiles)


def test_train_refuses_tiles_that_leak_between_splits(world):
    image = world / "bijie" / "landslide" / "image"
    (image / "hz001.png").write_bytes((image / "df003.png").read_bytes())
    said = refused(*command(world, world / "run"))
    assert "bijie/hz001 (test) holds the same pixels as bijie/df003 (train)" in said
    assert not (world / "run" / "config.json").exists()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("epochs=0", "epochs = 0 makes no sense; give 1 or more"),
        ("steps=-1", "steps = -1 makes no sense; give 1 or more, or 0 for"),
        ("batch=0", "batch = 0 makes no sense; give 1 or more"),
        ("rate=0", "rate = 0.0 makes no sense; give more than 0"),
        ("scales=[2, 1]", "scales = (2.0, 1.0) makes no sense; give [least, most]"),
        ("gsd_m=[0, 1]", "gsd_m = (0.0, 1.0) makes no sense; give [finest, coarsest] in metres"),
        ("seed=-1", "seed = -1 makes no sense; give 0 to"),
        ("resize=9999999", "resize = 9999999 makes no sense; give a side of up to 4096 pixels"),
        ("options={foo=3}", "has no option 'foo'; there are bands, width, depths"),
        ("optimiser=rmsprop", "optimiser = 'rmsprop' makes no sense"),
        ("losses={dice=1.0}", "there are bce, dynamic_weighted_ce, focal, lovasz"),
        ("losses={bce=0.0}", "give weights of 0 or more, not all 0"),
        ("epohcs=3", "--set epohcs=3: a protocol has no 'epohcs'; did you mean epochs?"),
        ("epochs=abc", "recipe.epochs = 'abc' makes no sense"),
        ("batch=2.5", "recipe.batch = 2.5 makes no sense"),
        ("scales=[1]", "recipe.scales"),
        ("bands=red", "bands = 'red' makes no sense"),
        ('bands=["red", "red"]', "name each once"),
        ("options=5", "options = 5 makes no sense"),
        ("options={width=0}", "sizes must be positive"),
        ("options={bands=3}", "bands are those of the protocol"),
        ("threshold=2", "threshold = 2 makes no sense"),
        ("threshold=nan", "threshold = nan makes no sense"),
        ("flips=3", "flips = 3.0 makes no sense"),
        ("rate=nan", "rate = nan makes no sense"),
        ("crop=100000", "crop = 100000 makes no sense; give 1 to 4096 pixels"),
        ("accumulate=64", "accumulate = 64 makes no sense; give 1 to batch = 4"),
        ("rate=1e30", "training diverged; lower the rate"),
        ("network=segfromer", "no network is called"),
        ("patience", "give a change as KEY=VALUE"),
        ("batch=64", "9 tiles do not fill a batch of 64"),
    ],
)
def test_wrong_protocols_are_refused(world, text, says):
    assert says in refused(*command(world, world / "run", "--set", text))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("threshhold = 0.3", "a protocol has no 'threshhold'; did you mean threshold?"),
        ("[recipe]\nepoch = 3", "[recipe] has no 'epoch'; did you mean epochs?"),
        ("[serial]\ndeep = []", "[serial] has no 'deep'; there are input, shallow"),
        ("recipe = 3", "recipe = 3 makes no sense; write a table [recipe]"),
        (
            'name = "a/b"',
            "name a/b: is a path, or no name at all; give a name of letters and digits",
        ),
        (
            'name = ".."',
            "name ..: is a path, or no name at all; give a name of letters and digits",
        ),
    ],
)
def test_a_protocol_with_a_key_that_means_nothing_is_refused(tmp_path, text, says):
    path = tmp_path / "odd.toml"
    path.write_text(text)
    with pytest.raises(ModelError) as refusal:
        read_protocol(str(path), ["epochs=2"])
    assert str(refusal.value) == f"{path}: {says}"


@pytest.mark.parametrize("stem", ["config", "scores"])
def test_weights_never_take_the_place_of_what_a_run_keeps(tmp_path, stem):
    path = tmp_path / f"{stem}.toml"
    path.write_text("threshold = 0.3")
    with pytest.raises(ModelError, match=rf"take the place of the run's {stem}\.json"):
        read_protocol(str(path))
    path.write_text(f'threshold = 0.3\nname = "my {stem}"')
    assert read_protocol(str(path)).name == f"my {stem}"


def test_unknown_protocols_and_broken_files_are_named(world):
    (world / "broken.toml").write_text("network = ")
    with pytest.raises(ModelError, match="broken.toml is not TOML"):
        read_protocol(str(world / "broken.toml"))
    with pytest.raises(ModelError, match="did you mean scgc-net"):
        read_protocol("scgcnet")
    (world / "other").mkdir()
    (world / "other" / "config.json").write_text("[]")
    assert "config.json: is not the config" in refused(*command(world, world / "other"))
    (world / "run").mkdir()
    (world / "run" / "training.checkpoint").write_bytes(b"no checkpoint")
    assert "training.checkpoint: is no checkpoint" in refused(*command(world, world / "run"))


def test_a_test_event_is_never_learnt_from(tmp_path, write_picture, scene):
    import geopandas as gpd
    from shapely.geometry import box

    grid = Affine(5, 0, 600000, 0, -5, 4700000)
    write_picture(tmp_path / "scene.tif", scene()[0], crs="EPSG:32654", transform=grid)
    shape = box(600050, 4699800, 600200, 4699950)
    gpd.GeoDataFrame(geometry=[shape], crs="EPSG:32654").to_file(tmp_path / "drawn.gpkg")
    words = ["train", "compact", "--data", f"hokkaido2018={tmp_path}", "-o", str(tmp_path / "run")]
    assert "the split 'train' is empty" in refused(*words)
    with pytest.raises(ModelError, match="one group of tiles"):
        split_entries(scenes(tmp_path))


class OneLayer(torch.nn.Module):
    """The least network: what the loop does to it is easily foreseen."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Conv2d(3, 1, 3, padding=1)

    def forward(self, x, valid=None):
        return self.layer(x)


def learn(entries, recipe, where, **progress):
    torch.manual_seed(0)
    network = OneLayer()
    cuts = Cuts(entries, ("red", "green", "blue"))
    return train(network, cuts, recipe, where, progress=Progress(**progress)).state_dict()


@pytest.fixture
def entries(scene):
    found = []
    for seed in range(4):
        image, mask = scene(seed, 32, (8, 24, 8, 24))
        valid = np.ones_like(mask, bool)
        sample = Sample(str(seed), image, mask > 0, valid, ("red", "green", "blue"))
        found.append(Entry(str(seed), lambda sample=sample: sample, source=f"s{seed % 2}"))
    return found


def test_gradients_added_up_are_those_of_the_whole_batch(entries, tmp_path):
    whole = Recipe(epochs=1, batch=4, crop=32, losses={"bce": 1.0}, optimiser="sgd", rate=0.1)
    once = learn(entries, whole, tmp_path / "once")
    parts = learn(entries, replace(whole, accumulate=2), tmp_path / "parts")
    for name, value in once.items():
        torch.testing.assert_close(value, parts[name], atol=1e-5, rtol=1e-4)


def test_the_best_weights_are_kept_and_training_stops_when_nothing_improves(entries, tmp_path):
    seen, given = [], iter([0.1, 0.9, 0.5, 0.6, 0.7, 0.8])

    def judge(network):
        seen.append({k: v.clone() for k, v in network.state_dict().items()})
        return next(given)

    recipe = Recipe(epochs=6, batch=4, crop=32, patience=2)
    best = learn(entries, recipe, tmp_path / "run", judge=judge)
    assert len(seen) == 4, "two epochs without a better score"
    assert all(torch.equal(value, best[name]) for name, value in seen[1].items())


def test_sources_are_drawn_equally_often():
    class Unequal:
        sources = ["few"] * 10 + ["many"] * 90

    dice = torch.Generator().manual_seed(0)
    recipe = Recipe(batch=10, balance=True)
    drawn = np.concatenate([order_of(Unequal(), recipe, dice).ravel() for _ in range(20)])
    assert (drawn < 10).mean() == pytest.approx(0.5, abs=0.04)


def test_cuts_of_small_tiles_are_filled_with_what_nobody_saw(entries):
    recipe, dice = Recipe(crop=48, scales=(1.0, 1.0)), torch.Generator().manual_seed(0)
    pixels, truth, valid, _ = Cuts(entries, ("red",)).draw(np.arange(4), recipe, dice)
    assert pixels.shape == (4, 1, 48, 48) and valid.sum() == 4 * 32 * 32
    assert truth.sum() == 4 * 16 * 16 and not (truth & ~valid).any()
    pixels, truth, valid, _ = Cuts(entries, ("red",), resize=64).draw(np.arange(4), recipe, dice)
    assert valid.all() and truth.any()


def test_reviews_go_on_from_whatever_network_the_weights_are_of(world):
    short = ["--set", "steps=2", "--set", "batch=2", "--set", "crop=32"]
    words = ["train", "reviews", "--data", f"bijie={world / 'bijie'}", "-o", str(world / "more")]
    assert "say with --start from which" in refused(*words, *short)
    assert not (world / "more").exists()
    result = run(*words, *short, "--start", "ensemble-rgb")
    assert result.exit_code == 0, result.output
    (network, card), (_, before) = (
        load(world / "more" / "reviews.safetensors"),
        load("ensemble-rgb"),
    )
    assert card.architecture == "ensemble" and card.options == before.options
    assert card.licence == before.licence
    assert (card.recipe["start"], card.recipe["data"]) == ("ensemble-rgb", ["bijie"])
    assert str(world) not in json.dumps(card.recipe), "a card leaves this machine"
    assert len(network.members) == 2


def test_a_protocol_names_network_and_bands_or_neither(world):
    (world / "half.toml").write_text('network = "unet"\n[recipe]\nepochs = 1\n')
    words = ["train", str(world / "half.toml"), "--data", f"bijie={world / 'bijie'}", "-o", "x"]
    assert "network and bands go together" in refused(*words)
