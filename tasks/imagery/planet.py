"""PlanetScope scenes: found, ordered once, fetched once."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from planet import order_request
from pyproj import Transformer
from rasterio.transform import xy
from shapely.geometry import mapping

from tasks.errors import AccessError, CatalogError, QuotaError, RasterError, TransientError
from tasks.events.aoi import as_multipolygon
from tasks.files import file_sha256
from tasks.imagery.cache import Cache, Download
from tasks.imagery.clouds import SceneView, judge, judging_ground
from tasks.imagery.folder import PLANETSCOPE
from tasks.imagery.items import item_footprint
from tasks.imagery.orders import DELIVERED, Ledger, Order, Patience
from tasks.imagery.planet_api import (
    ITEM_TYPE,
    KeyRefusedError,
    PlanetApi,
    missing_permissions,
)
from tasks.imagery.protocol import Found, Span
from tasks.imagery.rasters import band_href, grid_wkt, open_raster
from tasks.imagery.viewing import off_nadir_deg, sun_elevation_deg
from tasks.types import AreaOfInterest, Scene, SceneJudgement

LICENCE = "Planet Labs PBC, by your contract with Planet"
BUNDLE = "analytic_sr_udm2"
TOOLS = {"harmonize": {"target_sensor": "Sentinel-2"}}
SR_SCALE = 0.0001
# A scene expected to show less than this share of the area anew is not worth its price.
LEAST_GAIN = 0.02
SAMPLES = 1_600
# What Planet's clip tool takes.
MAX_VERTICES = 1_500
WANTED = ("red", "green", "blue", "nir")
# What takes one scene away and leaves the others.
SURVIVED = (CatalogError, RasterError, AccessError, TransientError)
Pixels = tuple[NDArray[np.intp], NDArray[np.intp]]
_NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class PlanetSource:
    """Planet's archive of PlanetScope scenes.

    What is ordered is surface reflectance in four bands with its usable data mask (UDM2), clipped
    to the area and harmonised to Sentinel-2. One order holds one scene, so that a scene that two
    events need is ordered by one of them, and that a scene that fails takes no other with it.

    Attributes:
        key: Planet's key.
        ledger: of everything ever ordered.
        cache: of everything ever fetched.
        folder: where scenes are put for whoever reads them.
        url: root of Planet's APIs.
        hosts: hosts files may come from.
        least_clear: scenes of which less than this share is clear, by Planet's estimate, are not
            looked at.
        patience: how long to wait for answers and orders.
    """

    key: str = field(repr=False)
    ledger: Ledger
    cache: Cache
    folder: Path
    url: str
    hosts: tuple[str, ...]
    least_clear: float = 0.2
    patience: Patience = Patience()
    paid: bool = True

    def search(self, aoi: AreaOfInterest, span: Span) -> Found:
        """Find the scenes that meet an area in a span of time; nothing is paid for.

        Raises:
            AccessError: the key is refused.
            CatalogError: Planet calls the search wrong, or finds too much.
            TransientError: Planet is out of reach.
        """
        return asyncio.run(self._search(aoi, span))

    def fetch(self, scenes: Sequence[Scene], aoi: AreaOfInterest) -> Found:
        """Order and download the scenes it takes to see the area, the clearest first.

        Raises:
            QuotaError: they would go over this month's quota and none is at hand; nothing was
                ordered.
            AccessError: the key is refused.
            TransientError: Planet is out of reach, or nothing was delivered before the deadline.
            StorageError: the disk is full.
        """
        return asyncio.run(self._fetch(scenes, aoi))

    async def _search(self, aoi: AreaOfInterest, span: Span) -> Found:
        async with PlanetApi(self.key, self.url, self.patience) as api:
            items = await api.search(aoi, span, 100 * self.least_clear)
        scenes, refused = [], []
        for item in {item["id"]: item for item in sorted(items, key=_updated)}.values():
            try:
                scene = _scene(item)
            except (CatalogError, KeyError, TypeError, ValueError) as error:
                api.incidents.append(f"Planet: item {item['id']} is malformed: {error!r}; left out")
                continue
            if lacking := missing_permissions(item, BUNDLE):
                reason = f"Planet: item {scene.item_id}: the key permits no {', '.join(lacking)}."
                refused.append(SceneJudgement(scene, None, False, reason))
            elif scene.footprint.intersects(aoi.geometry):
                scenes.append(scene)
        scenes.sort(key=_when)
        return Found(tuple(scenes), tuple(refused), tuple(api.incidents))

    async def _fetch(self, scenes: Sequence[Scene], aoi: AreaOfInterest) -> Found:
        bought = self.ledger.delivered([_order(scene, aoi) for scene in scenes])
        paid = [(scene, order) for scene, order in zip(scenes, bought, strict=True) if order]
        async with PlanetApi(self.key, self.url, self.patience) as api:
            outcomes = await self._outcomes(api, paid)
            new = [scene for scene, order in zip(scenes, bought, strict=True) if order is None]
            wanted, refused = worth_their_price(new, aoi, _views(outcomes, aoi))
            try:
                orders = self.ledger.plan([_order(scene, aoi) for scene in wanted])
            except QuotaError as error:
                # What is paid for is used all the same.
                if not any(isinstance(outcome, Scene) for _, outcome in outcomes):
                    raise
                reason = f"Planet: {error}"
                refused += [SceneJudgement(scene, None, False, reason) for scene in wanted]
                api.incidents.append(reason)
                wanted, orders = [], []
            placed = [await self._placed(api, order) for order in orders]
            outcomes += await self._outcomes(api, list(zip(wanted, placed, strict=True)))
        ready, late = [], []
        for scene, outcome in outcomes:
            if isinstance(outcome, Scene):
                ready.append(outcome)
                continue
            if isinstance(outcome, KeyRefusedError) or not isinstance(outcome, SURVIVED):
                raise outcome
            if isinstance(outcome, TransientError):
                late.append(outcome)
            reason = f"Planet: item {scene.item_id}: {outcome}"
            refused.append(SceneJudgement(scene, None, False, reason))
            api.incidents.append(reason)
        if late and not ready:
            raise late[0]
        ready.sort(key=_when)
        refused.sort(key=lambda one: _when(one.scene))
        return Found(tuple(ready), tuple(refused), tuple(api.incidents))

    async def _outcomes(
        self, api: PlanetApi, ordered: Sequence[tuple[Scene, Order]]
    ) -> list[tuple[Scene, Scene | BaseException]]:
        """Each scene with its files at hand, or with what kept it from being so."""
        made = await asyncio.gather(
            *(self._ready(api, scene, order) for scene, order in ordered), return_exceptions=True
        )
        return [(scene, one) for (scene, _), one in zip(ordered, made, strict=True)]

    async def _placed(self, api: PlanetApi, planned: Order) -> Order:
        """The order as Planet took it, or refused it."""
        if planned.state != "planned":
            return planned
        with self.ledger.holding(planned) as order:
            if order.state != "planned":
                return order
            try:
                answer = await api.place_order(_request(order))
            except KeyRefusedError:
                raise
            except (CatalogError, AccessError) as error:
                return self.ledger.note(order, state="refused", message=str(error))
            return self.ledger.note(order, state=answer["state"], order_id=answer["id"])

    async def _ready(self, api: PlanetApi, scene: Scene, order: Order) -> Scene:
        """A scene with its files at hand."""
        folder = self.folder / order.key[:16]
        if order.state in DELIVERED and order.files:
            at_hand = [
                self.cache.place(_kept(order, file), folder / file["name"]) for file in order.files
            ]
            if all(at_hand):
                return _delivered(scene, order, folder)
        if order.order_id is None or order.state in ("failed", "cancelled"):
            raise CatalogError(f"its order {order.state}: {order.message}")
        answer = await api.finished_order(order.order_id)
        if answer["state"] not in DELIVERED:
            said = "; ".join(
                [str(answer.get("last_message") or ""), *answer.get("error_hints", ())]
            )
            self.ledger.note(order, state=answer["state"], message=said)
            raise CatalogError(f"its order {order.order_id} {answer['state']}: {said}")
        files = await self._downloaded(api, order, answer, folder)
        said = str(answer.get("last_message") or "")
        order = self.ledger.note(order, state=answer["state"], message=said, files=tuple(files))
        if order.state == "partial":
            api.incidents.append(f"Planet delivered item {scene.item_id} in part: {said}")
        return _delivered(scene, order, folder)

    async def _downloaded(
        self, api: PlanetApi, order: Order, answer: dict[str, Any], folder: Path
    ) -> list[dict[str, Any]]:
        """Fetch what was delivered, with its checksums; links that expired are asked for anew."""
        results = _results(answer)
        try:
            return await asyncio.to_thread(self._download, api, order, results, folder)
        except (AccessError, CatalogError) as error:
            api.incidents.append(f"{error}; its link was asked for anew")
            results = _results(await api.order(str(order.order_id)))
            return await asyncio.to_thread(self._download, api, order, results, folder)

    def _download(
        self, api: PlanetApi, order: Order, results: dict[str, str], folder: Path
    ) -> list[dict[str, Any]]:
        manifest_name = next((name for name in results if name.endswith("manifest.json")), None)
        if manifest_name is None:
            raise RasterError(f"order {order.order_id} came without a manifest of checksums")
        url = results[manifest_name]
        key = f"planet:{order.order_id}/{manifest_name}"
        manifest = self.cache.fetch(Download(url, self.hosts, key), folder / "manifest.json")
        files = []
        for entry in json.loads(manifest.read_text())["files"]:
            path = str(entry["path"])
            location = next((url for name, url in results.items() if name.endswith(path)), None)
            if not path.endswith(".tif") or location is None:
                continue
            name = PurePosixPath(path).name
            wanted = Download(
                location,
                self.hosts,
                f"planet:{order.order_id}/{name}",
                entry["size"],
                entry["digests"],
            )
            placed = self.cache.fetch(wanted, folder / name, api.incidents.append)
            digest = file_sha256(placed)
            files.append({"name": name, "size": entry["size"], "sha256": digest})
        return files


def worth_their_price(
    scenes: Sequence[Scene], aoi: AreaOfInterest, at_hand: Sequence[SceneView] = ()
) -> tuple[list[Scene], list[SceneJudgement]]:
    """Choose the scenes to pay for: greedily those expected to show the most not yet seen.

    Where exactly a scene is clouded is known only once it is paid for. So each is taken to show any
    place under its footprint with the chance its clear share gives, whatever the others show; one
    at hand to show what it does.

    Args:
        scenes: that may be ordered.
        aoi: the area.
        at_hand: what scenes that are paid for show of it.

    Returns:
        The scenes to order, the most telling first, and the others with the reason.
    """
    pixels, places = _sample(aoi)
    unseen = np.ones(len(places))
    for view in at_hand:
        unseen[view.clear[pixels]] = 0
    shows = {
        scene.id: shapely.contains_xy(scene.footprint, places)
        * (1 - (scene.cloud_cover or 0) / 100)
        for scene in scenes
    }
    chosen: list[Scene] = []
    left = sorted(scenes, key=_when)
    while left:
        best = max(left, key=lambda scene: float((unseen * shows[scene.id]).sum()))
        if (unseen * shows[best.id]).mean() < LEAST_GAIN:
            break
        unseen *= 1 - shows[best.id]
        chosen.append(best)
        left.remove(best)
    reason = "Planet: not ordered, since the scenes ordered are expected to show what it shows."
    return chosen, [SceneJudgement(scene, None, False, reason) for scene in left]


def _views(
    outcomes: Sequence[tuple[Scene, Scene | BaseException]], aoi: AreaOfInterest
) -> list[SceneView]:
    """What scenes at hand show; one that cannot be read shows nothing, and is refused later."""
    views = []
    for _, scene in outcomes:
        if isinstance(scene, Scene):
            with suppress(*SURVIVED):
                views.append(judge(scene, aoi))
    return views


def _sample(aoi: AreaOfInterest) -> tuple[Pixels, NDArray[np.float64]]:
    """Pixels of the judging grid spread over an area, and where they lie, (n, 2) in degrees."""
    grid, area = judging_ground(aoi)
    step = math.isqrt(max(int(area.sum()) // SAMPLES, 1))
    step = step if area[::step, ::step].any() else 1
    rows, cols = step * np.stack(np.nonzero(area[::step, ::step]))
    x, y = xy(grid.affine, rows, cols)
    to_degrees = Transformer.from_crs(grid_wkt(grid), "EPSG:4326", always_xy=True)
    return (rows, cols), np.column_stack(to_degrees.transform(x, y))


def _scene(item: dict[str, Any]) -> Scene:
    """The record of an item; its pixels are still Planet's."""
    properties = item["properties"]
    clear = properties.get("clear_percent")
    # Haze, shadow and snow hide the ground as clouds do.
    hidden = 100 - clear if clear is not None else 100 * properties.get("cloud_cover", 0)
    return Scene(
        id=f"{ITEM_TYPE}/{item['id']}",
        provider="planet",
        collection=ITEM_TYPE,
        item_id=item["id"],
        acquired_at=datetime.fromisoformat(properties["acquired"]),
        gsd_m=float(properties.get("pixel_resolution") or properties["gsd"]),
        bands=(*WANTED, "udm2"),
        crs="",
        footprint=item_footprint(item),
        hrefs={},
        cloud_cover=float(hidden),
        licence=LICENCE,
        sun_elevation_deg=sun_elevation_deg(properties),
        off_nadir_deg=off_nadir_deg(properties),
    )


