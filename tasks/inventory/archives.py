"""Zips of the same contents that are the same files."""

from __future__ import annotations

from zipfile import ZIP_DEFLATED, ZipInfo


def dated(name: str) -> ZipInfo:
    """A member of a zip that does not tell when it was made."""
    member = ZipInfo(name, date_time=(2000, 1, 1, 0, 0, 0))
    # `writestr` asks the member, not the archive.
    member.compress_type = ZIP_DEFLATED
    return member
