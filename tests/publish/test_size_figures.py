from __future__ import annotations

import numpy as np
import pytest

from tasks.errors import StorageError
from tasks.publish.charts import BLUE
from tasks.publish.size_figures import frequency_density, size_figure
from tests.publish.colours import share_of


@pytest.mark.parametrize("areas", [[900.0], [900.0, 900.0], [400.0, 900.0, 15_000.0]])
def test_any_number_of_sizes_can_be_drawn(tmp_path, areas):
    path = size_figure(tmp_path / "sizes.png", areas, minimum_m2=300)
    assert share_of(BLUE, path) > 0


def test_the_density_of_sizes_adds_up_to_their_number():
    areas = 300 * (1 + np.random.default_rng(0).pareto(1.4, 2000))
    centre, density, count = frequency_density(areas)
    assert count.sum() == 2000
    assert (np.diff(centre) > 0).all()
    slope = np.polyfit(np.log(centre), np.log(density), 1, w=np.sqrt(count))[0]
    assert slope == pytest.approx(-2.4, abs=0.15), "a power law keeps its exponent"


def test_a_figure_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"file/sizes\.png"):
        size_figure(tmp_path / "file" / "sizes.png", [500.0])
