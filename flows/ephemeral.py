"""The temporary Prefect server of a command that runs flows itself: it ends when the command does.

Prefect ends it when a command comes to its end. One that is ended by a signal, be it SIGKILL or the
SIGTERM and SIGHUP of `timeout` and of a lost terminal, would leave 200 MB of it behind.
"""

from __future__ import annotations

import atexit
import subprocess
from typing import Any

from prefect.server.api.server import SubprocessASGIServer


class EphemeralServer(SubprocessASGIServer):
    """Once made, the server that Prefect starts where none is named: it keeps one of the kind."""

    # A private method, since what is public ends before the process is started or seconds after it:
    # a command killed between the two would leave it behind.
    def _run_uvicorn_command(self) -> subprocess.Popen[Any]:
        process = super()._run_uvicorn_command()
        # The kernel closes the pipe however this process ends; a line says that it ends well.
        watch = subprocess.Popen(
            ["sh", "-c", f"read line || kill {process.pid}"],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        atexit.register(watch.communicate, b"\n")
        return process
