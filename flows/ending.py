"""A run that is asked to end is gone within seconds, whatever it is in the middle of."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress
from functools import cache

import httpx

PATIENCE_S = 3.0
LOOK_S = 2.0
ASK_S = 10.0


@cache
def end_promptly() -> None:
    """From now on, kill this process `PATIENCE_S` after it is sent SIGTERM, if it still runs.

    Python acts on a signal between two of its own instructions, and a network, a forest or GDAL may
    keep it from them for minutes. What is finished is on disk or in the store by then, and what is
    not was written aside. Only a run that a worker started may be ended so. One that outlives its
    worker sees for itself when it is cancelled.
    """
    if "PREFECT__FLOW_RUN_ID" not in os.environ or not _is_main_thread():
        return
    heard, wakes = os.pipe()
    os.set_blocking(wakes, False)
    # The number of each signal is written here by C, at once.
    signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
    threading.Thread(target=_kill_in_time, args=(heard,), daemon=True).start()
    threading.Thread(target=_kill_if_cancelled, args=(os.getppid(),), daemon=True).start()


def _kill_in_time(heard: int) -> None:
    while os.read(heard, 1) != bytes([signal.SIGTERM]):
        pass
    time.sleep(PATIENCE_S)
    os.kill(os.getpid(), signal.SIGKILL)


def _kill_if_cancelled(worker: int) -> None:
    """Once the worker is gone, end this process as it would have, when its run is cancelled."""
    while os.getppid() == worker:
        time.sleep(LOOK_S)
    run = f"/flow_runs/{os.environ['PREFECT__FLOW_RUN_ID']}"
    with httpx.Client(base_url=os.environ["PREFECT_API_URL"], timeout=ASK_S) as client:
        while True:
            with suppress(httpx.HTTPError):
                state = client.get(run).raise_for_status().json()["state"]
                if state["type"] == "CANCELLING":
                    ended = {"type": "CANCELLED", "name": "Cancelled", "message": state["message"]}
                    told = client.post(f"{run}/set_state", json={"state": ended})
                    told.raise_for_status()
                    os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(LOOK_S)


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
