"""What every benchmark writes beside its figures: when, on what, of which commit."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def machine() -> dict[str, Any]:
    """The date, the commit (with `+dirty` if edited), and the machine with its load."""
    described = ["git", "describe", "--always", "--abbrev=40", "--dirty=+dirty"]
    commit = subprocess.run(
        described, capture_output=True, text=True, check=True, cwd=RESULTS.parent
    )
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "")
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit.stdout.strip(),
        "cpu": cpu or platform.processor(),
        "cores": os.cpu_count(),
        "load_before": os.getloadavg(),
    }


def write(name: str, result: dict[str, Any]) -> Path:
    """Write `benchmarks/results/<name>.json`, whole."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    aside = path.with_suffix(".part")
    aside.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    aside.replace(path)
    return path
