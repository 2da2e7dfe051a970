"""Which hosts files may be read from, and what GDAL must be told to read from them."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from urllib.parse import unquote, urlsplit

REMOTE_SCHEMES = ("http", "https", "s3")
_SECRET = re.compile(r"\?[^\s'\"]+|(?<=://)[^\s/@?'\"]*@")
# Options of GDAL by pattern of host. One table for the process, as GDAL's own settings are: a
# raster is opened by its href alone, far from the source that knew the host.
_options: dict[str, dict[str, str]] = {}


def is_remote(href: str) -> bool:
    """Whether an href is read over the network."""
    try:
        return urlsplit(href).scheme in REMOTE_SCHEMES
    except ValueError:
        return False


def host_of(href: str) -> str:
    """The host of a URL, lower case, or the bucket of `s3://`; empty for a path."""
    return urlsplit(href).hostname or ""


def is_allowed(href: str, hosts: Iterable[str]) -> bool:
    """Whether a URL's host is among `hosts`, in which `*` stands for any part of a name."""
    host = host_of(href)
    return bool(host) and any(fnmatchcase(host, pattern.lower()) for pattern in hosts)


def climbs(href: str) -> bool:
    """Whether an href goes up a folder, in plain or percent-encoded dots."""
    return ".." in unquote(urlsplit(href).path).replace("\\", "/").split("/")


def without_query(text: str) -> str:
    """A text with what may hold a token cut out of its URLs: their queries, users and passwords."""
    return _SECRET.sub("", text)


def read_with(hosts: Iterable[str], options: Mapping[str, str]) -> None:
    """Give GDAL these options whenever it reads from these hosts."""
    _options.update({pattern: dict(options) for pattern in hosts})


def gdal_options(href: str) -> dict[str, str]:
    """What GDAL must be told to read an href (see `read_with`)."""
    given = [options for pattern, options in _options.items() if is_allowed(href, (pattern,))]
    return {name: value for options in given for name, value in options.items()}


class _NoQueries(logging.Filter):
    """Keeps tokens out of the log: httpx logs every URL whole."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = without_query(record.getMessage()), None
        return True


logging.getLogger("httpx").addFilter(_NoQueries())
