"""The analysts' views in words, as the database itself comments them: `docs/database.md`."""

from __future__ import annotations

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


def describe_views(connection: Connection) -> str:
    """One Markdown section a view: what it shows, and its columns with type and meaning."""
    rows = connection.execute(text(_COLUMNS)).all()
    sections = []
    for (view, words), columns in groupby(rows, lambda row: (row.view, row.view_words)):
        lines = [f"### `scarp.{view}`", "", words, "", "| column | type | |", "|---|---|---|"]
        for column in columns:
            kind = _SHORT.get(column.type, column.type)
            lines.append(
                f"| `{column.name}` | {kind} | {column.words.replace('|', chr(92) + '|')} |"
            )
        sections.append("\n".join(lines) + "\n")
    return "\n".join(sections)
