"""Names of what a run leaves in Prefect's UI, for who leaves it and for who looks it up."""

from __future__ import annotations

import re


def key_of(what: str, event_id: str) -> str:
    """A key as Prefect takes it; the newest artifact of a key stands for all."""
    return re.sub(r"[^a-z0-9]+", "-", f"{what} {event_id}".lower()).strip("-")


def stage_key(stage: str, event_id: str) -> str:
    """The key of a stage's bar."""
    return key_of(f"progress {stage}", event_id)


def stage_keys(event_id: str) -> str:
    """What LIKE takes for the keys of all bars of an event, and of any whose id ends with its."""
    return f"progress-%-{key_of('', event_id)}"


def described(stage: str, event_id: str) -> str:
    """What a bar says it is of."""
    return f"{event_id}: {stage}"


def stage_of(description: str, event_id: str) -> str | None:
    """The stage whose bar says this; None if it is another event's."""
    name, _, stage = description.partition(": ")
    return stage if name == event_id else None
