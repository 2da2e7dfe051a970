"""`scarp inventory review`: what people say about an inventory's landslides."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from console.inventory_files import Kind, Version, summary
from console.output import AsJson, print_json, print_line, screen, table
from tasks.percent import percent

if TYPE_CHECKING:
    from tasks.inventory.review import Progress, Review

Numbers = Annotated[str, typer.Option(metavar="N,N-N", help="By number, such as 3,7-9.")]
MOST = 100_000
NumberAndFile = tuple[int, Path]


def review(
    event_id: str,
    confirm: Numbers = "",
    reject: Numbers = "",
    merge: Numbers = "",
    edit: Annotated[
        NumberAndFile | None, typer.Option(help="A landslide, and a file of its new outline.")
    ] = None,
    split: Annotated[
        NumberAndFile | None, typer.Option(help="A landslide, and a file of its parts.")
    ] = None,
    add: Annotated[Path | None, typer.Option(help="A file of landslides that lack.")] = None,
    kind: Annotated[Kind, typer.Option(help="What the outlines added bound.")] = "landslide",
    remark: Annotated[
        str, typer.Option(metavar="N,N-N", help="Only say something about them: --comment.")
    ] = "",
    undo: Annotated[int | None, typer.Option(help="A review to undo, by its id.")] = None,
    by: Annotated[str, typer.Option(help="Who reviews.")] = "",
    comment: Annotated[str, typer.Option(help="What there is to say.")] = "",
    seen: Annotated[
        int, typer.Option(help="The newest review you know of; later ones by others are refused.")
    ] = 0,
    log: Annotated[bool, typer.Option("--log", help="List every review.")] = False,
    progress: Annotated[
        bool, typer.Option("--progress", help="Say how far the review is; so does no option.")
    ] = False,
    publish: Annotated[
        bool, typer.Option("--publish", help="Store the outcome as the next version.")
    ] = False,
    version: Version = None,
    as_json: AsJson = False,
) -> None:
    """Confirm, reject, draw or undo; all of it is stored, or nothing.

    Files are read as `scarp inventory import` reads them. The inventory as it was mapped stays: the
    views, and later commands, show what the reviews made of it.

    Example: scarp inventory review us2000h8ty --confirm 1-40 --reject 7 --by ann
    """
    from flows.publish_reviews import publish_reviews
    from flows.world import open_world
    from tasks.inventory import review as reviews
    from tasks.inventory.store import get_inventory

    who = reviews.Reviewer(by, comment, seen)
    with open_world().engine.begin() as connection:
        at = (connection, get_inventory(connection, event_id, version).id)
        made = []
        if confirm:
            made.append(reviews.confirm(*at, _numbers(confirm), who))
        if reject:
            made.append(reviews.reject(*at, _numbers(reject), who))
        if edit:
            made.append(reviews.edit(*at, edit[0], _outline(edit[1]), who))
        if split:
            made.append(reviews.split(*at, split[0], _outlines(split[1]), who))
        if merge:
            made.append(reviews.merge(*at, _numbers(merge), who))
        if add:
            made.append(reviews.add(*at, _outlines(add), who, kind))
        if remark:
            made.append(reviews.remark(*at, _numbers(remark), who))
        if undo is not None:
            made.append(reviews.undo(*at, undo, who))
        shown = reviews.list_reviews(*at) if log else made
        state = reviews.progress(*at)
    published = publish_reviews(event_id, version) if publish else None
    if as_json:
        told = {"reviews": shown, "progress": state, "share": state.share}
        print_json(told | {"published": published and summary(published)})
        return
    if shown:
        screen.print(table("Reviews", [_row(one) for one in shown]))
    if progress or not shown:
        print_line(_said(state))
    if published:
        count = f"{published.landslide_count} landslides"
        print_line(f"version {published.version} published: {count}")
        if (folder := open_world().products(published.event_id)).exists():
            hint = f"`scarp respond {event_id}`, with the options it had, renews {folder}"
            print_line(hint)


def _numbers(text: str) -> list[int]:
    """`3,7-9` as 3, 7, 8, 9."""
    from tasks.errors import InventoryError

    numbers: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        last = last if dash else first
        if not (first.isdecimal() and last.isdecimal()):
            raise InventoryError(f"{text!r} names no landslides; write numbers such as 3,7-9")
        if int(last) < int(first):
            raise InventoryError(f"{part.strip()} runs backwards; write {last}-{first}")
        if int(last) - int(first) > MOST:
            raise InventoryError(f"{text!r} names more than {MOST} landslides; name fewer")
        numbers.extend(range(int(first), int(last) + 1))
    return numbers


def _outlines(path: Path) -> list[Any]:
    from tasks.inventory.importing import read_inventory_file

    return list(read_inventory_file(path).landslides.geometry)


def _outline(path: Path) -> Any:
    from tasks.errors import InventoryError

    outlines = _outlines(path)
    if len(outlines) != 1:
        raise InventoryError(f"{path} holds {len(outlines)} outlines; an edit needs one")
    return outlines[0]


def _row(one: Review) -> dict[str, Any]:
    return {
        "id": one.id,
        "action": f"undo {one.undoes}" if one.undoes else one.action,
        "landslides": ", ".join(map(str, one.numbers)),
        "by": one.reviewer,
        "at": f"{one.reviewed_at:%Y-%m-%d %H:%M}",
        "comment": one.comment,
    }


def _said(state: Progress) -> str:
    return (
        f"{percent(state.share)} reviewed: {state.confirmed} confirmed, {state.edited} drawn, "
        f"{state.rejected} rejected, {state.unreviewed} to go; newest review {state.newest}"
    )
