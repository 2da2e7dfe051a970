"""The whole job on the 2018 Hokkaido earthquake: time, memory, and agreement with the reference.

    python benchmarks/hokkaido.py ../shared/data/hokkaido2018

Runs the commands a person would, in a new SCARP_HOME, and writes benchmarks/results/hokkaido.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from record import machine, write

from models.cards import DEFAULT

EVENT = "us2000h8ty"
REGISTER = ("register", EVENT, "--kind", "earthquake", "--time", "2018-09-05T18:07:59Z", "--lon")
REGISTER += ("141.93", "--lat", "42.69", "--magnitude", "6.6", "--title", "Hokkaido Eastern Iburi")


def scarp(home: Path, *words: str) -> tuple[Any, float, float]:
    """Run one command; returns its JSON, its seconds, and its peak resident memory in MB."""
    command = [str(Path(sys.executable).parent / "scarp"), *words]
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen(command, stdout=out, env=os.environ | {"SCARP_HOME": str(home)})
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
        out.seek(0)
        answer = json.loads(out.read()) if "--json" in words else None
        return answer, seconds, usage.ru_maxrss / 1024


def main() -> None:
    """Register, respond, import the reference, compare, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder of scene_rgb_3m.tif and inventory.gpkg")
    parser.add_argument("--weights", default=DEFAULT)
    chosen = parser.parse_args()
    about = machine()
    with tempfile.TemporaryDirectory(prefix="scarp-hokkaido-") as folder:
        home = Path(folder)
        home.chmod(0o755)
        _, registering, _ = scarp(home, *REGISTER, "--json")
        respond = ["respond", EVENT, "--source", str(chosen.data / "scene_rgb_3m.tif")]
        summary, seconds, peak_mb = scarp(home, *respond, "--weights", chosen.weights, "--json")
        reference = [str(chosen.data / "inventory.gpkg"), "--observed-layer", "interpreted_area"]
        imported, importing, _ = scarp(
            home, "inventory", "import", EVENT, *reference,
            "--layer", "scars=scar", "--layer", "deposits=deposit", "--json",
        )  # fmt: skip
        version = str(imported["version"])
        agreement, comparing, _ = scarp(home, "evaluate", EVENT, "--reference", version, "--json")
        scarp(home, "db", "stop", "--force")
    record = {
        "machine": about,
        "weights": chosen.weights,
        "seconds": {
            "register": round(registering, 1),
            "respond": round(seconds, 1),
            "import": round(importing, 1),
            "evaluate": round(comparing, 1),
        },
        "respond_peak_rss_mb": round(peak_mb),
        "landslides": summary["landslides"],
        "observed_km2": summary["observed_km2"],
        "scores": agreement["scores"],
        "agreement": agreement["agreement"],
        "note": "Landslide4Sense holds Sentinel-2 tiles of Iburi (Hokkaido): the region was seen "
        "in training, the sensor was not.",
    }
    print(json.dumps(record, indent=2))
    print("written to", write("hokkaido", record))


if __name__ == "__main__":
    main()
