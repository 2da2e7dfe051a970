"""Runs: what was run on which inputs, which scenes it judged, and how it ended."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID, uuid4

from geoalchemy2.shape import from_shape
from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    bindparam,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import IntegrityError

from tasks import signs
from tasks.errors import EventError, StoreError
from tasks.inventory.tables import inventory, run, run_scene, scene
from tasks.signs import nobody_signs
from tasks.types import Outcome, Provenance, Scene, SceneJudgement

LOST = "its process was lost"


def start_run(
    connection: Connection,
    provenance: Provenance,
    flow: str,
    flow_run_id: str | None,
    code_commit: str,
) -> UUID:
    """Open a run of a registered event; it has no outcome until `finish_run`.

    A flow run that begins the same again has lost the process that began it before: what that left
    open has failed.

    Raises:
        EventError: the event is not registered.
    """
    run_id = uuid4()
    values = {
        "id": run_id,
        "event_id": provenance.event_id,
        "flow": flow,
        "flow_run_id": flow_run_id,
        "digest": provenance.digest,
        "inputs": provenance.inputs,
        "parameters": _plain(provenance.parameters),
        "weights_digest": provenance.weights_digest,
        "code_commit": code_commit,
    }
    if flow_run_id:
        same = (run.c.event_id, run.c.flow, run.c.flow_run_id)
        _close_lost(connection, *(name == values[name.key] for name in same))
    try:
        with connection.begin_nested():
            connection.execute(insert(run).values(**values))
    except IntegrityError as error:
        raise EventError(
            f"event {provenance.event_id!r} is not registered; `scarp register` adds it"
        ) from error
    return run_id


def finish_run(
    connection: Connection,
    run_id: UUID,
    outcome: Outcome,
    error: str | None = None,
    cause: str | None = None,
) -> None:
    """Close an open run; a failed one needs the reason, and may name the kind of error.

    Raises:
        StoreError: the run is unknown or already closed.
    """
    reason = error if error or outcome != "failed" else "no reason given"
    closed = connection.execute(
        update(run)
        .where(run.c.id == run_id, run.c.outcome.is_(None))
        .values(
            outcome=outcome,
            error=reason and reason.replace("\0", ""),
            cause=cause,
            ended_at=func.clock_timestamp(),
        )
    )
    if closed.rowcount != 1:
        raise StoreError(f"run {run_id} is not open: it is unknown or has already ended")


def sign_of_life(engine: Engine, run_id: UUID) -> AbstractContextManager[None]:
    """Let others see that a run goes on, until the block or this process ends."""
    return signs.sign_of_life(engine, _sign(run_id), partial(_take_up, run_id=run_id))


def close_left(connection: Connection, others: Collection[UUID] = ()) -> list[UUID]:
    """Give an outcome to the open runs whose process was killed; returns them.

    Args:
        connection: in a transaction that the caller commits.
        others: runs that somebody else sees to.
    """
    unended = connection.scalars(select(run.c.id).where(run.c.outcome.is_(None)))
    mine = [run_id for run_id in unended if run_id not in others]
    left = [run_id for run_id in mine if nobody_signs(connection, _sign(run_id))]
    _close_lost(connection, run.c.id.in_(left))
    return left


def open_runs(connection: Connection) -> dict[UUID, str]:
    """Runs without an outcome that are part of a flow run, with its id."""
    asked = select(run.c.id, run.c.flow_run_id).where(
        run.c.outcome.is_(None), run.c.flow_run_id.is_not(None)
    )
    return {row.id: row.flow_run_id for row in connection.execute(asked)}


def record_judgements(
    connection: Connection, run_id: UUID, judgements: Sequence[SceneJudgement]
) -> None:
    """Store which scenes a run used and refused, and why; again is the same once."""
    for judgement in judgements:
        values = {
            "used": judgement.used,
            "clear_fraction": judgement.clear_fraction,
            "reason": judgement.reason,
        }
        connection.execute(
            upsert(run_scene)
            .values(run_id=run_id, scene_key=_scene_key(connection, judgement.scene), **values)
            .on_conflict_do_update(index_elements=["run_id", "scene_key"], set_=values)
        )


def _sign(run_id: UUID) -> str:
    return f"scarp run {run_id}"


def _close_lost(connection: Connection, *which: ColumnElement[bool]) -> None:
    lost = {"outcome": "failed", "error": LOST, "ended_at": func.clock_timestamp()}
    connection.execute(update(run).where(*which, run.c.outcome.is_(None)).values(lost))


def _take_up(connection: Connection, run_id: UUID) -> None:
    """Take back that the process of a run was lost, of one that lives."""
    again = {"outcome": None, "error": None, "ended_at": None}
    mine = (run.c.id == run_id, run.c.error == LOST)
    connection.execute(update(run).where(*mine).values(again))


def _scene_key(connection: Connection, seen: Scene) -> int:
    """Key of the scene's row; the row keeps what was first said of these bytes."""
    values = {
        "scene_id": seen.id,
        "provider": seen.provider,
        "collection": seen.collection,
        "item_id": seen.item_id,
        "acquired_at": seen.acquired_at,
        "gsd_m": seen.gsd_m,
        "bands": list(seen.bands),
        "crs": seen.crs,
        "footprint": from_shape(seen.footprint, srid=4326) if seen.footprint else None,
        "cloud_cover": seen.cloud_cover,
        "hrefs": seen.hrefs,
        "checksum": seen.checksum,
        "licence": seen.licence,
    }
    identity = ("scene_id", "provider", "checksum")
    connection.execute(
        upsert(scene).values(**values).on_conflict_do_nothing(index_elements=identity)
    )
    mine = [scene.c[name] == bindparam(f"this_{name}", values[name]) for name in identity]
    return int(connection.execute(select(scene.c.id).where(*mine)).scalar_one())


def _plain(parameters: dict[str, Any]) -> dict[str, Any]:
    """Parameters as JSON holds them, the way `Provenance.digest` reads them."""
    return {
        name: value
        if isinstance(value, (str, int, float, bool, list, dict, type(None)))
        else str(value)
        for name, value in parameters.items()
    }


@dataclass(frozen=True)
class RunRecord:
    """When a run began and ended, by which code."""

    id: UUID
    code_commit: str
    started_at: datetime
    ended_at: datetime | None


def get_run(connection: Connection, run_id: UUID) -> RunRecord:
    """The record of a run.

    Raises:
        StoreError: the run is unknown.
    """
    row = connection.execute(select(run).where(run.c.id == run_id)).one_or_none()
    if row is None:
        raise StoreError(f"run {run_id} is not in the store")
    return RunRecord(row.id, row.code_commit, row.started_at, row.ended_at)


@dataclass(frozen=True)
class MadeBefore:
    """What an inventory of an event was mapped from: its scenes in order, and its run's record."""

    scene_ids: tuple[str, ...]
    inputs: dict[str, str]
    parameters: dict[str, Any]


def made_before(connection: Connection, event_id: str, method: str) -> list[MadeBefore]:
    """What the inventories of an event that a method made were mapped from, the newest first."""
    rows = connection.execute(
        select(inventory.c.scene_ids, run.c.inputs, run.c.parameters)
        .join(run, run.c.id == inventory.c.run_id)
        .where(inventory.c.event_id == event_id, inventory.c.method == method)
        .order_by(inventory.c.version.desc())
    )
    return [MadeBefore(tuple(row.scene_ids), row.inputs, row.parameters) for row in rows]
