"""What a run leaves in Prefect's UI: a summary, a map, links, and how far it has come.

A run under no server of its own has nobody who would look, and leaves nothing. What cannot be left
is said in the log: a run does not fail for it.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import UUID

import httpx
from prefect.artifacts import (
    create_image_artifact,
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    update_progress_artifact,
)
from prefect.exceptions import PrefectException

from flows.artifact_names import described, key_of, stage_key
from flows.progress import listening
from flows.world import open_world
from infra.settings import Settings
from tasks.inventory.store import count_reviewed
from tasks.percent import percent

if TYPE_CHECKING:
    from flows.assess_susceptibility import Assessed
    from flows.mapped import Mapped

log = logging.getLogger(__name__)

PROGRESS_EVERY_S = 2.0


@contextmanager
def progress_in_ui(event_id: str) -> Iterator[None]:
    """Show what `flows.progress` is told while the block runs, a bar for each stage."""
    if not _is_seen():
        yield
        return
    bars: dict[str, UUID] = {}
    shown = 0.0

    def show(stage: str, done: int, total: int) -> None:
        nonlocal shown
        new, over = stage not in bars, done >= total
        if not (new or over) and time.monotonic() - shown < PROGRESS_EVERY_S:
            return
        shown = time.monotonic()
        share = 100.0 * done / max(total, 1)
        _leave(lambda: _draw(bars, stage, share, event_id))

    with listening(show):
        yield


def leave_outcome(event_id: str, said: str) -> None:
    """Say in a sentence what came of a response."""
    if _is_seen():
        key = key_of("response", event_id)
        _leave(lambda: create_markdown_artifact(f"## {event_id}\n\n{said}\n", key=key))


def _share(share: float | None) -> str:
    return "not looked at" if share is None else percent(share)


def leave_inventory(mapped: Mapped) -> None:
    """Say what was mapped, from which scenes, and which were refused and why."""
    if not _is_seen():
        return
    made = mapped.inventory
    with open_world().engine.connect() as connection:
        count, area_m2 = count_reviewed(connection, made.id)
    scenes = "\n".join(
        f"| {one.scene.id} | {'used' if one.used else 'refused'} | {_share(one.clear_fraction)} | "
        f"{_cell(one.reason)} |"
        for one in mapped.judgements
    )
    doubts = "\n".join(f"- {doubt.text}" for doubt in made.doubts)
    text = (
        f"## {mapped.event.title}: inventory version {made.version}\n\n"
        f"**{count} landslides, {area_m2 / 1e6:.3g} km²**, mapped by "
        f"`{made.method}` on {made.observed_km2:.3g} of {mapped.aoi.area_km2:.3g} km².\n\n"
        f"| scene | | clear | why |\n|---|---|---|---|\n{scenes}\n\n{doubts}\n"
    )
    key = key_of("inventory", mapped.event.id)
    _leave(lambda: create_markdown_artifact(text, key=key, description=mapped.event.title))


def leave_products(mapped: Mapped, assessed: Assessed) -> None:
    """Say how susceptibility came out, show the map, and link what people read."""
    if not _is_seen():
        return
    event, model = mapped.event, assessed.susceptibility
    auc = f"AUC on ground held out in space **{model.auc_spatial.value:.3f}**" if model else ""
    base = f"{Settings().console_url}/products/{event.id}"
    report = f"{base}/report.html"
    text = (
        f"## {event.title}\n\n{auc or f'No susceptibility map: {assessed.skipped}.'}\n\n"
        f"[Report]({report}) · [inventory]({base}/inventory.gpkg) · "
        f"[map]({base}/map.png)\n"
    )
    for leave in (
        lambda: create_markdown_artifact(text, key=key_of("summary", event.id)),
        lambda: create_image_artifact(f"{base}/map.png", key=key_of("map", event.id)),
        lambda: create_link_artifact(report, "Report", key=key_of("report", event.id)),
    ):
        _leave(leave)


def _draw(bars: dict[str, UUID], stage: str, share: float, event_id: str) -> None:
    if stage in bars:
        update_progress_artifact(bars[stage], share)
    else:
        key, said = stage_key(stage, event_id), described(stage, event_id)
        made = create_progress_artifact(share, key=key, description=said)
        assert isinstance(made, UUID)
        bars[stage] = made


def _leave(leave: Callable[[], object]) -> None:
    try:
        leave()
    except (httpx.HTTPError, PrefectException) as error:
        log.warning("not shown in Prefect's UI: %s", error)


def _is_seen() -> bool:
    return "PREFECT_API_URL" in os.environ


def _cell(words: str) -> str:
    return words.replace("|", "\\|").replace("\n", " ")
