"""Which SQL a person may ask: one SELECT over the views, with functions that only compute.

This is the first of two walls. Behind it the question runs as the database role that may read the
views and nothing else, in a transaction that may not write, for a limited time. What runs is
written anew from what was understood here, so that the two cannot read it differently.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from tasks.errors import QuestionError

LONGEST = 10_000
SCHEMA = "scarp"
PREFIX = "asked_"
# Functions that PostgreSQL adds to those of the standard, which sqlglot knows by itself.
_COMPUTING = (
    "age array_agg array_length bool_and bool_or cardinality char_length corr covar_pop "
    "date_part degrees div every format geography geometry geometrytype ilike initcap "
    "isfinite json_agg jsonb_agg jsonb_array_elements jsonb_array_elements_text "
    "jsonb_array_length jsonb_build_object jsonb_each jsonb_each_text jsonb_object_keys "
    "jsonb_typeof justify_hours log10 make_date make_interval mode near now num_nonnulls "
    "num_nulls radians regexp_match regr_r2 regr_slope round split_part starts_with "
    "stddev_pop string_to_array to_char to_date to_number to_timestamp trunc unnest "
    "width_bucket"
)
COMPUTING = frozenset(_COMPUTING.split(" "))
# Of the standard's, those that make much of little: a few words could fill the memory.
_FILLING = (exp.Repeat, exp.Pad, exp.Space)
# Of PostGIS's, those that read files, rasters or the catalog.
_NOT_COMPUTING = re.compile(r"st_(from|as)?(gdal|raster|mapalgebra|estimatedextent|findextent).*")


def check_question(question: str, views: Iterable[str]) -> str:
    """Read a question, and write it as it may be asked.

    Args:
        question: SQL as PostgreSQL has it.
        views: names of the views of the schema that may be read.

    Raises:
        QuestionError: it cannot be read, or asks for more than may be; says what.
    """
    if len(question) > LONGEST:
        raise QuestionError(f"a question has up to {LONGEST:,} characters")
    if "\0" in question or re.search(r"\bu&\s*['\"]", question, re.IGNORECASE):
        raise QuestionError("write letters as they are, not by their numbers")
    try:
        read = [one for one in sqlglot.parse(question, dialect="postgres") if one is not None]
    except (SqlglotError, RecursionError) as error:
        said = re.sub(r"\x1b\[\d+m", "", str(error)).splitlines()[0]
        raise QuestionError(f"this question cannot be read: {said}") from error
    if len(read) != 1:
        raise QuestionError(f"ask one question, not {len(read)}")
    asked = read[0]
    if not isinstance(asked, exp.Query):
        raise QuestionError("only SELECT may be asked; nothing can be changed here")
    _check_nodes(asked)
    _check_tables(asked, set(views))
    return asked.sql(dialect="postgres", comments=False)


def _check_nodes(asked: exp.Query) -> None:
    for node in asked.walk():
        if isinstance(
            node, exp.DML | exp.DDL | exp.Into | exp.Lock | exp.Command
        ) and not isinstance(node, exp.Query):
            raise QuestionError("only SELECT may be asked; nothing can be changed here")
        if isinstance(node, _FILLING):
            raise QuestionError(f"{node.sql_name().lower()} may not be asked")
        if isinstance(node, exp.Anonymous):
            _check_function(node.name.lower())


def _check_function(name: str) -> None:
    spatial = name.startswith("st_") and not _NOT_COMPUTING.fullmatch(name)
    if not spatial and name not in COMPUTING:
        raise QuestionError(f"the function {name} may not be asked")


def _check_tables(asked: exp.Query, views: set[str]) -> None:
    parts = [one for one in asked.find_all(exp.CTE) if one.alias.lower() not in views]
    named_here = {one.alias.lower() for one in parts}
    for table in list(asked.find_all(exp.Table)):
        if isinstance(table.this, exp.Func):
            continue
        name, schema = table.name.lower(), table.db.lower()
        if table.catalog or schema not in ("", SCHEMA):
            raise QuestionError(f"{table.sql(dialect='postgres')} may not be read; only the views")
        if not schema and name in named_here:
            _rename(table)
        elif name not in views:
            known = ", ".join(sorted(views))
            raise QuestionError(f"there is no view {name}; there are {known}")
    for one in parts:
        _prefix(one.args["alias"].this)


def _rename(table: exp.Table) -> None:
    """Let a table be a part of this very question, or nothing.

    A part (WITH) may be called as a table of the database is, and be out of reach where that name
    stands; as `PREFIX` names no table there, it does not matter which it would have been.
    """
    if not table.alias:
        table.set("alias", exp.TableAlias(this=table.this.copy()))
    _prefix(table.this)


def _prefix(name: exp.Identifier) -> None:
    name.set("this", PREFIX + name.this)
