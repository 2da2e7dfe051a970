"""What programs say under `scarp up`: a JSON object a line, with the event and run it is about.

`logging.yml` applies these; Prefect reads it by `PREFECT_LOGGING_SETTINGS_PATH`, and sends what
runs say to its server as well.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

SETTINGS = Path(__file__).with_name("logging.yml")

_about: ContextVar[dict[str, str]] = ContextVar("logs_about")


@contextmanager
def about(**ids: str) -> Iterator[None]:
    """Put ids, such as `event` and `run`, into every line that is logged while the block runs."""
    token = _about.set(_about.get({}) | ids)
    try:
        yield
    finally:
        _about.reset(token)


class Ids(logging.Filter):
    """Adds the ids of `about`, and of the Prefect flow run this process is, to each record."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let everything pass."""
        ids = dict(_about.get({}))
        if flow_run := os.environ.get("PREFECT__FLOW_RUN_ID"):
            ids["flow_run"] = flow_run
        for name, value in ids.items():
            setattr(record, name, value)
        return True
