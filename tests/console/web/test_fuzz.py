"""Every endpoint, asked what its description allows and what it does not: no fault of ours."""

from contextlib import suppress

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.generation import GenerationMode

from tests.console.web.conftest import EVENT

EXAMPLES = 8
# As users run it: what a grid warns of is no error.
pytestmark = pytest.mark.filterwarnings("default")
FEWER = {
    "max_examples": EXAMPLES,
    "deadline": None,
    "derandomize": True,
    "database": None,
    "phases": [Phase.explicit, Phase.generate],
    "suppress_health_check": list(HealthCheck),
}


@pytest.mark.parametrize("api", ["/pages/api", "/api"])
@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_no_question_is_a_fault_of_ours(address, tokens, api, mode):
    headers = {"Authorization": f"Bearer {tokens['operator']}"}
    schema = schemathesis.openapi.from_url(f"{address}{api}", headers=headers)
    schema.config.base_url = address
    asked = 0
    for found in schema.get_all_operations():
        operation = found.ok()
        # A stream of news has no end to wait for.
        if operation.path.endswith("/live"):
            continue

        @settings(**FEWER)
        @given(case=operation.as_strategy(generation_mode=mode))
        def no_fault(case):
            nonlocal asked
            asked += 1
            # Half of the questions are about an event that is there, else they would end early.
            if asked % 2 and "event_id" in (case.path_parameters or {}):
                case.path_parameters["event_id"] = EVENT
            answer = case.call(headers=headers, allow_redirects=False, timeout=60)
            assert answer.status_code < 500 or answer.status_code == 503, (
                f"{case.as_curl_command()}: {answer.status_code} {answer.text[:500]}"
            )

        # Of an endpoint that takes nothing, nothing wrong can be asked.
        with suppress(Unsatisfiable):
            no_fault()
    assert asked > 100
