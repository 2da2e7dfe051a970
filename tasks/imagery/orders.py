"""The ledger of imagery ordered: what was asked for once is never paid for again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import shapely
from geoalchemy2.shape import from_shape, to_shape
from shapely.geometry import MultiPolygon, mapping
from sqlalchemy import Connection, Engine, Row, func, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import OperationalError

from tasks.errors import QuotaError, TransientError
from tasks.events.aoi import as_multipolygon
from tasks.imagery.tables import OrderState, imagery_order
from tasks.types import geodesic_area_m2

# What the provider never took, or gave up, is not paid for.
UNPAID: tuple[OrderState, ...] = ("refused", "failed", "cancelled")
DELIVERED: tuple[OrderState, ...] = ("success", "partial")
# About 1 cm: the same ground asked for by two routes gives the same order.
_GRID_DEG = 1e-7
_LOCK_TIMEOUT = "120s"


@dataclass(frozen=True)
class Order:
    """One order: items, what is delivered of them, and the ground they are clipped to.

    `files` lists what was delivered: name, size in bytes, sha256.
    """

    provider: str
    item_ids: tuple[str, ...]
    bundle: str
    tools: dict[str, Any]
    area: MultiPolygon
    state: OrderState = "planned"
    order_id: str | None = None
    message: str = ""
    files: tuple[dict[str, Any], ...] = ()

    @property
    def key(self) -> str:
        """SHA-256 of everything that decides what is delivered, hexadecimal."""
        area = mapping(shapely.normalize(shapely.set_precision(self.area, _GRID_DEG)))
        asked = [self.provider, sorted(self.item_ids), self.bundle, self.tools, area]
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()

    @property
    def area_km2(self) -> float:
        """Geodesic area of the ground paid for in km²."""
        return geodesic_area_m2(self.area) / 1e6


@dataclass(frozen=True)
class Patience:
    """How long to wait for who takes orders.

    Attributes:
        waits_s: before each further try of one request; a server's Retry-After counts if longer.
        poll_s: between looks at an order that is being made.
        deadline_s: for all orders of a scene search to be made.
    """

    waits_s: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0)
    poll_s: float = 10.0
    deadline_s: float = 3600.0


@dataclass(frozen=True)
class Ledger:
    """The orders in the store.

    Attributes:
        engine: the store.
        quota_km2: area that may be ordered in a calendar month (UTC), km².
    """

    engine: Engine
    quota_km2: float

    def plan(self, orders: Sequence[Order]) -> list[Order]:
        """Enter orders that are to be placed, all or none.

        An order is taken as it stands in the ledger if it is there, or if one of the same items,
        bundle and tools over ground that covers its own was delivered. Only what is new counts.

        Returns:
            The orders as the ledger has them now, in the order given.

        Raises:
            QuotaError: the new ones would go over this month's quota; nothing is entered.
        """
        with self.engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('scarp imagery'))"))
            known = [_find(connection, order) for order in orders]
            pairs = zip(orders, known, strict=True)
            new = [order for order, found in pairs if found is None]
            self._check_quota(connection, sum(order.area_km2 for order in new))
            for order in new:
                _enter(connection, order)
        return [found or order for order, found in zip(orders, known, strict=True)]

    def delivered(self, orders: Sequence[Order]) -> list[Order | None]:
        """Each order as `plan` would take it, if it was delivered before; else None."""
        with self.engine.connect() as connection:
            known = [_find(connection, order) for order in orders]
        return [order if order and order.state in DELIVERED else None for order in known]

    def _check_quota(self, connection: Connection, wanted_km2: float) -> None:
        month = func.date_trunc("month", func.now(), "UTC")
        paid = select(func.coalesce(func.sum(imagery_order.c.area_km2), 0.0)).where(
            imagery_order.c.requested_at >= month, imagery_order.c.state.not_in(UNPAID)
        )
        used_km2 = float(connection.scalar(paid) or 0.0)
        if wanted_km2 and used_km2 + wanted_km2 > self.quota_km2:
            raise QuotaError(
                f"{wanted_km2:,.1f} km² of imagery would be ordered, {used_km2:,.1f} of this "
                f"month's {self.quota_km2:,.1f} km² are used; nothing was ordered: take a smaller "
                "area or raise SCARP_IMAGERY_QUOTA_KM2"
            )

    @contextmanager
    def holding(self, order: Order) -> Iterator[Order]:
        """Keep other processes from placing an order until the block, or this process, ends.

        Yields:
            The order as the ledger has it now.

        Raises:
            TransientError: another process has held it for two minutes.
        """
        with self.engine.connect() as held:
            connection = held.execution_options(isolation_level="AUTOCOMMIT")
            connection.execute(text(f"SET lock_timeout = '{_LOCK_TIMEOUT}'"))
            lock = {"key": order.key}
            try:
                connection.execute(text("SELECT pg_advisory_lock(hashtextextended(:key, 0))"), lock)
            except OperationalError as error:
                raise TransientError(
                    f"another process is placing order {order.key[:12]}; try again later"
                ) from error
            try:
                yield _find(connection, order) or order
            finally:
                connection.execute(
                    text("SELECT pg_advisory_unlock(hashtextextended(:key, 0))"), lock
                )
                connection.execute(text("RESET lock_timeout"))

    def note(self, order: Order, **changed: Any) -> Order:
        """Store what became of an order (`state`, `order_id`, `message`, `files`)."""
        values = changed | ({"files": list(changed["files"])} if "files" in changed else {})
        with self.engine.begin() as connection:
            connection.execute(
                update(imagery_order)
                .where(imagery_order.c.key == order.key)
                .values(**values, updated_at=func.clock_timestamp())
            )
        return replace(order, **changed)


def _find(connection: Connection, order: Order) -> Order | None:
    """The order itself, or one delivered that covers it; None where it is to be entered."""
    table = imagery_order.c
    row = connection.execute(select(imagery_order).where(table.key == order.key)).one_or_none()
    if row is not None:
        return None if row.state == "refused" else _order(row)
    same = (
        table.provider == order.provider,
        table.item_ids == list(order.item_ids),
        table.bundle == order.bundle,
        table.tools == order.tools,
        table.state.in_(DELIVERED),
        func.ST_Covers(table.geom, from_shape(order.area, srid=4326)),
    )
    query = select(imagery_order).where(*same).order_by(table.area_km2).limit(1)
    covering = connection.execute(query).one_or_none()
    return _order(covering) if covering is not None else None


def _enter(connection: Connection, order: Order) -> None:
    values = {
        "provider": order.provider,
        "item_ids": list(order.item_ids),
        "bundle": order.bundle,
        "tools": order.tools,
        "geom": from_shape(order.area, srid=4326),
        "area_km2": order.area_km2,
        "state": "planned",
        "message": "",
        "requested_at": func.now(),
    }
    connection.execute(
        upsert(imagery_order)
        .values(key=order.key, **values)
        .on_conflict_do_update(index_elements=["key"], set_=values)
    )


def _order(row: Row[Any]) -> Order:
    return Order(
        provider=row.provider,
        item_ids=tuple(row.item_ids),
        bundle=row.bundle,
        tools=row.tools,
        area=as_multipolygon(to_shape(row.geom)),
        state=row.state,
        order_id=row.order_id,
        message=row.message or "",
        files=tuple(row.files),
    )