def _when(scene: Scene) -> tuple[datetime, str]:
    return scene.acquired_at or _NEVER, scene.id


def _updated(item: dict[str, Any]) -> str:
    return str(item["properties"].get("updated", ""))


def _order(scene: Scene, aoi: AreaOfInterest) -> Order:
    """What must be ordered to see a scene's part of an area."""
    part = as_multipolygon(shapely.make_valid(scene.footprint & aoi.geometry))
    if shapely.get_num_coordinates(part) > MAX_VERTICES:
        part = as_multipolygon(part.convex_hull)
    return Order("planet", (scene.item_id,), BUNDLE, TOOLS, part)


def _request(order: Order) -> dict[str, Any]:
    """The order as Planet takes it; it is named by its key, so that it is found again."""
    products = [order_request.product(list(order.item_ids), order.bundle, ITEM_TYPE)]
    tools = [
        order_request.clip_tool(mapping(order.area)),
        order_request.harmonize_tool(order.tools["harmonize"]["target_sensor"]),
    ]
    request: dict[str, Any] = order_request.build_request(
        order.key, products, order_type="partial", tools=tools
    )
    return request


def _results(answer: dict[str, Any]) -> dict[str, str]:
    """Where each delivered file lies, by name; the links hold tokens and expire."""
    results = (answer.get("_links") or {}).get("results") or ()
    return {one["name"]: one["location"] for one in results if one and one.get("location")}


