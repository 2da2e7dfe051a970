"""When a command looks for garbage: seldom while it starts, as any program once it stays."""

from __future__ import annotations

import atexit
import gc

_USUAL = gc.get_threshold()
_SELDOM = 100_000


def start_fast() -> None:
    """Put garbage off: nearly all that a short command makes is modules, which stay to its end.

    Looking for it costs a seventh of their imports, and most of a second when the process ends.
    """
    gc.set_threshold(_SELDOM)
    atexit.register(gc.freeze)


def stay() -> None:
    """Look for garbage as usual: a command that runs for days would hold hundreds of MB of it."""
    gc.set_threshold(*_USUAL)
