"""A line of a log can be found by its event and its run."""

import json
import logging
from logging.config import DictConfigurator

import yaml

from infra.logs import SETTINGS, Ids, about


def test_a_line_is_json_and_names_what_it_is_about(monkeypatch):
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", "flow-run-1")
    settings = yaml.safe_load(SETTINGS.read_text())
    formatter = DictConfigurator(settings).configure_formatter(settings["formatters"]["json"])
    record = logging.makeLogRecord({"name": "flows.steps", "levelname": "INFO", "msg": "done"})
    record.seconds = 1.5
    with about(event="storm"), about(run="run-1"):
        assert Ids().filter(record)
    line = json.loads(formatter.format(record))
    after = logging.makeLogRecord({})
    assert Ids().filter(after) and not hasattr(after, "event")
    ids = {"event": "storm", "run": "run-1", "flow_run": "flow-run-1"}
    said = {"level": "INFO", "logger": "flows.steps", "message": "done", "seconds": 1.5}
    assert line.items() >= (ids | said).items()
    assert line["time"].startswith("20")
