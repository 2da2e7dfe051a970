import json
from pathlib import Path

import numpy as np
import pytest
import torch

from models import cards, weights
from models.cards import Card
from models.errors import ModelError
from models.ldmnet import ldmnet
from models.normalisation import Normalisation, Statistics


def card_of(network, name="ours") -> Card:
    return Card(
        name=name,
        architecture="ldm-net",
        options=network.description,
        bands=("red", "green", "blue"),
        gsd_range_m=(4.0, 10.0),
        training_data="none",
        licence="Apache-2.0",
        regions=(),
    )


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    network = ldmnet("compact")
    weights.save(network, card_of(network), tmp_path)
    return tmp_path / "ours.safetensors"


def edit(path: Path, **changes: object) -> None:
    card = path.with_suffix(".json")
    card.write_text(json.dumps(json.loads(card.read_text()) | changes))


def test_what_is_loaded_scores_as_what_was_saved(tmp_path):
    network = ldmnet("compact").eval()
    card = weights.save(network, card_of(network), tmp_path)
    loaded, read = weights.load(tmp_path / "ours.safetensors")
    x = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(loaded(x), network(x))
    assert not loaded.training
    assert read == card
    assert read.digest == weights.digest_of(tmp_path / "ours.safetensors")
    assert {path.suffix for path in tmp_path.iterdir()} == {".safetensors", ".json"}


@pytest.mark.parametrize("name", sorted(cards.available()))
def test_shipped_weights_load_and_are_described(name):
    network, card = weights.load(name)
    assert card.name == name
    assert card.licence
    assert card.regions
    assert card.scores
    assert 0 < card.threshold < 1
    assert card.gsd_range_m[0] < card.gsd_range_m[1]
    assert cards.available()[name].stat().st_size < 10e6
    with torch.no_grad():
        assert network(torch.zeros(1, len(card.bands), 64, 64)).shape == (1, 1, 64, 64)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".pkl", ".bin"])
def test_a_pickle_is_refused_unopened(tmp_path, suffix):
    path = tmp_path / f"weights{suffix}"
    torch.save({}, path)
    with pytest.raises(ModelError, match=r"weights\.p?\w+: is a pickle"):
        weights.load(path)


def test_a_pickle_renamed_is_refused_too(saved):
    torch.save({}, saved)
    edit(saved, digest=weights.digest_of(saved))
    with pytest.raises(ModelError, match="ours.safetensors: is a pickle"):
        weights.load(saved)


def test_a_truncated_file_is_refused(saved):
    saved.write_bytes(saved.read_bytes()[:-1000])
    with pytest.raises(ModelError, match="truncated or was changed"):
        weights.load(saved)
    edit(saved, digest=weights.digest_of(saved))
    with pytest.raises(ModelError, match="does not hold"):
        weights.load(saved)


def test_options_that_change_no_array_are_those_of_the_training(saved):
    options = json.loads(saved.with_suffix(".json").read_text())["options"]
    edit(saved, options=options | {"magnify": 2})
    with pytest.raises(ModelError, match=r"was trained as .*, its card says .*\"magnify\": 2"):
        weights.load(saved)


def test_weights_of_another_configuration_are_refused(saved):
    edit(saved, options=ldmnet("tiny").description)
    with pytest.raises(ModelError, match="ours.safetensors: does not hold a ldm-net with"):
        weights.load(saved)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"architecture": "ldmnet2"}, "unknown architecture 'ldmnet2'"),
        ({"options": {"width": 3}}, "options do not fit"),
        ({"options": {"ffn": "none", "depths": [1, 1, 1, 1]}}, "ffn is 'global' or 'mlp'"),
        ({"bands": None}, "ours.json: is not a card of weights: bands = None: .* valid array"),
        ({"bands": "rgb"}, "bands = 'rgb': .* valid array"),
        ({"bands": ["red", "green"]}, "name each of the network's 3 bands once"),
        ({"bands": ["red", "green", "red"]}, "name each of the network's 3 bands once"),
        (
            {"normalisation": {"kind": "scene-standard", "power": 2}},
            r"normalisation\.power is nothing",
        ),
        ({"normalisation": {"clip": 0}}, r"normalisation\.clip = 0: .* above 0"),
        ({"normalisation": {"quantiles": 1}}, r"normalisation\.quantiles = 1"),
        ({"threshold": "x"}, "threshold = 'x': .* valid number"),
        ({"threshold": None}, "threshold = None: .* valid number"),
        ({"threshold": True}, "threshold = True: .* valid number"),
        ({"threshold": 7}, "threshold = 7: .* less than 1"),
        ({"threshold": float("nan")}, "threshold = nan"),
        ({"gsd_range_m": "x"}, "gsd_range_m = 'x': .* valid array"),
        ({"gsd_range_m": [1]}, "it has no gsd_range_m.1"),
        ({"gsd_range_m": [5, -1]}, r"gsd_range_m\.1 = -1: .* greater than 0"),
        ({"gsd_range_m": [9, 4]}, r"gsd_range_m = \[9.0, 4.0\]: give the finest pixel first"),
        ({"name": "../ours"}, "name = '../ours'"),
    ],
)
def test_a_card_that_cannot_be_followed_is_refused(saved, changes, sentence):
    edit(saved, **changes)
    with pytest.raises(ModelError, match=sentence):
        weights.load(saved)


def test_a_card_that_is_a_list_is_refused(saved):
    saved.with_suffix(".json").write_text("[]")
    with pytest.raises(ModelError, match="ours.json: is not a card"):
        weights.load(saved)


def test_a_card_without_a_field_is_refused(saved):
    card = saved.with_suffix(".json")
    card.write_text(card.read_text().replace('"licence"', '"license"'))
    with pytest.raises(ModelError, match="ours.json: is not a card of weights: it has no licence"):
        weights.load(saved)


def test_a_missing_card_is_named(saved):
    saved.with_suffix(".json").unlink()
    with pytest.raises(ModelError, match="ours.json: the card of ours.safetensors is missing"):
        weights.load(saved)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ModelError, match="none.safetensors: no such file"):
        weights.load(tmp_path / "none.safetensors")


@pytest.mark.skipif(not cards.available(), reason="no weights are shipped yet")
def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(ModelError, match="no weights named 'ldm-net-tinny'; did you mean 'ldm-net"):
        weights.load("ldm-net-tinny")


def test_normalising_is_relative_to_the_scene_and_marks_invalid_pixels_zero():
    scene = np.random.default_rng(0).normal(50, 20, (3, 40, 40))
    known = Statistics.of(scene.reshape(3, -1))
    as_8_bit = Normalisation().apply(scene, known)
    reflectance = scene * 1e-4 + 0.1
    as_reflectance = Normalisation().apply(reflectance, Statistics.of(reflectance.reshape(3, -1)))
    assert as_8_bit.dtype == np.float32
    assert np.allclose(as_8_bit, as_reflectance, atol=1e-4)

    scene[:, 3, 4], scene[0, 5, 5] = np.nan, 1e6
    z = Normalisation().apply(scene, known)
    assert (z[:, 3, 4] == 0).all()
    assert z[0, 5, 5] == 5
    assert np.abs(z).max() <= 5


def test_a_band_without_contrast_becomes_zero():
    flat = np.full((1, 4, 4), 7, np.uint8)
    assert (Normalisation().apply(flat, Statistics.of(flat.reshape(1, -1))) == 0).all()
