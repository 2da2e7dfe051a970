"""Fetching a feed politely: what did not change is not sent again, no host is trusted blindly."""

from __future__ import annotations

import gzip
import io
import os
import zlib
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import httpx

from tasks.errors import FeedError, TransientError
from tasks.events.reports import WatchState

TIMEOUT = httpx.Timeout(30.0, connect=10.0)
MAX_BYTES = 200 << 20
MOST_HOPS = 3
SETTLED_S = 60
USER_AGENT = "scarp (landslide event response)"
_WORTH_ANOTHER_TRY = {408, 425, 429}


@dataclass(frozen=True)
class Fetched:
    """What a URL held: `content` is None where it is what the state already knew."""

    content: bytes | None
    state: WatchState


def fetch(url: str, state: WatchState, now: datetime) -> Fetched:
    """Read a feed over HTTP(S), unless it is as it was at the last look, or from a local file.

    Args:
        url: `http(s)://`, `file://` or a path.
        state: of the last look at this URL.
        now: the watcher's clock.

    Returns:
        The bytes, and the state to keep once they are dealt with.

    Raises:
        TransientError: no connection, a timeout, or HTTP 408, 425, 429 or 5xx.
        FeedError: another HTTP error, too large, or no such file.
    """
    if _is_remote(url):
        return _fetch_http(url, replace(state, url=url, looked_at=now))
    return Fetched(_read_file(url), replace(state, url=url, looked_at=now))


def unpacked(content: bytes, where: str) -> bytes:
    """The text of a feed that is kept gzipped; of any other, what it is.

    Raises:
        FeedError: it is cut short, or larger than a feed can be.
    """
    if not content.startswith(b"\x1f\x8b"):
        return content
    try:
        with gzip.open(io.BytesIO(content)) as packed:
            text = packed.read(MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise FeedError(f"{where} is not whole gzip ({error}); look again") from error
    if len(text) > MAX_BYTES:
        raise FeedError(f"{where} holds more than {MAX_BYTES >> 20} MB; is it a feed?")
    return text


def may_follow(href: str, feed_url: str, allowed_hosts: Collection[str] = ()) -> bool:
    """Whether a link found in a feed leads to the feed's own host, or one the operator allowed."""
    there, here = urlsplit(href), urlsplit(feed_url)
    if there.scheme not in ("http", "https"):
        return False
    same = (there.hostname, there.port) == (here.hostname, here.port)
    return same or there.hostname in set(allowed_hosts)


def download(url: str, destination: Path) -> None:
    """Fetch a file; it appears whole or not at all.

    Raises:
        TransientError: as `fetch`, or the file cannot be written, as on a full disk.
        FeedError: as `fetch`.
    """
    content = _fetch_http(url, WatchState(url)).content or b""
    aside = destination.with_name(f".part-{os.getpid()}-{destination.name}")
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        aside.write_bytes(content)
        aside.rename(destination)
    except OSError as error:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
        why = error.strerror or error
        raise TransientError(
            f"{destination} cannot be written ({why}); make room for it"
        ) from error


def _is_remote(url: str) -> bool:
    return urlsplit(url).scheme in ("http", "https")


def _fetch_http(url: str, state: WatchState, hops: int = 0) -> Fetched:
    headers = {"User-Agent": USER_AGENT}
    if state.etag:
        headers["If-None-Match"] = state.etag
    elif state.last_modified:
        headers["If-Modified-Since"] = state.last_modified
    try:
        with httpx.stream("GET", url, headers=headers, timeout=TIMEOUT) as answer:
            if answer.status_code == httpx.codes.NOT_MODIFIED:
                return Fetched(None, state)
            if answer.next_request and hops < MOST_HOPS:
                elsewhere = str(answer.next_request.url)
                if may_follow(elsewhere, url):
                    return _fetch_http(elsewhere, state, hops + 1)
            _check_status(url, answer)
            content = bytearray()
            for part in answer.iter_bytes():
                content += part
                if len(content) > MAX_BYTES:
                    raise FeedError(f"{url} sends more than {MAX_BYTES >> 20} MB; is it a feed?")
    except httpx.TransportError as error:
        reason = str(error) or type(error).__name__
        raise TransientError(f"{url} cannot be reached: {reason}; try again later") from error
    except (httpx.InvalidURL, httpx.HTTPError) as error:
        raise FeedError(f"{url} cannot be read: {error}; give a feed's address") from error
    etag, changed = _validators(answer.headers)
    return Fetched(bytes(content), replace(state, etag=etag, last_modified=changed))


def _validators(headers: httpx.Headers) -> tuple[str, str]:
    """What to ask by at the next look: the tag, else the time of change.

    Times of change are told to the second, so one of the last minute may hide a later change (RFC
    7232, 2.2.2): it is not asked by.
    """
    etag, changed = headers.get("etag", ""), headers.get("last-modified", "")
    try:
        age = parsedate_to_datetime(headers["date"]) - parsedate_to_datetime(changed)
        settled = age.total_seconds() >= SETTLED_S
    except (KeyError, ValueError, TypeError):
        settled = False
    return etag, changed if settled and not etag else ""


def _check_status(url: str, answer: httpx.Response) -> None:
    status = f"HTTP {answer.status_code} {answer.reason_phrase}".strip()
    if answer.status_code in _WORTH_ANOTHER_TRY or answer.is_server_error:
        raise TransientError(f"{url} answers {status}; try again later")
    if answer.is_redirect:
        elsewhere = answer.headers.get("location", "nowhere")
        raise FeedError(f"{url} answers {status} to {elsewhere}; give the feed's own address")
    if not answer.is_success:
        raise FeedError(f"{url} answers {status}; give the address of a feed", answer.status_code)


def _read_file(url: str) -> bytes:
    path = Path(url2pathname(urlsplit(url).path)) if url.startswith("file:") else Path(url)
    try:
        return path.read_bytes()
    except OSError as error:
        raise FeedError(
            f"{url} cannot be read: {error.strerror or error}; give a feed's URL or file"
        ) from error
