"""`prefect worker` for long days and many users: `python -m infra.worker start --pool cpu`.

Prefect's own asks for runs each second, and what it frees stays with the C library, a page here and
there: on a busy day it grew by 200 MB an hour (`benchmarks/soak.py`), with no more objects in it.
It also keeps files in a folder `runner_storage`, which is that of whoever made it first: no worker
of another user of the machine would start.
"""

from __future__ import annotations

import ctypes
import gc
import sys
import tempfile
import threading
import time

EVERY_S = 60.0


def main() -> None:
    """Be `prefect worker` with the words of the command line."""
    from prefect.cli import app

    threading.Thread(target=_give_back, daemon=True).start()
    sys.argv.insert(1, "worker")
    with tempfile.TemporaryDirectory(prefix="scarp-worker-") as tempfile.tempdir:
        app()


def _give_back() -> None:
    """Collect garbage and return free memory to the system, every minute."""
    # Where the C library is not glibc it returns memory by itself.
    trim = getattr(ctypes.CDLL(None), "malloc_trim", lambda _pad: None)
    while True:
        time.sleep(EVERY_S)
        gc.collect()
        trim(0)


if __name__ == "__main__":
    main()
