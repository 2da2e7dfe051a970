"""Files fetched once: kept by content, up to a limit, shared between processes.

`filelock` does the locking. Neither `diskcache` (pickles), `fsspec` (no check of what it kept) nor
`pooch` (no limit, starts over) does the rest.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx
import rasterio
from filelock import FileLock, Timeout
from rasterio.errors import RasterioError

from tasks.errors import AccessError, CatalogError, RasterError, StorageError, TransientError
from tasks.files import file_sha256
from tasks.imagery.hosts import host_of, is_allowed, without_query
from tasks.publish.products import storage_error, write_text, written_aside

CONNECT_S = 10.0
LOCK_S = 1800.0
MAX_REDIRECTS = 5
# Tries in a row that bring no byte; as long as some come, a download goes on.
TRIES = 4
LONGEST_WAIT_S = 60.0
# A download that nobody took up again for so long will not be.
ABANDONED_S = 7 * 86_400.0
TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


@dataclass(frozen=True)
class Download:
    """A file to fetch.

    Attributes:
        url: where it lies now; its query, which may hold a token, is never kept or told.
        hosts: hosts it may lie on, redirections included.
        key: what it is, the same whenever it is asked for; the URL without its query if empty.
        size: its length in bytes, where somebody said so.
        digests: its checksums by algorithm (`sha256`, `md5`), hexadecimal, where somebody said so.
    """

    url: str
    hosts: tuple[str, ...]
    key: str = ""
    size: int | None = None
    digests: Mapping[str, str] | None = None

    @property
    def name(self) -> str:
        """What sentences call it."""
        return self.key or without_query(self.url)

    @property
    def id(self) -> str:
        """SHA-256 of the key, hexadecimal."""
        return hashlib.sha256(self.name.encode()).hexdigest()

    @property
    def suffix(self) -> str:
        """The suffix of its name, such as `.tif`."""
        return Path(urlsplit(self.name).path).suffix.lower()


@dataclass(frozen=True)
class Cache:
    """A folder of files named by their SHA-256.

    Attributes:
        folder: where they are kept; made when needed.
        limit_bytes: above this the files used longest ago go.
        stall_s: a server silent for longer is asked again for the rest.
        wait_s: first wait after a failure; doubled after each that follows.
    """

    folder: Path
    limit_bytes: int = 20 << 30
    stall_s: float = 30.0
    wait_s: float = 1.0

    def fetch(
        self,
        download: Download,
        destination: Path,
        told: Callable[[str], None] = lambda sentence: None,
    ) -> Path:
        """Put a file at `destination`, from what is kept or else from its server.

        A download that broke off goes on where it was, also in another process, if the server says
        that the file is still the same or its checksum is known. What is not what it should be
        (too short, another checksum, a web page in place of an image) is never kept.

        Args:
            download: the file.
            destination: shares the kept file's bytes (a hard link) where the disk allows; it stays
                when the cache lets the file go.
            told: hears of trouble that is survived, a sentence each.

        Returns:
            `destination`.

        Raises:
            AccessError: the server does not let us, or lies on a host that is not allowed.
            CatalogError: the file is not there.
            RasterError: the file is damaged at its source.
            StorageError: the disk is full, or the file larger than the cache's limit.
            TransientError: the server is out of reach or breaks off again and again.
        """
        try:
            with self._locked(download.id):
                for _ in range(2):
                    kept = self._kept(download) or self._download(download, told)
                    if self._placed(kept, destination):
                        return destination
        except OSError as error:
            raise storage_error(destination, error) from error
        raise TransientError(f"{download.name} left the cache while it was copied; try again")

    def place(self, download: Download, destination: Path) -> bool:
        """Put a file at `destination` if it is kept, without asking its server.

        Raises:
            StorageError: the disk is full.
        """
        try:
            with self._locked(download.id):
                kept = self._kept(download)
                return kept is not None and self._placed(kept, destination)
        except OSError as error:
            raise storage_error(destination, error) from error

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        """Keep other processes out of one file, or of the list of all."""
        folder = self.folder / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(folder / f"{name}.lock", timeout=LOCK_S):
                yield
        except Timeout as error:
            raise TransientError(
                f"another process has held {error.lock_file} for {LOCK_S / 60:.0f} minutes"
            ) from error

    def _kept(self, download: Download) -> Path | None:
        """The file if it is kept and what it was promised to be."""
        index = self.folder / "index" / download.id
        digest = (download.digests or {}).get("sha256")
        if digest is None and index.is_file():
            digest = index.read_text().strip()
        path = self._object(digest, download.suffix) if digest else None
        if path is None or not path.is_file():
            return None
        return path if not _mismatch(path, download) else None

    def _object(self, digest: str, suffix: str) -> Path:
        return self.folder / "objects" / digest[:2] / f"{digest}{suffix}"

    def _download(self, download: Download, told: Callable[[str], None]) -> Path:
        """Fetch a file in as many pieces as it takes and keep it."""
        if download.size is not None and download.size > self.limit_bytes:
            raise StorageError(
                f"{download.name} has {download.size / 1e6:,.0f} MB, the cache of imagery "
                f"{self.limit_bytes / 1e6:,.0f}; raise SCARP_IMAGERY_CACHE_GB"
            )
        part = self.folder / "partial" / download.id
        part.parent.mkdir(parents=True, exist_ok=True)
        self._receive_all(download, part, told)
        if fault := _mismatch(part, download) or _damage(part, download):
            _forget(part)
            raise RasterError(f"{download.name} {fault}; it was not kept: ask its provider")
        digest = file_sha256(part)
        kept = self._object(digest, download.suffix)
        kept.parent.mkdir(parents=True, exist_ok=True)
        part.replace(kept)
        _forget(part)
        write_text(self.folder / "index" / download.id, digest)
        return kept

    def _receive_all(self, download: Download, part: Path, told: Callable[[str], None]) -> None:
        failures, again = 0, False
        while True:
            before = _length(part)
            try:
                _receive(download, part, self.stall_s)
                if not (fault := _mismatch(part, download)) or again:
                    return
                # One more try from the start: the wire may have garbled it, or a piece was stale.
                told(f"{download.name} {fault}; it was fetched again")
                _forget(part)
                again = True
            except TransientError as error:
                failures = 0 if _length(part) > before else failures + 1
                if failures >= TRIES:
                    raise
                told(f"{error}; it went on from byte {_length(part)}")
                wait_s = max(self.wait_s * 2**failures, error.retry_after_s)
                time.sleep(min(wait_s, LONGEST_WAIT_S))

    def _placed(self, kept: Path, destination: Path) -> bool:
        """Link a kept file where it is wanted; False where another process has just let it go."""
        destination.parent.mkdir(parents=True, exist_ok=True)
        with self._locked("all"):
            try:
                os.utime(kept)
            except FileNotFoundError:
                return False
            with written_aside(destination) as aside:
                try:
                    os.link(kept, aside)
                except OSError:
                    shutil.copyfile(kept, aside)
            self._trim()
        return True

    def _trim(self) -> None:
        """Let go of abandoned downloads, and of the files used longest ago down to the limit."""
        for part in self.folder.glob("partial/*"):
            # Another process may just have finished it.
            with suppress(FileNotFoundError):
                if time.time() - part.stat().st_mtime > ABANDONED_S:
                    part.unlink()
        found = [(path, path.stat()) for path in self.folder.glob("objects/*/*")]
        total = sum(stat.st_size for _, stat in found)
        for path, stat in sorted(found, key=lambda one: one[1].st_mtime):
            if total <= self.limit_bytes:
                return
            path.unlink()
            total -= stat.st_size


def _receive(download: Download, part: Path, stall_s: float) -> None:
    """Append what is missing of a file; start over where the server has another one now."""
    have, note = _length(part), part.with_suffix(".json")
    known = json.loads(note.read_text()) if note.is_file() else {}
    if have and not (known.get("validator") or download.digests):
        have = 0
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if known.get("validator"):
            headers["If-Range"] = known["validator"]
    try:
        with _answer(download, headers, stall_s) as answer:
            span = answer.headers.get("content-range", "")
            if answer.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                if span == f"bytes */{have}":
                    return
                _forget(part)
                raise TransientError(f"{download.name} is another file now; starting over")
            goes_on = answer.status_code == httpx.codes.PARTIAL_CONTENT
            if goes_on and not span.startswith(f"bytes {have}-"):
                raise TransientError(f"{download.name} gave {span} in place of bytes {have}-")
            validator = answer.headers.get("etag") or answer.headers.get("last-modified")
            note.write_text(json.dumps({"validator": _strong(validator)}))
            with part.open("ab" if goes_on else "wb") as file:
                for chunk in answer.iter_bytes():
                    file.write(chunk)
    except httpx.UnsupportedProtocol as error:
        raise CatalogError(
            f"{download.name} cannot be fetched, only http(s) can; give a catalog that names it"
        ) from error
    except httpx.TransportError as error:
        reason = str(error) or type(error).__name__
        raise TransientError(f"{download.name} broke off: {without_query(reason)}") from error


def _strong(validator: str | None) -> str | None:
    """A weak tag does not say that bytes are the same."""
    return None if validator is None or validator.startswith("W/") else validator


@contextmanager
def _answer(
    download: Download, headers: dict[str, str], stall_s: float
) -> Iterator[httpx.Response]:
    """The server's answer, redirections followed where they may lead."""
    url = download.url
    for _ in range(MAX_REDIRECTS):
        if not is_allowed(url, download.hosts):
            raise AccessError(
                f"{download.name} lies on {host_of(url)}, which is no host of its source; "
                f"allow it with --allow-host {host_of(url)} if you trust it"
            )
        timeout = httpx.Timeout(stall_s, connect=CONNECT_S)
        with httpx.stream("GET", url, headers=headers, timeout=timeout) as answer:
            if answer.is_redirect:
                url = urljoin(url, answer.headers["location"])
                continue
            _check_status(download, answer)
            yield answer
            return
    raise CatalogError(f"{download.name} redirects over {MAX_REDIRECTS} times; check its address")


