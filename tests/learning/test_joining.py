"""`scarp model join`: what is refused before anything is scored."""

import numpy as np
import pytest

from flows.train_protocol import join as join_by_name
from models.errors import ModelError
from models.samples import RGB, Entry, Sample
from models.weights import load
from tasks.errors import StorageError
from tasks.learning.joining import join_weights

TWO = ("ldm-net-rgb", "ldm-net-rgb-without-l4s")


def join(names, entries, folder, **how):
    join_weights(names, "joined", entries, folder, lambda stage, done, total: None, **how)


def bare(split):
    """A tile without a landslide."""
    seen = np.ones((32, 32), bool)
    sample = Sample("bare", np.zeros((3, 32, 32), np.uint8), ~seen, seen, RGB, split=split)
    return Entry("bare", lambda: sample, "", "ours", split)


def scarred(split):
    """A tile with one."""
    seen, mask = np.ones((32, 32), bool), np.zeros((32, 32), bool)
    mask[8:20, 8:20] = True
    pixels = np.where(mask, 200, 60).astype(np.uint8)[None].repeat(3, axis=0)
    return Entry("scar", lambda: Sample("scar", pixels, mask, seen, RGB), "", "ours", split)


def test_a_joining_that_was_killed_before_its_card_goes_on_and_a_whole_one_is_kept(tmp_path):
    (tmp_path / "joined.safetensors").write_bytes(b"what was written before the card")
    join(TWO, [scarred("validation")], tmp_path, numbers=True)
    assert load(tmp_path / "joined.safetensors")[1].name == "joined"
    with pytest.raises(ModelError, match=r"joined\.safetensors: is there already"):
        join(TWO, [scarred("validation")], tmp_path, numbers=True)


def test_a_folder_that_cannot_be_written_is_said_before_anything_is_read(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="file is not a writable folder"):
        join_by_name(TWO, ["bijie=nowhere"], tmp_path / "file", "joined")


@pytest.mark.parametrize("numbers", [True, False])
def test_the_same_weights_twice_make_no_mean(tmp_path, numbers):
    with pytest.raises(ModelError, match="ldm-net-rgb ldm-net-rgb: one alone makes no mean"):
        join(["ldm-net-rgb", "ldm-net-rgb"], [bare("validation")], tmp_path, numbers=numbers)


def test_without_a_tile_to_choose_on_it_is_said_which_splits_there_are(tmp_path):
    with pytest.raises(ModelError, match="'validation' is empty; .* train 0, .* test 1"):
        join(TWO, [bare("test")], tmp_path)


def test_without_a_landslide_to_choose_by_only_what_can_be_done_is_said(tmp_path):
    with pytest.raises(ModelError, match="none of the 1 validation tiles of --data") as said:
        join(TWO, [bare("validation")], tmp_path)
    assert "--set" not in str(said.value)
