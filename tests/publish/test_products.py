from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin
from rio_cogeo import cog_validate

from tasks.errors import RasterError, StorageError
from tasks.publish.products import replaced_together, write_cog, written_aside


@pytest.fixture
def score_tif(tmp_path: Path) -> Path:
    path = tmp_path / "score.tif"
    values = np.random.default_rng(0).integers(0, 256, (1, 1200, 1500), dtype=np.uint8)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=1500,
        height=1200,
        count=1,
        dtype="uint8",
        nodata=0,
        crs="EPSG:32632",
        transform=from_origin(700_000, 4_900_000, 10, 10),
        tiled=True,
    ) as dataset:
        dataset.write(values)
        dataset.scales, dataset.offsets = (1 / 254,), (-1 / 254,)
        dataset.set_band_description(1, "score")
    return path


def test_a_cog_is_valid_and_keeps_pixels_scale_nodata_and_tags(score_tif, tmp_path):
    cog = write_cog(
        score_tif,
        tmp_path / "out/score.tif",
        tags={"SCARP_RUN": "7"},
        overview_resampling="average",
    )
    valid, errors, warnings = cog_validate(cog)
    assert valid and not errors and not warnings
    with rasterio.open(cog) as made, rasterio.open(score_tif) as source:
        np.testing.assert_array_equal(made.read(), source.read())
        assert made.scales == source.scales
        assert made.offsets == source.offsets
        assert made.nodata == 0
        assert made.transform == source.transform
        assert made.descriptions == ("score",)
        assert made.tags()["SCARP_RUN"] == "7"
        assert made.overviews(1)


def test_writing_twice_gives_the_same_bytes_and_leaves_nothing_beside(score_tif, tmp_path):
    folder = tmp_path / "out"
    first = write_cog(score_tif, folder / "score.tif", tags={"A": "1"}).read_bytes()
    assert write_cog(score_tif, folder / "score.tif", tags={"A": "1"}).read_bytes() == first
    assert [path.name for path in folder.iterdir()] == ["score.tif"]


def test_a_source_that_is_no_raster_is_named(tmp_path):
    source = tmp_path / "notes.tif"
    source.write_text("not a raster")
    with pytest.raises(RasterError, match="notes.tif"):
        write_cog(source, tmp_path / "out.tif", tags={})


def test_a_truncated_source_leaves_the_old_product_alone(score_tif, tmp_path):
    product = tmp_path / "out/score.tif"
    before = write_cog(score_tif, product, tags={}).read_bytes()
    score_tif.write_bytes(score_tif.read_bytes()[:300_000])
    with pytest.raises((StorageError, RasterError), match="score.tif"):
        write_cog(score_tif, product, tags={})
    assert product.read_bytes() == before
    assert list(product.parent.iterdir()) == [product]


def test_a_parent_that_is_a_file_is_named(score_tif, tmp_path):
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(StorageError, match="out/score.tif"):
        write_cog(score_tif, tmp_path / "out" / "score.tif", tags={})


def test_a_full_device_is_named_and_leaves_nothing(tmp_path):
    destination = tmp_path / "report.html"
    with (
        pytest.raises(StorageError, match="no room to write .*report.html"),
        written_aside(destination) as aside,
    ):
        aside.symlink_to("/dev/full")
        aside.write_bytes(b"x" * 100_000)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_cleared_away_and_what_a_living_one_uses_is_not(tmp_path):
    script = """
import os, signal, sys
from pathlib import Path
from tasks.publish.products import written_aside
with written_aside(Path(sys.argv[1]) / "report.html") as aside:
    aside.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", script, tmp_path], check=False)
    (left,) = tmp_path.iterdir()
    with written_aside(tmp_path / "living.html") as living:
        for folder in (left, living.parent):
            os.utime(folder, (0, 0))
        with written_aside(tmp_path / "report.html") as aside:
            aside.write_text("whole")
        living.write_text("whole")
    assert {path.name for path in tmp_path.iterdir()} == {"report.html", "living.html"}


def test_a_cog_cut_short_by_the_disk_is_never_put_in_place(tmp_path):
    script = """
import resource, sys
from pathlib import Path
import numpy as np, rasterio
from tasks.errors import StorageError
from tasks.publish.products import write_cog
folder = Path(sys.argv[1])
noise = np.random.default_rng(1).integers(0, 255, (1, 600, 600)).astype("uint8")
profile = dict(driver="GTiff", width=600, height=600, count=1, dtype="uint8", crs="EPSG:32632",
    transform=rasterio.Affine(3, 0, 700000, 0, -3, 4900000))
with rasterio.open(folder / "source.tif", "w", **profile) as raster:
    raster.write(noise)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    write_cog(folder / "source.tif", folder / "out" / "score.tif", tags={})
except StorageError:
    print("refused")
"""
    command = [sys.executable, "-c", script, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "refused"
    assert list((tmp_path / "out").iterdir()) == []


def test_products_made_twice_at_once_are_all_of_one_making(tmp_path):
    folder, names, ready = tmp_path / "products", [str(number) for number in range(200)], Barrier(2)

    def make(maker):
        with replaced_together(folder, names) as made:
            for name in names:
                (made / name).write_text(maker)
            ready.wait()

    for _ in range(5):
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(make, ["one", "other"]))
        assert len({(folder / name).read_text() for name in names}) == 1
