"""What Prometheus is told, asked of the store each time it looks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from flows.world import open_world
from infra.errors import InfraError
from tasks.errors import StoreError
from tasks.events.latency import Milestones, failures, milestones, queue
from tasks.events.turns import list_turns

HOUR_S, DAY_S = 3600.0, 86400.0
# From minutes, which software takes, to weeks, which clouds take.
BOUNDS_S = (
    *(60.0, 300.0, 900.0, HOUR_S, 3 * HOUR_S, 6 * HOUR_S, 12 * HOUR_S),
    *(DAY_S, 2 * DAY_S, 4 * DAY_S, 7 * DAY_S, 14 * DAY_S, 30 * DAY_S),
)

Services = Callable[[], Mapping[str, tuple[bool, int]]]


def exposition(services: Services) -> bytes:
    """Every metric in Prometheus' text format.

    Args:
        services: name → whether it runs, and how often it was started again.
    """
    registry = CollectorRegistry()
    registry.register(_Operations(services))
    return generate_latest(registry)


class _Operations(Collector):
    def __init__(self, services: Services) -> None:
        self.services = services

    def collect(self) -> Iterable[Metric]:
        yield from _of_services(self.services())
        store = GaugeMetricFamily("scarp_store_up", "Whether the database answers.")
        try:
            with open_world().engine.connect() as connection:
                found = [*_of_responses(connection), *_of_latency(milestones(connection))]
            store.add_metric([], 1)
        except (DBAPIError, InfraError, StoreError):
            found = []
            store.add_metric([], 0)
        yield store
        yield from found


def _of_services(services: Mapping[str, tuple[bool, int]]) -> Iterator[Metric]:
    up = GaugeMetricFamily("scarp_service_up", "Whether a program runs.", labels=["service"])
    restarts = CounterMetricFamily(
        "scarp_service_restarts", "How often a program was started again.", labels=["service"]
    )
    for name, (runs, started_again) in services.items():
        up.add_metric([name], runs)
        restarts.add_metric([name], started_again)
    yield up
    yield restarts


def _of_responses(connection: Connection) -> Iterator[Metric]:
    waits = queue(connection, datetime.now(UTC))
    yield GaugeMetricFamily(
        "scarp_queue_age_seconds",
        "How long the oldest response that is due has waited for somebody to make it.",
        value=waits.age.total_seconds(),
    )
    counts = dict.fromkeys(("due", "running", "retrying", "given_up"), 0)
    counts["due"] = waits.waiting
    for turn in list_turns(connection):
        state = "given_up" if turn.dead_at else "running" if turn.held_by else "retrying"
        counts[state] += 1
    responses = GaugeMetricFamily("scarp_responses", "Responses by state.", labels=["state"])
    for state, count in counts.items():
        responses.add_metric([state], count)
    yield responses
    failed = CounterMetricFamily(
        "scarp_run_failures", "Failed runs, by the kind of error.", labels=["flow", "cause"]
    )
    for one in failures(connection):
        failed.add_metric([one.flow, one.cause], one.times)
    yield failed


def _of_latency(events: list[Milestones]) -> Iterator[Metric]:
    taken = HistogramMetricFamily(
        "scarp_latency_seconds",
        "Time from an event, or from when Scarp heard of it, to what was reached first.",
        labels=["since", "to"],
    )
    for since in ("event", "registration"):
        lasted: dict[str, list[float]] = {}
        for one in events:
            start = one.occurred if since == "event" else one.registered
            for name, span in one.after(start).items():
                lasted.setdefault(name, []).append(span.total_seconds())
        for name, seconds in lasted.items():
            counts = [(str(top), sum(s <= top for s in seconds)) for top in BOUNDS_S]
            taken.add_metric([since, name], [*counts, ("+Inf", len(seconds))], sum(seconds))
    yield taken
