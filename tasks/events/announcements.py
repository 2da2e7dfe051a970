"""Products that are news: told once to whoever waits for them."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text

_NEW = """
    INSERT INTO scarp.announcement (subject)
    SELECT {subject} FROM scarp.{kind}
    WHERE {which} AND NOT EXISTS (SELECT FROM scarp.announcement WHERE subject = {subject})
    ON CONFLICT DO NOTHING RETURNING split_part(subject, ' ', 2)::uuid AS id
"""

# A draft that was mapped waits for more imagery; when it is published it is news again.
_INVENTORY = {
    "kind": "inventory",
    "subject": "'inventory ' || id || CASE status WHEN 'draft' THEN ' draft' ELSE '' END",
    "which": "(status = 'published' OR "
    "(status = 'draft' AND method NOT IN ('imported', 'manual', 'reviewed')))",
}
_SUSCEPTIBILITY = {
    "kind": "susceptibility",
    "subject": "'susceptibility ' || id",
    "which": "true",
}


@dataclass(frozen=True)
class NewInventory:
    """A version that was published, or mapped as a draft; `flow_run_id` is the Prefect run's."""

    id: UUID
    event_id: str
    version: int
    flow_run_id: str | None


@dataclass(frozen=True)
class NewSusceptibility:
    """A susceptibility map that was stored."""

    id: UUID
    event_id: str


def new_inventories(connection: Connection) -> list[NewInventory]:
    """Inventories published or drafted since this was last asked and committed, oldest first."""
    rows = connection.execute(
        text(
            f"WITH new AS ({_NEW.format_map(_INVENTORY)}) "
            "SELECT inventory.id, inventory.event_id, inventory.version, run.flow_run_id "
            "FROM new JOIN scarp.inventory USING (id) JOIN scarp.run ON run.id = inventory.run_id "
            "ORDER BY inventory.created_at"
        )
    )
    return [NewInventory(*row) for row in rows]


def new_susceptibility(connection: Connection) -> list[NewSusceptibility]:
    """Susceptibility maps stored since this was last asked and committed, the oldest first."""
    rows = connection.execute(
        text(
            f"WITH new AS ({_NEW.format_map(_SUSCEPTIBILITY)}) "
            "SELECT susceptibility.id, susceptibility.event_id FROM new "
            "JOIN scarp.susceptibility USING (id) ORDER BY susceptibility.created_at"
        )
    )
    return [NewSusceptibility(*row) for row in rows]
