"""An application on a true server, for as long as a test asks it."""

import gc
import threading
import time
import warnings
from contextlib import contextmanager

import uvicorn

from infra.ports import free_port


@contextmanager
def serving(app):
    """A server of an application on loopback; gives its address."""
    port = free_port()
    server = uvicorn.Server(
        uvicorn.Config(app, port=port, log_level="warning", timeout_graceful_shutdown=1)
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.05)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()
        # What was asked while it ended left its connections behind; another test would be blamed.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()
