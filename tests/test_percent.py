"""Parts of a whole."""

import pytest

from tasks.percent import percent


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (0, "0 %"),
        (0.000003, "< 0.01 %"),
        (0.0003, "0.03 %"),
        (0.0054, "0.54 %"),
        (0.0996, "10 %"),
        (0.25, "25 %"),
        (0.994, "99 %"),
        (0.99975, "99.9 %"),
        (1, "100 %"),
    ],
)
def test_what_is_neither_nothing_nor_all_is_never_said_to_be(share, said):
    assert percent(share) == said
