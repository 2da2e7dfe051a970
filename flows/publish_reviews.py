"""What reviewers made of an inventory, as its event's next version."""

from __future__ import annotations

from flows.runs import recorded_run
from flows.world import open_world
from tasks.errors import AssessmentError, InventoryError, ReviewConflictError, ScarpError
from tasks.events.states import settle_published
from tasks.inventory.origin import REVIEWED
from tasks.inventory.review import hold, progress, require_current
from tasks.inventory.runs import finish_run
from tasks.inventory.store import (
    StoredInventory,
    find_inventory,
    get_inventory,
    read_reviewed,
    store_inventory,
)
from tasks.susceptibility.store import list_susceptibility
from tasks.types import Provenance

NAME = "publish-reviews"


def publish_reviews(
    event_id: str, version: int | None = None, assess: bool = True
) -> StoredInventory:
    """Store the landslides that stand after the reviews of a version, and publish them.

    The same reviews again give the version that is stored. Numbers start anew; who reviewed what
    goes with the landslides. An event that has a susceptibility map gets a new one, asked for as
    the last one was, unless `assess` is false: who says so sees to it.

    Raises:
        EventError, InventoryError: there is no such version, nobody has reviewed it, or a later
            one took its place, which may have seen more ground.
        ReviewConflictError: somebody reviewed it while this ran; nothing is stored.
        AssessmentError: the version is published, and its susceptibility map could not be made.
    """
    stored = _publish(event_id, version)
    if assess:
        assess_again(stored)
    return stored


def assess_again(published: StoredInventory) -> None:
    """Make the susceptibility map of a new version, if its event has one, as the last one was.

    Raises:
        AssessmentError: it could not be made.
    """
    with open_world().engine.connect() as connection:
        maps = list_susceptibility(connection, published.event_id, "fitted")
    last = next((one for one in maps if one.settings), None)
    if last is None:
        return
    # as slow to import as all the rest, and most reviews make no map
    from flows.assess_susceptibility import assess_susceptibility
    from flows.ephemeral import EphemeralServer
    from flows.options import SusceptibilityOptions

    EphemeralServer()
    options = SusceptibilityOptions.model_validate(dict(last.settings))
    try:
        assess_susceptibility(published.event_id, options, published.version)
    except ScarpError as error:
        raise AssessmentError(
            f"version {published.version} of {published.event_id} is published, but its "
            f"susceptibility map could not be made again: {error}"
        ) from error


def _publish(event_id: str, version: int | None) -> StoredInventory:
    world = open_world()
    with world.engine.connect() as connection:
        reviewed = get_inventory(connection, event_id, version)
        newest = progress(connection, reviewed.id).newest
        if not newest:
            raise InventoryError(
                f"nobody has reviewed version {reviewed.version} of {event_id}; "
                f"`scarp inventory review {event_id} --help` says how"
            )
        provenance = Provenance(
            reviewed.event_id, {"inventory": reviewed.digest}, {"newest_review": newest}
        )
        if stored := find_inventory(connection, reviewed.event_id, provenance.digest):
            return stored
        require_current(connection, reviewed.id)
    with recorded_run(world.engine, provenance, NAME) as run_id, world.engine.begin() as connection:
        hold(connection, reviewed.id)
        require_current(connection, reviewed.id)
        if progress(connection, reviewed.id).newest != newest:
            raise ReviewConflictError(
                f"version {reviewed.version} of {event_id} was reviewed meanwhile; run this again"
            )
        stored = store_inventory(
            connection,
            event_id=reviewed.event_id,
            run_id=run_id,
            digest=provenance.digest,
            method=REVIEWED,
            threshold=reviewed.threshold,
            minimum_mapping_unit_m2=reviewed.minimum_mapping_unit_m2,
            observed=reviewed.observed,
            scene_ids=reviewed.scene_ids,
            landslides=read_reviewed(connection, reviewed.id),
            doubts=reviewed.doubts,
            publish=True,
            screens=reviewed.screens,
            licence=reviewed.licence,
            attribution=reviewed.attribution,
        )
        settle_published(connection, reviewed.event_id)
        finish_run(connection, run_id, "succeeded" if stored.landslide_count else "succeeded_empty")
    return stored
