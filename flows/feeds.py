"""Which feeds there are, and what it takes to watch one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

from flows.world import World, open_world
from infra.settings import Settings
from tasks.errors import BadInputError
from tasks.events.fetch import may_follow
from tasks.events.reports import Source
from tasks.events.rules import Rules, read_rules

FEEDS = {
    "usgs": "https://earthquake.usgs.gov/earthquakes/feed/v1.0/summary/all_day.geojson",
    "gdacs": "https://www.gdacs.org/xml/rss_7d.xml",
}


@dataclass(frozen=True)
class Watch:
    """One feed, and everything a look at it needs."""

    world: World
    source: Source
    url: str
    rules: Rules

    def may_follow(self, href: str) -> bool:
        """Whether a link in the feed leads where the operator lets it."""
        return may_follow(href, self.url, self.rules.feed.hosts)


def open_watch(
    source: str, url: str | None = None, rules: Path | None = None, interval: str | None = None
) -> Watch:
    """A feed with the rules by which it is watched.

    Args:
        source: usgs, gdacs or rain.
        url: the feed, an address or a file; None is the source's own.
        rules: TOML file; None is what `SCARP_RULES` names.
        interval: time between looks, such as 5min; None is the rules'.

    Raises:
        BadInputError: there is no such source, or it has no feed of its own and none is given.
        RulesError: the rules cannot be used.
    """
    if source not in get_args(Source):
        known = ", ".join(get_args(Source))
        raise BadInputError(f"--source {source!r} is not one of {known}")
    feed = url or FEEDS.get(source)
    if feed is None:
        raise BadInputError(f"--source {source} needs --url: a file, a folder or an address")
    chosen = read_rules(rules or Settings().rules, {"interval": interval} if interval else {})
    return Watch(open_world(), cast("Source", source), feed, chosen)
