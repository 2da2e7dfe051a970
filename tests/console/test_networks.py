"""`scarp model`: what there is, as people and machines read it."""

import json

from typer.testing import CliRunner

from console.networks import app


def test_networks_are_listed_with_the_library_and_the_extra_each_needs():
    rows = json.loads(CliRunner().invoke(app, ["list", "--networks", "--json"]).output)
    needed = {row["name"]: (row["library"], row["extra"]) for row in rows}
    assert needed["ldm-net"] == ("", "")
    assert needed["segformer-b4"] == ("transformers", "baselines")
    assert needed["linknet"] == ("segmentation_models_pytorch", "smp")
    assert all(row["installed"] for row in rows if not row["extra"])
    table = CliRunner().invoke(app, ["list", "--networks"]).output
    assert set(needed) <= set(table.split())
