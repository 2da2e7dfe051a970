"""What the README tells people to type must run as it stands."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def environment(tmp_path):
    tmp_path.chmod(0o755)
    scripts = Path(sys.executable).parent
    chosen = {"SCARP_HOME": str(tmp_path / "home"), "PATH": f"{scripts}:{os.environ['PATH']}"}
    yield {name: value for name, value in os.environ.items() if "PREFECT" not in name} | chosen
    stop = [str(scripts / "scarp"), "db", "stop", "--force"]
    subprocess.run(stop, env=os.environ | chosen, check=True, capture_output=True)


def test_the_steps_of_the_readme_run(environment):
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (steps,) = [block for block in blocks if "scarp register --file" in block]
    commands = steps.replace("source .venv/bin/activate\n", "")
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "Traceback" not in ran.stderr
    assert "pixel F1" in ran.stdout
    assert "(5 rows)" in ran.stdout


def test_every_command_the_readme_lists_exists(environment):
    text = (ROOT / "README.md").read_text()
    named = set(re.findall(r"^\| `scarp ([a-z]+)", text, re.MULTILINE))
    shown = subprocess.run(
        ["scarp", "--help"], env=environment, capture_output=True, text=True, check=True
    ).stdout
    missing = {name for name in named if not re.search(rf"│ {name}\b", shown)}
    assert named
    assert not missing
