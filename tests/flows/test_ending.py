"""Cancelled work stops, also in the middle of a long computation."""

import os
import signal
import subprocess
import sys
import time

STUBBORN = """
import signal, sys
import numpy as np
from flows.ending import end_promptly
signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # as Prefect has one in every run
end_promptly()
print("begun", flush=True)
a = np.random.default_rng(0).random((4000, 4000))
for _ in range(3):
    np.linalg.svd(a)  # keeps Python from its signals for minutes
"""


def run(**environment):
    command = [sys.executable, "-c", STUBBORN]
    process = subprocess.Popen(
        command, env=os.environ | environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "begun\n"
    time.sleep(2)
    return process


def test_a_run_that_does_not_hear_it_is_asked_to_end_is_gone_all_the_same():
    with run(PREFECT__FLOW_RUN_ID="1") as process:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == -signal.SIGKILL
