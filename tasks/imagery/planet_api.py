"""Planet's Data and Orders APIs through its SDK: patient, and silent about the key."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx
import planet
from planet import data_filter, exceptions, specs
from planet.clients import DataClient, OrdersClient
from planet.clients.orders import OrderStates
from shapely.geometry import mapping

from tasks.errors import AccessError, CatalogError, ScarpError, TransientError
from tasks.imagery.cache import retry_after_s
from tasks.imagery.hosts import without_query
from tasks.imagery.orders import Patience
from tasks.imagery.protocol import Span
from tasks.types import AreaOfInterest

log = logging.getLogger(__name__)

ITEM_TYPE = "PSScene"
INSTRUMENTS = ("PS2", "PS2.SD", "PSB.SD")
# The assets of each bundle we order (Planet, product bundles reference, May 2024).
BUNDLES = {
    "analytic_sr_udm2": ("ortho_analytic_4b_sr", "ortho_analytic_4b_xml", "ortho_udm2"),
    "analytic_8b_sr_udm2": ("ortho_analytic_8b_sr", "ortho_analytic_8b_xml", "ortho_udm2"),
}
MAX_ITEMS = 2_000
READ_TIMEOUT_S = 60.0
LONGEST_WAIT_S = 120.0
T = TypeVar("T")


@dataclass
class PlanetApi:
    """One session with Planet; `incidents` lists what went wrong and was survived."""

    key: str = field(repr=False)
    url: str
    patience: Patience
    incidents: list[str] = field(default_factory=list)

    async def __aenter__(self) -> PlanetApi:
        """Open the session."""
        _know_bundles()
        self._session = planet.Session(planet.Auth.from_key(self.key), READ_TIMEOUT_S)
        # All trying again is done here: the SDK's own would send an order that timed out twice.
        self._session.max_retries = 0
        self._data = DataClient(self._session, f"{self.url}/data/v1")
        self._orders = OrdersClient(self._session, f"{self.url}/compute/ops")
        return self

    async def __aexit__(self, *error: object) -> None:
        """Close the session."""
        await self._session.aclose()

    async def search(self, aoi: AreaOfInterest, span: Span, clear: float) -> list[dict[str, Any]]:
        """PSScene items that meet an area, with at least `clear` percent of them clear."""
        wanted = data_filter.and_filter(
            [
                data_filter.geometry_filter(mapping(aoi.geometry)),
                data_filter.date_range_filter("acquired", gte=span.start, lte=span.end),
                data_filter.range_filter("clear_percent", gte=clear),
                data_filter.string_in_filter("instrument", list(INSTRUMENTS)),
                data_filter.std_quality_filter(),
            ]
        )

        async def items() -> list[dict[str, Any]]:
            found = self._data.search([ITEM_TYPE], wanted, limit=MAX_ITEMS + 1)
            return [item async for item in found]

        found = await self.ask("the search", items)
        if len(found) > MAX_ITEMS:
            raise CatalogError(
                f"{self.url} offers over {MAX_ITEMS:,} {ITEM_TYPE} items; take a smaller area or "
                "fewer dates"
            )
        return found

    async def find_order(self, name: str) -> dict[str, Any] | None:
        """The order of that name that is not lost, if there is one."""

        async def orders() -> list[dict[str, Any]]:
            return [order async for order in self._orders.list_orders(name=name, limit=0)]

        found = await self.ask(f"the list of orders named {name[:12]}", orders)
        alive = [one for one in found if one["state"] not in ("failed", "cancelled")]
        return next((one for one in alive if one["name"] == name), None)

    async def place_order(self, request: dict[str, Any]) -> dict[str, Any]:
        """Place an order once, whatever happens to the answer.

        An answer that does not come says nothing of whether the order was taken, so before each
        further try the orders there are asked for.
        """
        name = request["name"]
        for wait_s in (*self.patience.waits_s, None):
            if known := await self.find_order(name):
                return known
            try:
                return await self._once(
                    f"order {name[:12]}", lambda: self._orders.create_order(request)
                )
            except TransientError as error:
                if wait_s is None:
                    raise
                await self._survive(error, wait_s)
        raise AssertionError("the last try returns or raises")

    async def order(self, order_id: str) -> dict[str, Any]:
        """An order as it stands."""
        return await self.ask(f"order {order_id}", lambda: self._orders.get_order(order_id))

    async def finished_order(self, order_id: str) -> dict[str, Any]:
        """Look at an order until it is made or lost.

        Raises:
            TransientError: it is still being made at the deadline.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.patience.deadline_s
        while True:
            found = await self.order(order_id)
            if OrderStates.is_final(found["state"]):
                return found
            if loop.time() > deadline:
                raise TransientError(
                    f"Planet's order {order_id} is still {found['state']} after "
                    f"{self.patience.deadline_s / 60:.0f} minutes; run again later, it is not "
                    "ordered twice"
                )
            await asyncio.sleep(self.patience.poll_s)

    async def ask(self, what: str, call: Callable[[], Awaitable[T]]) -> T:
        """Ask until there is an answer, as long as patience lasts.

        A key refused once is tried once more: Planet answers 401 while it rolls out its keys.

        Raises:
            AccessError: the key is refused, or does not permit it.
            CatalogError: Planet calls the request wrong.
            TransientError: patience is out.
        """
        refused = False
        for wait_s in (*self.patience.waits_s, None):
            try:
                return await self._once(what, call)
            except TransientError as error:
                if wait_s is None:
                    raise
                await self._survive(error, wait_s)
            except KeyRefusedError as error:
                if refused or wait_s is None:
                    raise
                refused = True
                await self._survive(error, wait_s)
        raise AssertionError("the last try returns or raises")

    async def _once(self, what: str, call: Callable[[], Awaitable[T]]) -> T:
        try:
            return await call()
        except (exceptions.PlanetError, httpx.HTTPError, ValueError) as error:
            raise self._sentence(what, error) from None

    async def _survive(self, error: ScarpError, wait_s: float) -> None:
        self.incidents.append(f"{error}; it was asked again")
        log.info("%s; asking again", error)
        wait_s = max(wait_s * random.uniform(1, 1.25), getattr(error, "retry_after_s", 0.0))
        await asyncio.sleep(min(wait_s, LONGEST_WAIT_S))

    def _sentence(self, what: str, error: Exception) -> ScarpError:
        """What went wrong, the key and everything that looks like a token left out."""
        said = without_query(" ".join(str(error).split()))[:300].replace(self.key, "***")
        answer = error.__context__
        status = answer.response.status_code if isinstance(answer, httpx.HTTPStatusError) else 0
        where = f"Planet, {what}: " + (f"HTTP {status} {said}" if status else said).rstrip()
        if isinstance(error, exceptions.InvalidAPIKey):
            return KeyRefusedError(f"{where}; check PL_API_KEY: it is wrong or expired")
        if isinstance(error, exceptions.NoPermission):
            return AccessError(f"{where}; this key does not permit it: ask Planet for access")
        if isinstance(answer, httpx.HTTPStatusError) and (status == 429 or status >= 500):
            return TransientError(where, retry_after_s(answer.response.headers))
        if isinstance(error, httpx.TransportError):
            reason = said or type(error).__name__
            return TransientError(f"Planet, {what}: out of reach: {reason}")
        return CatalogError(where)


class KeyRefusedError(AccessError):
    """Planet does not take the key."""


def missing_permissions(item: dict[str, Any], bundle: str) -> list[str]:
    """Assets of a bundle that an item has but the key may not download, or that it has not."""
    allowed = set(item.get("_permissions") or ())
    return [
        name
        for name in BUNDLES[bundle]
        if f"assets.{name}:download" not in allowed and not name.endswith("_xml")
    ]


def _know_bundles() -> None:
    """Tell the SDK the bundles, which it else fetches from a fixed host before every first use."""
    if getattr(specs.PRODUCT_BUNDLES, "cache", None) is None:
        bundles: dict[str, dict[str, dict[str, Sequence[str]]]] = {
            name: {"assets": {ITEM_TYPE: list(assets)}} for name, assets in BUNDLES.items()
        }
        cache = {"bundles": bundles, "bundle_names": bundles.keys(), "item_types": {ITEM_TYPE}}
        specs.PRODUCT_BUNDLES.cache = cache
