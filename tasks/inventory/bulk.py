"""Landslides into PostGIS by the ten thousand: copied aside, then moved in one statement."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

import geopandas as gpd
import numpy as np
import pandas as pd
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import shapely
from psycopg import sql
from sqlalchemy import Connection

from tasks.errors import InventoryError, StoreError

# Small, so that the server reads one piece while the next is made.
PIECE = 500
_CSV = pyarrow.csv.WriteOptions(include_header=False)


def load_landslides(
    connection: Connection, inventory_id: UUID, rows: gpd.GeoDataFrame, columns: Sequence[str]
) -> None:
    """Add landslides, numbered from 1, to an inventory of the caller's transaction.

    They are copied into a table of this session and moved from there along a space-filling curve,
    so that neighbours lie together and the spatial index grows in order; the constraints of
    `scarp.landslide` judge them on the way. A refusal leaves the caller's transaction usable.

    Args:
        connection: in a transaction.
        inventory_id: a draft.
        rows: (Multi)Polygons in EPSG:4326; NaN and None are stored as unknown.
        columns: columns of `rows` to store, named as in `scarp.landslide`.

    Raises:
        InventoryError: a landslide breaks a constraint; names it, and the constraint.
        StoreError: the database failed meanwhile.
    """
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    listed = sql.SQL(", ").join(map(sql.Identifier, columns))
    try:
        with connection.begin_nested(), driver.cursor() as cursor:
            _stage(cursor, rows, columns, listed)
            _move(connection, cursor, inventory_id, len(rows), listed)
            cursor.execute("DROP TABLE pg_temp.staged")
    except psycopg.DataError as error:
        said = f"{error.diag.message_primary} {error.diag.context or ''}".strip()
        raise InventoryError(f"the landslides cannot be stored: {said}") from error
    except psycopg.Error as error:
        said = str(error).splitlines()[0]
        raise StoreError(f"the database failed while it stored landslides: {said}") from error


def _stage(
    cursor: psycopg.Cursor, rows: gpd.GeoDataFrame, columns: Sequence[str], listed: sql.Composed
) -> None:
    # Enough to sort an inventory in memory.
    cursor.execute("SET LOCAL work_mem = '64MB'")
    cursor.execute(
        "CREATE TEMP TABLE staged ON COMMIT DROP AS SELECT * FROM scarp.landslide WITH NO DATA"
    )
    # Polygons come as they are; `_move` makes them multipolygons.
    cursor.execute("ALTER TABLE pg_temp.staged ALTER geom TYPE geometry(Geometry, 4326)")
    into = sql.SQL("COPY pg_temp.staged (number, geom, {}) FROM STDIN (FORMAT csv)")
    with cursor.copy(into.format(listed)) as copy:
        for piece in _pieces(rows, columns):
            copy.write(piece)


def _pieces(rows: gpd.GeoDataFrame, columns: Sequence[str]) -> Iterator[bytes]:
    """The staging table's rows as CSV, in which a bare nothing is NULL."""
    numbers = np.arange(1, len(rows) + 1)
    known = pa.table({"number": numbers} | {name: _values(rows[name]) for name in columns})
    outlines = shapely.set_srid(rows.geometry.to_numpy(), 4326)
    for start in range(0, len(rows), PIECE):
        wkb = shapely.to_wkb(outlines[start : start + PIECE], include_srid=True)
        geom = pa.array([outline.hex() for outline in wkb], pa.string())
        sink = pa.BufferOutputStream()
        pyarrow.csv.write_csv(known.slice(start, PIECE).add_column(1, "geom", geom), sink, _CSV)
        yield sink.getvalue().to_pybytes()


def _values(column: pd.Series) -> pa.Array:
    try:
        values = pa.array(column, from_pandas=True)
    except pa.ArrowException as error:
        raise InventoryError(f"the landslides' {column.name} cannot be stored: {error}") from error
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        first = pc.index(pc.match_substring(values, "\0"), True).as_py()
        if first >= 0:
            raise InventoryError(
                f"landslide {first + 1} has a NUL byte in its {column.name}; remove it"
            )
    return values


def _move(
    connection: Connection,
    cursor: psycopg.Cursor,
    inventory_id: UUID,
    count: int,
    listed: sql.Composed,
) -> None:
    move = sql.SQL(
        "INSERT INTO scarp.landslide (inventory_id, number, geom, {0}) "
        "SELECT {1}, number, ST_Multi(geom), {0} FROM pg_temp.staged ORDER BY geom"
    )
    try:
        with connection.begin_nested():
            cursor.execute(move.format(listed, sql.Literal(inventory_id)))
    except psycopg.errors.CheckViolation as error:
        name = error.diag.constraint_name or ""
        raise InventoryError(_who_breaks(cursor, name, count)) from error


def _who_breaks(cursor: psycopg.Cursor, constraint: str, count: int) -> str:
    """Name the first landslide staged that a constraint of `scarp.landslide` refuses."""
    cursor.execute(
        "SELECT pg_get_expr(conbin, conrelid) FROM pg_constraint "
        "WHERE conname = %s AND conrelid = 'scarp.landslide'::regclass",
        [constraint],
    )
    rule = _only(cursor)
    first = "SELECT number, ST_XMin(geom), ST_YMin(geom) FROM pg_temp.staged WHERE NOT {} LIMIT 1"
    cursor.execute(sql.SQL(first.replace("LIMIT", "ORDER BY number LIMIT")).format(sql.SQL(rule)))
    number, longitude, latitude = cursor.fetchone() or ("?", float("nan"), float("nan"))
    said = re.sub(r"::[a-z ]+|[()]", "", rule)
    return (
        f"landslide {number} of {count} near {longitude:.5f}, {latitude:.5f} cannot be stored: "
        f"{said} does not hold ({constraint})"
    )


def _only(cursor: psycopg.Cursor) -> Any:
    row = cursor.fetchone()
    assert row is not None
    return row[0]
