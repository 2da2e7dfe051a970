"""`scarp drill`: true processes, truly killed, in a folder of its own."""

import json
import os
import subprocess

from console.drills.machine import SCARP


def test_an_unknown_fault_is_named_with_those_there_are(scarp):
    code, _, error = scarp("drill", "--faults", "flow-killed,meteor")
    assert code == 2
    assert "'meteor' is not one of none, flow-killed" in error


def test_an_event_is_answered_once_by_triggers_alone_also_when_its_run_is_killed(tmp_path):
    environment = os.environ | {"TMPDIR": str(tmp_path), "SCARP_HOME": str(tmp_path / "untouched")}
    tmp_path.chmod(0o755)
    done = subprocess.run(
        [*SCARP, "drill", "--faults", "flow-killed", "--json"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    undisturbed, killed = json.loads(done.stdout)
    happened = [moment["what"] for moment in undisturbed["moments"]]
    assert happened[0] == "event registered" and happened[-1] == "products written"
    assert {"inventory published", "susceptibility stored"} <= set(happened)
    assert killed["product"] == undisturbed["product"] and killed["struck_s"] > 0
    assert list(tmp_path.iterdir()) == []
