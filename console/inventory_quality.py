"""`scarp inventory quality`: what an inventory holds, and how far to trust it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from console.inventory_files import Version
from console.output import AsJson, print_json, print_line, print_note, screen, table
from tasks.percent import percent

if TYPE_CHECKING:
    from flows.quality import QualityReport
    from tasks.types import Interval


def quality(
    event_id: str,
    version: Version = None,
    against: Annotated[
        int | None, typer.Option(help="Version of the same event to compare it with.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for figures.")] = None,
    outline_error_m: Annotated[
        float | None,
        typer.Option(min=0, help="How far outlines may be off. Default: half a pixel, if known."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Sizes, totals, magnitude and completeness of an inventory, and its match with another.

    Example: scarp inventory quality us2000h8ty --against 2 -o figures
    """
    from flows.quality import describe_inventory

    result = describe_inventory(
        event_id, version, against=against, outline_error_m=outline_error_m, folder=out
    )
    if as_json:
        match = result.match and {"error": result.match.error, "match": result.match.match}
        rollover = _rollover(result)
        print_json({"result": result, "rollover_m2": rollover, "mapping": match})
        return
    title = f"Inventory {event_id} version {result.version}"
    screen.print(table(title, [{"": name, "value": said} for name, said in _rows(result)]))
    if result.seen_share < 1:
        said = f"this tells of the {percent(result.seen_share)} of the area that was seen, no more"
        print_note(said)
    for note in result.quality.sizes.notes:
        print_note(note)
    for figure in result.figures:
        print_line(f"drawn: {figure}")


def _rows(result: QualityReport) -> list[tuple[str, str]]:
    described = result.quality
    sizes = described.sizes
    error = described.area_error_m2
    rows = [
        ("seen of the area of interest", percent(result.seen_share)),
        ("landslides", f"{described.count}"),
        ("total area", f"{described.area_m2 / 1e6:.4g} km²" + _plus_minus(error)),
        ("total volume", _interval(described.volume_m3, 1e-6, " million m³")),
        (
            "amalgamated outlines",
            f"{described.amalgamated_count}, {percent(described.amalgamated_share)} of the area",
        ),
    ]
    if fitted := sizes.distribution:
        rows += [
            ("inverse gamma ρ", _interval(fitted.rho)),
            ("inverse gamma a", _interval(fitted.a_m2, 1, " m²")),
            ("inverse gamma s", _interval(fitted.s_m2, 1, " m²")),
            ("most frequent area", f"{fitted.distribution.rollover_m2:.4g} m²"),
        ]
    if tail := sizes.tail:
        rows += [
            ("power-law exponent", _interval(tail.exponent)),
            ("power law from", f"{tail.cutoff_m2:.4g} m² ({tail.count} landslides)"),
        ]
    if magnitude := sizes.magnitude:
        rows += [
            ("magnitude mL, counted", f"{magnitude.counted:.2f}"),
            ("magnitude mL, from the tail", _interval(magnitude.inferred)),
            ("completeness", _interval(magnitude.completeness)),
        ]
    if match := result.match:
        rows += [
            (f"mapping error E against {result.against}", f"{match.error:.3f}"),
            ("area in both", f"{match.both_m2 / 1e6:.4g} of {match.either_m2 / 1e6:.4g} km²"),
        ]
    return rows


def _interval(of: Interval, scale: float = 1.0, unit: str = "") -> str:
    value, low, high = (f"{end * scale:.3g}" for end in (of.value, of.low, of.high))
    return f"{value}{unit} ({low} to {high})"


def _plus_minus(error_m2: float | None) -> str:
    return "" if error_m2 is None else f" ± {error_m2 / 1e6:.2g}"


def _rollover(result: QualityReport) -> Any:
    fitted = result.quality.sizes.distribution
    return fitted and fitted.distribution.rollover_m2
