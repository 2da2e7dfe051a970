"""`scarp evidence`: what radar saw change while clouds hid the ground."""

from __future__ import annotations

from typing import Annotated

import typer

from console.clock import moment
from console.output import AsJson, print_json, print_line, progress_bars
from console.response import AllowHosts, Profiles


def evidence(
    event_id: Annotated[str, typer.Argument(help="A registered event.")],
    radar: Annotated[
        str,
        typer.Option(
            help="STAC API or catalog of terrain-corrected Sentinel-1, or planetary-computer."
        ),
    ],
    profiles: Profiles = None,
    allow_hosts: AllowHosts = None,
    now: Annotated[
        str | None, typer.Option(help="Simulated time, with its zone: 2023-05-24T00:00Z.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare radar before and after an event: evidence of change, not landslides.

    Example: scarp evidence emilia-romagna-2023 --radar examples/emilia_romagna_2023/radar
    """
    from flows.evidence import look_by_radar

    with progress_bars():
        seen = look_by_radar(event_id, radar, moment(now), profiles, tuple(allow_hosts or ()))
    if as_json:
        print_json(
            {
                "event_id": seen.event_id,
                "kind": "evidence of change, not landslides",
                "method": seen.method,
                "looked_km2": round(seen.looked_km2, 4),
                "changed_km2": round(seen.changed_km2, 4),
                "comparisons": seen.comparisons,
                "raster": str(seen.path),
            }
        )
        return
    for line in (
        f"radar saw {seen.looked_km2:,.2f} km² of {seen.event_id}; "
        f"{seen.changed_km2:,.3f} km² of it changed",
        f"compared: {seen.passes}",
        f"raster: {seen.path}",
        "this is evidence of change, not landslides: it enters no inventory",
    ):
        print_line(line)
