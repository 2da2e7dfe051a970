"""A proxy of the network is for what lies beyond this machine."""

from __future__ import annotations

import os

from infra.ports import LOOPBACK

OURSELVES = (LOOPBACK, "localhost", "::1")


def spare_loopback() -> None:
    """Let this process, and all it starts, reach its own servers past HTTP_PROXY and the like.

    What NO_PROXY, or no_proxy, names already stays; some libraries read the one, some the other.
    """
    given = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    if given.strip() == "*":
        return
    named = [name.strip() for name in given.split(",") if name.strip()]
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = ",".join(dict.fromkeys([*named, *OURSELVES]))
