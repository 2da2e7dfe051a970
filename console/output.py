"""What a command says: tables and bars for people, one JSON document for machines."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from tasks.types import Interval, Screening

screen = Console()
messages = Console(stderr=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]
# Cells up to so many letters are not folded, and longer ones not to less than so many.
WHOLE, FOLDED = 17, 8


def say(sentence: str) -> None:
    """Tell a person something on standard error, as it is."""
    typer.echo(f"scarp: {sentence}", err=True)


def print_json(record: Any) -> None:
    """Print dataclasses, paths, times and geometries as one JSON document on standard output."""
    typer.echo(json.dumps(record, default=_plain, indent=1, ensure_ascii=False))


def table(title: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    """A table with one column a key of the first row; what is not known is shown as a dash."""
    drawn = Table(title=Text(title), title_justify="left", title_style="bold")
    widest = {
        name: max(len(_cell(row[name])) for row in rows) for name in (rows[0] if rows else ())
    }
    headings = {name: name.replace("_", " ") for name in widest}
    # Between two cells stand a line and two spaces.
    room = screen.width - 3 * len(widest) - 1
    if sum(max(len(headings[name]), letters) for name, letters in widest.items()) > room:
        words = {
            name: max(map(len, heading.split()), default=0) for name, heading in headings.items()
        }
        widest = {name: max(letters, words[name]) for name, letters in widest.items()}
        headings = {name: fill(heading, widest[name]) for name, heading in headings.items()}
    # Only long columns give way on a narrow terminal: a date in three pieces reads badly. What has
    # to stay whole and does not fit would be cut off, which reads worse.
    fits = sum(n if n <= WHOLE else FOLDED for n in widest.values()) <= room
    for name, letters in widest.items():
        drawn.add_column(headings[name], overflow="fold", no_wrap=fits and letters <= WHOLE)
    for row in rows:
        drawn.add_row(*(Text(_cell(value)) for value in row.values()))
    return drawn


def _cell(value: Any) -> str:
    if isinstance(value, datetime) and value.tzinfo:
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    said = str(value)
    return "–" if value is None or said in ("nan", "NaT", "<NA>") else said


def print_line(text: str) -> None:
    """Print a text for people as it is, its lines broken between words alone.

    Rich by itself would take [words] of a name for a style, and break a path that is longer than
    the terminal is wide.
    """
    for line in text.splitlines():
        whole = fill(line, screen.width, break_long_words=False, break_on_hyphens=False)
        screen.print(whole, highlight=False, markup=False, soft_wrap=True)


def print_note(doubt: str) -> None:
    """Print why a result is to be taken with care."""
    print_line(f"note: {doubt}")


def print_screens(screens: Sequence[Screening]) -> None:
    """Print what each screen was asked, and what it set aside."""
    for one in screens:
        result = f"not run: {one.not_run}" if one.not_run else f"{one.set_aside} set aside"
        print_line(f"screen {one.screen} ({one.asked}): {result}")


def with_ends(auc: Interval) -> str:
    """An AUC with the ends of its interval, such as 0.812 (0.790–0.834)."""
    return f"{auc.value:.3f} ({auc.low:.3f}–{auc.high:.3f})"


@contextmanager
def progress_bars() -> Iterator[None]:
    """Draw a bar with count and ETA for every stage a flow reports, while the block runs."""
    from flows.progress import listening

    columns = (
        TextColumn("{task.description:<24}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=messages, disable=not messages.is_terminal) as bars:
        drawn: dict[str, TaskID] = {}

        def draw(stage: str, done: int, total: int) -> None:
            if stage not in drawn:
                drawn[stage] = bars.add_task(stage, total=total)
            bars.update(drawn[stage], completed=done, total=total)

        with listening(draw):
            yield


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Path | UUID):
        return str(value)
    if hasattr(value, "__geo_interface__"):
        return value.__geo_interface__
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no JSON form")
