"""The analysts' views in words, as the database itself comments them: `docs/database.md`."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

from sqlalchemy import Connection, text

_COLUMNS = """
    SELECT relname AS view, obj_description(attrelid) AS view_words, attname AS name,
        format_type(atttypid, atttypmod) AS type, col_description(attrelid, attnum) AS words
    FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
    WHERE relnamespace = 'scarp'::regnamespace AND relkind = 'v' AND attnum > 0
    ORDER BY relname, attnum
"""
_SHORT = {"timestamp with time zone": "timestamptz", "double precision": "double"}


@dataclass(frozen=True)
class Column:
    """A column of a view: its name, type and meaning."""

    name: str
    type: str
    words: str


@dataclass(frozen=True)
class View:
    """A view, what it shows, and its columns."""

    name: str
    words: str
    columns: tuple[Column, ...]


def read_views(connection: Connection) -> list[View]:
    """The views as the database comments them, by name."""
    rows = connection.execute(text(_COLUMNS)).all()
    return [
        View(
            name,
            words,
            tuple(Column(one.name, _SHORT.get(one.type, one.type), one.words) for one in columns),
        )
        for (name, words), columns in groupby(rows, lambda row: (row.view, row.view_words))
    ]


def describe_views(connection: Connection) -> str:
    """One Markdown section a view: what it shows, and its columns with type and meaning."""
    sections = []
    for view in read_views(connection):
        lines = [f"### `scarp.{view.name}`", "", view.words, ""]
        lines += ["| column | type | |", "|---|---|---|"]
        for column in view.columns:
            words = column.words.replace("|", chr(92) + "|")
            lines.append(f"| `{column.name}` | {column.type} | {words} |")
        sections.append("\n".join(lines) + "\n")
    return "\n".join(sections)
