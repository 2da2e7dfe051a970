"""How an event is responded to when nobody is there to say so."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from sqlalchemy import Connection

from flows.options import ResponseOptions, SusceptibilityOptions, kept_whole, wishes_of
from flows.sources import check_source
from flows.world import World
from tasks.errors import BadInputError
from tasks.events.wishes import keep_options, kept_options
from tasks.files import read_toml
from tasks.mapping.screens import LayerScreen, parse_screen

FILE = "response.toml"
Options = TypeVar("Options", ResponseOptions, SusceptibilityOptions)


def options_of(world: World, event_id: str) -> ResponseOptions:
    """What was given with the event, over the standing options in `SCARP_HOME/response.toml`.

    Raises:
        BadInputError: neither names a source of imagery, or one holds what it must not.
    """
    file, chosen = world.home / FILE, _chosen(world, event_id)
    if "source" not in chosen:
        raise BadInputError(
            f"no source of imagery is known for {event_id}; write source = 'earth-search' to "
            f"{file}, or name one with the event (`scarp register --source`, or its page)"
        )
    return _validated(ResponseOptions, chosen, file, event_id)


def susceptibility_options_of(world: World, event_id: str) -> SusceptibilityOptions:
    """The part of the same that concerns a susceptibility map; imagery is not needed for one.

    Raises:
        BadInputError: an option is what it must not be.
    """
    chosen = _chosen(world, event_id)
    known = {name: chosen[name] for name in SusceptibilityOptions.model_fields if name in chosen}
    return _validated(SusceptibilityOptions, known, world.home / FILE, event_id)


def known_source(world: World, event_id: str) -> str:
    """Where imagery of an event would be looked for; empty where that is not known."""
    try:
        return options_of(world, event_id).source
    except BadInputError:
        return ""


def choose_source(world: World, connection: Connection, event_id: str, source: str) -> None:
    """From now on look for imagery of an event there; what else was chosen for it stays.

    Args:
        world: the store.
        connection: in a transaction that the caller commits.
        event_id: a registered event, by the id it was registered with.
        source: as `scarp respond --source` takes it; empty for the one that is known.

    Raises:
        BadInputError: there is no such source, or none is named nor known.
        ScarpError: see `flows.sources.check_source`.
    """
    wished = wishes_of(source or None, None)
    if wished is None or wished["source"] == known_source(world, event_id):
        options_of(world, event_id)
        return
    # Collections are those of the source before.
    wished |= {"collections": []}
    chosen = _chosen(world, event_id) | wished
    check_source(world, event_id, _validated(ResponseOptions, chosen, world.home / FILE, event_id))
    keep_options(connection, event_id, (kept_options(connection, event_id) or {}) | wished)


def keep_for_looks(world: World, event_id: str, options: ResponseOptions) -> None:
    """Keep what an operator chose, for the looks that are made when nobody is there.

    Files are kept by their absolute paths: whoever looks then stands elsewhere.
    """
    paths = ("profiles", "dem", "factors", "out", "source")
    chosen = kept_whole(options.model_dump(mode="json", exclude_none=True), paths)
    chosen["screens"] = [_with_whole_path(text) for text in options.screens]
    with world.engine.begin() as connection:
        keep_options(connection, event_id, chosen)


def _with_whole_path(screen: str) -> str:
    asked = parse_screen(screen)
    if not isinstance(asked, LayerScreen):
        return screen
    return f"{asked.name}={asked.layer.resolve()}" + (f":{asked.part}" if asked.part else "")


def standing(file: Path) -> dict[str, Any]:
    """The standing options as written; none without the file.

    Raises:
        BadInputError: the file is no TOML.
    """
    return read_toml(file, BadInputError) if file.exists() else {}


def _chosen(world: World, event_id: str) -> dict[str, Any]:
    with world.engine.connect() as connection:
        given = kept_options(connection, event_id) or {}
    return standing(world.home / FILE) | given


def _validated(kind: type[Options], chosen: dict[str, Any], file: Path, event_id: str) -> Options:
    try:
        return kind.model_validate(chosen)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"])) or "options"
        raise BadInputError(
            f"{name} {first['input']!r} of {file}, or given with {event_id}: {first['msg']}"
        ) from error
