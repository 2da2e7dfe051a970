"""Landslide volume from area: V = α A^γ, by the relation that is asked for."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

VolumeRelation = Literal["guzzetti2009", "larsen2010-soil", "larsen2010-bedrock"]


class _PowerLaw(NamedTuple):
    source: str
    alpha: float
    gamma: float


_RELATIONS: dict[VolumeRelation, _PowerLaw] = {
    "guzzetti2009": _PowerLaw("Guzzetti et al. 2009", 0.074, 1.450),
    "larsen2010-soil": _PowerLaw("Larsen et al. 2010, soil", 10**-0.649, 1.262),
    "larsen2010-bedrock": _PowerLaw("Larsen et al. 2010, bedrock", 10**-0.63, 1.41),
}


def volume_m3(area_m2: NDArray[np.float64], relation: VolumeRelation) -> NDArray[np.float64]:
    """Volume of landslides from their areas, V = α A^γ in SI units.

    `guzzetti2009`: α = 0.074, γ = 1.450, from 677 landslides of the slide type (Guzzetti et al.
    2009, Earth and Planetary Science Letters 279, 222-229, as its abstract gives it).
    `larsen2010-soil`: log10 α = -0.649 ± 0.021, γ = 1.262 ± 0.009; `larsen2010-bedrock`:
    log10 α = -0.63 ± 0.06, γ = 1.41 ± 0.02; both are fits to scars alone, so they read high on an
    outline that holds the deposit too (Larsen, Montgomery & Korup 2010, Nature Geoscience 3,
    247-251, table S1; its figures were taken from others who quote them, not from the table).

    The errors quoted are those of the fitted line. Single landslides scatter about it by a factor
    of two or more, which the papers do not give as a number, so no interval is given here.

    Args:
        area_m2: planimetric areas, shape (n,).
        relation: which relation.

    Returns:
        Volumes in m³, shape (n,).
    """
    law = _RELATIONS[relation]
    return np.asarray(law.alpha * area_m2**law.gamma)


def relation_words(relation: VolumeRelation) -> str:
    """A relation as it is stored beside a volume, such as `Guzzetti et al. 2009: V = 0.074 A^1.45`.

    Three digits are enough for α: its published errors are larger.
    """
    law = _RELATIONS[relation]
    return f"{law.source}: V = {law.alpha:.3f} A^{law.gamma:.3f}"
