"""What to expect of an event at once: the prior map, and the area that ranks it among others."""

from __future__ import annotations

from pathlib import Path

from flows.world import World
from infra.settings import Settings
from tasks.events.impact import expected_impact
from tasks.events.impact_layers import ImpactLayers, read_layers
from tasks.events.priors import Expectation, find_prior
from tasks.events.shakemap import ShakeMap
from tasks.files import file_sha256
from tasks.types import AreaOfInterest, Event, Provenance


def expect_landslides(
    world: World,
    event: Event,
    aoi: AreaOfInterest,
    shaking: ShakeMap | None,
    source_version: str,
) -> Expectation | None:
    """Compute what to expect of an event by the layers of `SCARP_IMPACT`, and write its prior map.

    The map lies beside the event's products, one file for each set of inputs; what is stored of
    the same inputs is not computed again.

    Args:
        world: whose store and products.
        event: as described now; it need not be registered yet.
        aoi: where to look.
        shaking: the ShakeMap in use, if there is one.
        source_version: identity of that ShakeMap, or version of the description.

    Returns:
        To be stored with `tasks.events.priors.store_prior` once the event is registered; None
        where nothing can be expected.

    Raises:
        RulesError: the file that `SCARP_IMPACT` names cannot be used.
        RasterError: a layer it names cannot be used.
        StorageError: the map cannot be written.
    """
    configured = Settings().impact
    layers = read_layers(configured) if configured else None
    inputs = {"aoi": aoi.geometry.wkt} | _identities(layers)
    if shaking:
        inputs["shakemap"] = file_sha256(shaking.path)
    if aoi.how == "given":
        # Other areas are drawn from the epicentre; of this one, what it reaches counts.
        inputs["epicentre"] = f"{event.longitude} {event.latitude}"
    made_from = Provenance(event.id, inputs, {"magnitude": event.magnitude, "kind": event.kind})
    with world.engine.connect() as connection:
        known = find_prior(connection, made_from.digest)
    if known and (known.impact.path is None or known.impact.path.exists()):
        return known
    prior = world.products(event.id) / "priors" / f"{made_from.digest[:16]}.tif"
    impact = expected_impact(event, aoi, layers, shaking, prior=prior)
    return Expectation(impact, source_version, made_from.digest) if impact else None


def _identities(layers: ImpactLayers | None) -> dict[str, str]:
    """What tells one layer from another; global layers are too large for a checksum each time."""
    if layers is None:
        return {}
    identities = {"layers": layers.model_dump_json()}
    for table in (layers.nowicki_jessee, layers.newmark):
        for name, value in table or ():
            if isinstance(value, Path):
                about = value.stat()
                identities[name] = f"{about.st_size}:{about.st_mtime_ns}"
    return identities
