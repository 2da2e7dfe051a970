import asyncio
import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from tasks.errors import AccessError, CatalogError, RasterError, StorageError, TransientError
from tasks.imagery.cache import Cache, Download

LOOPBACK = ("127.0.0.1",)


@pytest.fixture
def cache(tmp_path) -> Cache:
    return Cache(tmp_path / "cache", stall_s=0.5, wait_s=0.01)


@pytest.fixture
def image(write_tif, tmp_path) -> Path:
    noise = np.random.default_rng(0).integers(0, 255, (1, 300, 300), dtype=np.uint8)
    return write_tif("served/scene.tif", noise)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def parts(cache: Cache) -> list[Path]:
    return [path for path in cache.folder.glob("partial/*") if not path.suffix]


def objects(cache: Cache) -> list[Path]:
    return sorted(cache.folder.glob("objects/*/*"))


def test_a_file_is_fetched_once_and_named_by_its_content(cache, image, serve, tmp_path):
    server = serve(image.parent)
    wanted = Download(f"{server.url}/scene.tif?token=first", LOOPBACK)
    again = Download(f"{server.url}/scene.tif?token=second", LOOPBACK)
    for number, download in enumerate((wanted, again)):
        placed = cache.fetch(download, tmp_path / f"{number}" / "scene.tif")
        assert placed.read_bytes() == image.read_bytes()
    assert server.requested == ["/scene.tif"]
    assert [path.name for path in objects(cache)] == [f"{sha256(image)}.tif"]
    assert not any(cache.folder.glob("partial/*"))
    assert b"token" not in b"".join(
        path.read_bytes() for path in cache.folder.glob("index/*") if path.is_file()
    )


def breaking_off(image: Path, asked: list[str]) -> Route:
    """Serves at most a third of the file at a time, then breaks the connection."""
    content, tag = image.read_bytes(), '"one"'
    third = len(content) // 3 + 1

    async def answer(request: Request) -> Response:
        asked.append(request.headers.get("range", ""))
        start = int(asked[-1].removeprefix("bytes=").rstrip("-") or 0) if asked[-1] else 0
        assert not start or request.headers["if-range"] == tag

        async def part():
            yield content[start : start + third]
            if start + third < len(content):
                raise ConnectionResetError

        headers = {"ETag": tag, "Content-Length": str(len(content) - start)}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        return StreamingResponse(part(), 206 if start else 200, headers)

    return Route("/broken.tif", answer)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_download_that_breaks_off_goes_on_where_it_was(cache, image, serve, tmp_path):
    asked: list[str] = []
    url = f"{serve(tmp_path, (breaking_off(image, asked),)).url}/broken.tif"
    told: list[str] = []
    placed = cache.fetch(Download(url, LOOPBACK), tmp_path / "out.tif", told.append)
    assert sha256(placed) == sha256(image)
    starts = [int(text.removeprefix("bytes=").rstrip("-") or 0) for text in asked]
    assert starts == sorted(starts)
    assert len(set(starts)) == len(starts) == 3
    assert all("broke off" in sentence for sentence in told)


def test_another_process_takes_over_what_a_killed_one_left(cache, image, serve, tmp_path):
    """The child hangs on a stalled server and is killed; its bytes are not asked for again."""
    content, asked = image.read_bytes(), []

    async def answer(request: Request) -> Response:
        asked.append(request.headers.get("range", ""))
        if len(asked) > 1:
            return FileResponse(image)

        async def half():
            yield content[:50_000]
            await asyncio.sleep(60)

        return StreamingResponse(half(), headers={"Content-Length": str(len(content))})

    url = f"{serve(tmp_path, (Route('/x.tif', answer),)).url}/x.tif"
    wanted = f"Download({url!r}, ('127.0.0.1',), digests={{'sha256': {sha256(image)!r}}})"
    script = f"""
from pathlib import Path
from tasks.imagery.cache import Cache, Download
Cache(Path({str(cache.folder)!r})).fetch({wanted}, Path({str(tmp_path / "a.tif")!r}))
"""
    child = subprocess.Popen([sys.executable, "-c", script], cwd=Path(__file__).parents[2])
    while not (had := sum(path.stat().st_size for path in parts(cache))):
        assert child.poll() is None
        time.sleep(0.02)
    child.kill()
    child.wait()
    had = sum(path.stat().st_size for path in parts(cache))
    placed = cache.fetch(
        Download(url, LOOPBACK, digests={"sha256": sha256(image)}), tmp_path / "a.tif"
    )
    assert sha256(placed) == sha256(image)
    assert asked == ["", f"bytes={had}-"]


