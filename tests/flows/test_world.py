import os
from importlib.metadata import version

import pytest

from flows.world import code_version, require_room
from tasks.errors import StorageError


def test_a_folder_that_does_not_exist_yet_has_the_room_of_its_parent(tmp_path):
    require_room(tmp_path / "not" / "yet")
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="file is not a writable folder"):
        require_room(tmp_path / "file" / "home")


def test_a_full_disk_is_said_before_work_starts(tmp_path, monkeypatch):
    usage = os.statvfs(tmp_path)
    total = usage.f_blocks * usage.f_frsize / 1e6
    monkeypatch.setattr("flows.world.LEAST_FREE_MB", total + 1)
    with pytest.raises(StorageError, match="MB of disk left"):
        require_room(tmp_path / "home")


def test_products_name_the_commit_they_were_made_by():
    assert len(code_version().removesuffix("+dirty")) == 40


def test_a_machine_without_git_names_the_version(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert code_version.__wrapped__() == version("scarp")
