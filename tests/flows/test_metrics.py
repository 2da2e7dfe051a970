"""What Prometheus reads, by its own parser."""

from datetime import UTC, datetime, timedelta

from prometheus_client.parser import text_string_to_metric_families

from tasks.events.decisions import request_response
from tests.flows.conftest import EVENT


def read(services=lambda: {}):
    from flows.metrics import exposition

    families = text_string_to_metric_families(exposition(services).decode())
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in families
        for sample in family.samples
    }


def test_services_queue_and_latencies_are_told(registered):
    now = datetime.now(UTC)
    asked = now - timedelta(hours=1)
    with registered.engine.begin() as connection:
        request_response(connection, EVENT, "1", "it rained", 1.0, asked, asked)
    told = read(lambda: {"relay": (True, 2), "console": (False, 0)})
    assert told["scarp_service_up", "relay"] == 1 > told["scarp_service_up", "console"]
    assert told["scarp_service_restarts_total", "relay"] == 2
    assert told["scarp_store_up",] == told["scarp_responses", "due"] == 1
    assert 3600 <= told["scarp_queue_age_seconds",] < 4200
    assert told["scarp_latency_seconds_count", "event", "registered"] == 1
    assert told["scarp_latency_seconds_bucket", "60.0", "registered", "registration"] == 1


def test_without_its_database_it_says_so(world, monkeypatch):
    monkeypatch.setenv("SCARP_DATABASE_URL", "postgresql://nobody@127.0.0.1:9/nowhere")
    told = read()
    assert told["scarp_store_up",] == 0
    assert ("scarp_queue_age_seconds",) not in told
