"""Looking at a feed by schedule: the deployment `watch`, and where the feeds lie."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from prefect import flow
from prefect.events import emit_event

from flows.feeds import open_watch
from flows.watch import look_once
from infra.notifications import LOOK_FAILED, LOOKED
from tasks.events.reports import Source

NAME = "watch"


@flow(name=NAME)
def look(source: Source = "usgs", url: str | None = None, rules: Path | None = None) -> str:
    """Look at a feed once, and register, update or cancel events by the rules.

    Args:
        source: usgs, gdacs or rain.
        url: the feed, an address or a file; by default the source's own. Rain has none.
        rules: TOML file of rules; by default what SCARP_RULES names.

    Raises:
        BadInputError: there is no such source, or it has no feed of its own and none is given.
        TransientError, FeedError: the feed cannot be read; the next look makes up for it.
    """
    watch = open_watch(source, url, rules)
    looked = look_once(watch, datetime.now(UTC))
    resource = {"prefect.resource.id": f"scarp.feed.{source}", "scarp.feed": watch.url}
    if looked.failure:
        emit_event(LOOK_FAILED, resource, payload={"reason": str(looked.failure)})
        raise looked.failure
    emit_event(LOOKED, resource)
    news = [one for one in looked.decisions if one.decision != "unchanged"]
    wanted = [one for one in news if one.decision != "ignored"]
    said = "; ".join(f"{one.event_id} {one.decision}" for one in wanted)
    return f"{len(news)} of {len(looked.decisions)} entries are new" + (f": {said}" if said else "")
