"""Sampling schemes: which cells stand for a landslide, and where absences may lie."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from tasks.errors import AssessmentError

Presence = Literal["all", "highest", "centroid"] | int
Strata = Literal["none", "slope", "elevation"]
NAMED_PRESENCES = ("all", "highest", "centroid")
MOST_PER_LANDSLIDE = 10_000


@dataclass(frozen=True)
class Scheme:
    """How presence and absence are drawn.

    Attributes:
        name: what it is called.
        presence: `all` cells of a landslide, its `highest` cell (the crown of the scar), the cell
            of its `centroid`, or that many of its cells at random.
        ratio: absences for each presence.
        buffer_m: absences keep this far from any landslide, whose edge is never quite known.
        least_slope_deg: absences lie on slopes at least this steep.
        strata: absences are spread evenly over classes of this, or over none.
        low_only: a first model trained on plain samples picks: absences only from ground it calls
            low or very low, and no presence it calls very low.
    """

    name: str
    presence: Presence = 25
    ratio: float = 1.0
    buffer_m: float = 30.0
    least_slope_deg: float = 0.0
    strata: Strata = "none"
    low_only: bool = False


# The LDM-Net paper names two schemes and describes neither, but its Table 6 counts one presence
# point a landslide. `huang2024` follows the abstract of Huang et al. (2024, Earth-Science Reviews
# 250, 104700). For `dai2023` (Dai et al. 2023, Landslides 20, 1277) only the points are known; that
# they are crowns, with as many stable points, is the usual practice of coseismic studies.
SCHEMES = {
    scheme.name: scheme
    for scheme in (
        Scheme("scarp"),
        Scheme("dai2023", presence="highest", buffer_m=0.0),
        Scheme("huang2024", presence="centroid", buffer_m=0.0, low_only=True),
    )
}


def find_scheme(
    name: str,
    *,
    presence: str | None = None,
    ratio: float | None = None,
    buffer_m: float | None = None,
    least_slope_deg: float | None = None,
    strata: str | None = None,
) -> Scheme:
    """A named scheme with what the operator wants otherwise.

    Raises:
        AssessmentError: the name, presence or strata is unknown.
    """
    if name not in SCHEMES:
        raise AssessmentError(f"no sampling scheme is called {name!r}; take {_listed(SCHEMES)}")
    if strata is not None and strata not in get_args(Strata):
        raise AssessmentError(
            f"absences cannot be spread over {strata!r}; take {_listed(get_args(Strata))}"
        )
    wanted: dict[str, Any] = {
        "presence": None if presence is None else _presence(presence),
        "ratio": ratio,
        "buffer_m": buffer_m,
        "least_slope_deg": least_slope_deg,
        "strata": strata,
    }
    changes = {field: value for field, value in wanted.items() if value is not None}
    return replace(SCHEMES[name], **changes)


def _presence(text: str) -> Presence:
    if text in NAMED_PRESENCES:
        return text  # type: ignore[return-value]
    if text.isdecimal() and 1 <= int(text) <= MOST_PER_LANDSLIDE:
        return int(text)
    raise AssessmentError(
        f"{text!r} says not which cells stand for a landslide; take {_listed(NAMED_PRESENCES)} or "
        "a number of cells"
    )


def _listed(names: object) -> str:
    return ", ".join(map(str, names))  # type: ignore[call-overload]
