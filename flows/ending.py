"""A run that is asked to end is gone within seconds, whatever it is in the middle of."""

from __future__ import annotations

import os
import signal
import threading
import time
from functools import cache

PATIENCE_S = 5.0


@cache
def end_promptly() -> None:
    """From now on, kill this process `PATIENCE_S` after it is sent SIGTERM, if it still runs.

    Python acts on a signal between two of its own instructions, and a network, a forest or GDAL may
    keep it from them for minutes. What is finished is on disk or in the store by then, and what is
    not was written aside. Only a run that a worker started may be ended so.
    """
    if "PREFECT__FLOW_RUN_ID" not in os.environ or not _is_main_thread():
        return
    heard, wakes = os.pipe()
    os.set_blocking(wakes, False)
    # The number of each signal is written here by C, at once.
    signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
    threading.Thread(target=_kill_in_time, args=(heard,), daemon=True).start()


def _kill_in_time(heard: int) -> None:
    while os.read(heard, 1) != bytes([signal.SIGTERM]):
        pass
    time.sleep(PATIENCE_S)
    os.kill(os.getpid(), signal.SIGKILL)


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