def test_two_processes_fetch_one_file_once(cache, image, serve, tmp_path):
    server = serve(image.parent)
    script = f"""
import sys
from pathlib import Path
from tasks.imagery.cache import Cache, Download
wanted = Download({server.url + "/scene.tif"!r}, ("127.0.0.1",))
Cache(Path({str(cache.folder)!r})).fetch(wanted, Path(sys.argv[1]))
"""
    outs = [tmp_path / "one.tif", tmp_path / "two.tif"]
    children = [
        subprocess.Popen([sys.executable, "-c", script, out], cwd=Path(__file__).parents[2])
        for out in outs
    ]
    assert [child.wait(timeout=120) for child in children] == [0, 0]
    assert {sha256(out) for out in outs} == {sha256(image)}
    assert server.requested == ["/scene.tif"]


@pytest.mark.parametrize(
    ("content", "kind", "reason"),
    [
        (b"<html>sign in</html>", "text/html", "is a web page and no .tif"),
        (b"<html>sign in</html>", "image/tiff", "is no TIFF, whatever its name says"),
        ("cut", "image/tiff", "is a TIFF cut short or damaged"),
    ],
)
def test_what_is_no_whole_image_is_never_kept(cache, image, serve, tmp_path, content, kind, reason):
    sent = image.read_bytes()[:40_000] if content == "cut" else content
    route = Route("/x.tif", lambda request: Response(sent, media_type=kind))
    url = f"{serve(tmp_path, (route,)).url}/x.tif"
    with pytest.raises(RasterError, match=reason):
        cache.fetch(Download(url, LOOPBACK), tmp_path / "x.tif")
    assert objects(cache) == []
    assert not (tmp_path / "x.tif").exists()


@pytest.mark.parametrize(
    ("promise", "reason"),
    [
        ({"size": 10}, r"has \d+ of 10 bytes"),
        ({"digests": {"md5": "0" * 32}}, "has the md5 .*, 0+ was promised"),
    ],
)
def test_what_is_not_as_promised_is_fetched_once_more_and_then_refused(
    cache, image, serve, tmp_path, promise, reason
):
    server = serve(image.parent)
    with pytest.raises(RasterError, match=reason):
        cache.fetch(Download(f"{server.url}/scene.tif", LOOPBACK, **promise), tmp_path / "x.tif")
    assert server.requested == ["/scene.tif"] * 2
    assert objects(cache) == []


def test_the_files_used_longest_ago_go_first_and_those_placed_stay(cache, serve, tmp_path):
    folder = tmp_path / "served"
    folder.mkdir()
    for name in "abc":
        (folder / name).write_bytes(name.encode() * 1000)
    server = serve(folder)
    small = Cache(cache.folder, limit_bytes=2500)
    for age, name in enumerate("abac"):
        small.fetch(Download(f"{server.url}/{name}", LOOPBACK), tmp_path / name)
        for kept in objects(small):
            stat = kept.stat()
            os.utime(kept, (stat.st_atime, stat.st_mtime - 100 + age))
    kept = {path.read_bytes()[:1] for path in objects(small)}
    assert kept == {b"a", b"c"}
    assert (tmp_path / "b").read_bytes() == b"b" * 1000
    assert server.requested == ["/a", "/b", "/c"]
    with pytest.raises(StorageError, match="SCARP_IMAGERY_CACHE_GB"):
        small.fetch(Download(f"{server.url}/a", LOOPBACK, "new", size=3000), tmp_path / "d")


def test_a_download_that_nobody_took_up_again_does_not_fill_the_disk(cache, image, serve, tmp_path):
    old, new = (cache.folder / "partial" / name for name in ("old", "new"))
    old.parent.mkdir(parents=True)
    for part, days in ((old, 8), (new, 6)):
        part.touch()
        os.utime(part, (0, time.time() - days * 86_400))
    url = f"{serve(image.parent).url}/scene.tif"
    cache.fetch(Download(url, LOOPBACK), tmp_path / "x.tif")
    assert parts(cache) == [new]


@pytest.mark.parametrize(
    ("status", "error"),
    [(403, AccessError), (404, CatalogError), (503, TransientError), (429, TransientError)],
)
def test_answers_worth_another_try_are_told_from_the_others(
    cache, image, serve, tmp_path, status, error
):
    server = serve(image.parent)
    server.faults["scene.tif"] = (status, "")
    with pytest.raises(error, match=f"scene.tif answered HTTP {status}"):
        cache.fetch(Download(f"{server.url}/scene.tif?token=x", LOOPBACK), tmp_path / "x.tif")
    assert len(server.requested) == (4 if error is TransientError else 1)


def test_a_redirection_leads_to_allowed_hosts_only(cache, image, serve, tmp_path):
    other = f"{serve(image.parent).url}/scene.tif".replace("127.0.0.1", "localhost")
    route = Route("/x.tif", lambda request: RedirectResponse(other))
    url = f"{serve(tmp_path, (route,)).url}/x.tif"
    with pytest.raises(AccessError, match="lies on localhost, which is no host of its source"):
        cache.fetch(Download(url, LOOPBACK), tmp_path / "x.tif")
    placed = cache.fetch(Download(url, (*LOOPBACK, "localhost")), tmp_path / "x.tif")
    assert sha256(placed) == sha256(image)
