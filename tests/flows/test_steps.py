"""What makes a step of a flow be tried again, and for how long it may take."""

import time

import pytest
from prefect import flow

from flows import steps
from flows.steps import WAITS_S, step
from tasks.errors import CatalogError, TransientError

pytestmark = pytest.mark.usefixtures("prefect")


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(steps, "WAITS_S", [0.0] * len(WAITS_S))


def run(function, hours=1.0):
    return flow(lambda: step(function, hours)(), name="one-step")()


def test_waits_grow_to_a_cap():
    assert WAITS_S == [2, 6, 18, 30]


def test_what_may_mend_itself_is_tried_until_it_has():
    failures = [TransientError("busy"), TransientError("still busy")]

    def answer():
        if failures:
            raise failures.pop()
        return "mended"

    assert run(answer) == "mended"


@pytest.mark.parametrize(
    ("error", "times"), [(CatalogError("no catalog"), 1), (TransientError("busy"), 5)]
)
def test_what_cannot_fails_at_once_and_the_rest_after_the_last_try(error, times):
    calls = []

    def fail():
        calls.append(1)
        raise error

    with pytest.raises(type(error), match=str(error)):
        run(fail)
    assert len(calls) == times


def test_what_takes_too_long_is_stopped_and_says_its_limit():
    def dawdle():
        for _ in range(200):
            time.sleep(0.05)

    with pytest.raises(TransientError, match="to dawdle took longer than 0.000277778 h"):
        run(dawdle, hours=1 / 3600)
