"""`prefect.yaml` is data: what it names must be there."""

from importlib import import_module
from pathlib import Path

import pytest
import yaml
from prefect import Flow
from prefect.utilities.callables import parameter_schema

from infra.automations import QUEUES

ROOT = Path(__file__).parents[2]
DEPLOYMENTS = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]

of_each = pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda d: d["name"])


def flow_of(deployment):
    module, _, name = deployment["entrypoint"].rpartition(".")
    return getattr(import_module(module), name)


@of_each
def test_a_deployment_names_a_flow_of_its_own_name_and_a_queue_that_is_made(deployment):
    flow = flow_of(deployment)
    assert isinstance(flow, Flow)
    assert flow.name == deployment["name"]
    assert deployment["work_pool"]["name"] in ("cpu", "gpu")
    assert deployment["work_pool"].get("work_queue_name", "default") in QUEUES
    assert "scarp" in deployment["tags"] and deployment["description"]


@of_each
def test_every_parameter_is_explained_to_who_fills_in_the_form(deployment):
    schema = parameter_schema(flow_of(deployment)).model_dump()
    shown = [schema["properties"]]
    shown += [one["properties"] for one in schema["definitions"].values() if "properties" in one]
    words = {name: about.get("description") for form in shown for name, about in form.items()}
    assert words
    assert [name for name, said in words.items() if not said] == []
