"""What another process failed with comes back as what it was."""

from dataclasses import replace

import pytest
from prefect.client.schemas.objects import State, StateType

from flows.answer import handed_over_as
from flows.handover import _as_it_failed
from models.errors import ModelError
from tasks.errors import NoImageryError, ScarpError, TransientError
from tasks.events.turns import Turn

RAISED = "Flow run encountered an exception: "


@pytest.mark.parametrize(
    ("kind", "said", "expected", "sentence"),
    [
        ("FAILED", f"{RAISED}NoImageryError: no scene", NoImageryError, "^no scene$"),
        ("FAILED", f"{RAISED}ModelError: no weights", ModelError, "^no weights$"),
        ("FAILED", f"{RAISED}ZeroDivisionError: division", ScarpError, "map failed: .*division"),
        ("CRASHED", "it fell silent", TransientError, "map crashed: it fell silent"),
        ("CANCELLED", None, ScarpError, "map cancelled: no reason given"),
    ],
)
def test_a_failure_keeps_its_kind_and_its_sentence(kind, said, expected, sentence):
    state = State(type=StateType(kind), message=said)
    error = _as_it_failed("map", state)
    assert type(error) is expected
    with pytest.raises(expected, match=sentence):
        raise error


def test_only_a_run_that_takes_up_its_own_turn_finds_the_mapping_it_had_begun():
    turn = Turn("storm", "a run", 7, 1, 0, "", None, None)
    begun = handed_over_as(turn)
    assert handed_over_as(replace(turn, attempts=2)) == begun
    # After a cancelled one is replayed, and after a failure.
    assert handed_over_as(replace(turn, held_by="another")) != begun
    assert handed_over_as(replace(turn, failures=1)) != begun