def _check_status(download: Download, answer: httpx.Response) -> None:
    status = answer.status_code
    if status in (401, 403):
        raise AccessError(f"{download.name} answered HTTP {status}; check your credentials for it")
    if status == 429 or status >= 500:
        raise TransientError(
            f"{download.name} answered HTTP {status}", retry_after_s(answer.headers)
        )
    if answer.is_error and status != httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
        raise CatalogError(f"{download.name} answered HTTP {status}; it is not there any more")
    kind = answer.headers.get("content-type", "")
    if kind.startswith("text/html") and download.suffix not in (".html", ".htm"):
        raise RasterError(
            f"{download.name} is a web page and no {download.suffix or 'image'}; sign in to its "
            "provider, or check its address"
        )


def retry_after_s(headers: Mapping[str, Any]) -> float:
    """Seconds a server asks to wait; 0 where it does not say, or says a date."""
    text = str(headers.get("retry-after", ""))
    return float(text) if text.isdecimal() else 0.0


def _mismatch(path: Path, download: Download) -> str:
    """How a file differs from what was promised; empty if it does not."""
    if download.size is not None and _length(path) != download.size:
        return f"has {_length(path)} of {download.size} bytes"
    for algorithm, expected in (download.digests or {}).items():
        with path.open("rb") as file:
            found = hashlib.file_digest(file, algorithm).hexdigest()
        if found != expected.lower():
            return f"has the {algorithm} {found}, {expected} was promised"
    return ""


def _damage(path: Path, download: Download) -> str:
    """Why a file is no whole TIFF though its name says so; empty if it is, or has a checksum."""
    if download.suffix not in (".tif", ".tiff"):
        return ""
    with path.open("rb") as file:
        if file.read(4) not in TIFF_STARTS:
            return "is no TIFF, whatever its name says"
    if download.digests:
        return ""
    try:
        with rasterio.open(path) as dataset:
            for _, window in dataset.block_windows(1):
                dataset.read(window=window)
    except RasterioError:
        return "is a TIFF cut short or damaged"
    return ""


def _length(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _forget(part: Path) -> None:
    for path in (part, part.with_suffix(".json")):
        path.unlink(missing_ok=True)