def _kept(order: Order, file: dict[str, Any]) -> Download:
    """A file delivered before, as the cache knows it."""
    key = f"planet:{order.order_id}/{file['name']}"
    return Download("", (), key, file["size"], {"sha256": file["sha256"]})


def _delivered(scene: Scene, order: Order, folder: Path) -> Scene:
    """A scene with its bands, read from the files of its order."""
    names = [file["name"] for file in order.files]
    mask = next((name for name in names if "udm2" in name.lower()), None)
    image = next((name for name in names if "udm" not in name.lower()), None)
    if image is None:
        raise RasterError(f"order {order.order_id} delivered no image, only {names or 'nothing'}")
    path = folder / image
    with open_raster(str(path), f"scene {scene.id}") as dataset:
        crs, bands = dataset.crs.to_string(), PLANETSCOPE.get(dataset.count, ())
    if not set(WANTED) <= set(bands):
        raise RasterError(f"scene {scene.id}: {path} does not hold Planet's four or eight bands")
    hrefs = {
        band: band_href(str(path), bands=(bands.index(band) + 1,), scale=SR_SCALE, nodata=0)
        for band in WANTED
    }
    if mask:
        hrefs["udm2"] = str(folder / mask)
    digests = json.dumps(sorted(file["sha256"] for file in order.files))
    checksum = hashlib.sha256(digests.encode()).hexdigest()
    return replace(scene, bands=tuple(hrefs), crs=crs, hrefs=hrefs, checksum=checksum)
