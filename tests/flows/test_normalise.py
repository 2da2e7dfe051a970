"""The image with another radiometry, through the flow, on the real dates of Emilia-Romagna."""

import pytest

from flows.map_landslides import map_landslides
from flows.options import ResponseOptions
from flows.scores import check_normalise
from models.weights import load
from tasks.errors import BadInputError
from tests.conftest import EXAMPLE
from tests.flows.conftest import EVENT, rows

pytestmark = pytest.mark.usefixtures("prefect")


def test_each_radiometry_makes_a_version_of_its_own_and_says_so(registered):
    options = ResponseOptions(source=str(EXAMPLE / "catalog.json"), screens=("bare-before=0.2",))
    made = {}
    for how in ("none", "training", "before"):
        asked = options.model_copy(update={"normalise": how})
        made[how] = map_landslides(EVENT, asked)
        assert map_landslides(EVENT, asked).inventory == made[how].inventory
    versions = "SELECT version FROM scarp.inventory ORDER BY version"
    assert rows(registered, versions) == [(1,), (2,), (3,)]
    scores = {how: mapped.rasters.score.read_bytes() for how, mapped in made.items()}
    assert len(set(scores.values())) == 3
    provenance = made["before"].provenance
    assert provenance.parameters["normalise"] == "before"
    assert [name for name in provenance.inputs if name.startswith("like")] == [
        "like 1 emilia-romagna-2023/S2_L2A_4120_20230428"
    ]
    assert "normalise" not in made["none"].provenance.parameters


def test_weights_without_quantiles_are_refused_before_any_work():
    _, card = load("ldm-net-tiny")
    bare = type(card)(**{**vars(card), "normalisation": type(card.normalisation)()})
    options = ResponseOptions(source="x", normalise="training")
    check_normalise(options, card)
    with pytest.raises(BadInputError, match="holds no quantiles"):
        check_normalise(options, bare)
