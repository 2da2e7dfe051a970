import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tasks.errors import EventError
from tasks.events.request import event_from_fields, read_event

EXAMPLE = Path(__file__).parents[2] / "examples" / "emilia_romagna_2023"
HOKKAIDO = {
    "id": "us2000h8ty",
    "kind": "earthquake",
    "occurred_at": "2018-09-06T03:07:59+09:00",
    "longitude": 142.01,
    "latitude": 42.69,
    "magnitude": 6.6,
    "magnitude_type": "Mw",
}


def test_time_is_brought_to_utc():
    event = event_from_fields(HOKKAIDO)
    assert event.occurred_at == datetime(2018, 9, 5, 18, 7, 59, tzinfo=UTC)
    assert event.occurred_at.tzinfo is UTC


def test_numbers_may_be_text():
    assert event_from_fields(HOKKAIDO | {"magnitude": "6.6"}).magnitude == 6.6


def test_fields_that_are_none_count_as_not_given():
    assert event_from_fields(HOKKAIDO | {"rainfall_mm": None, "title": None}).rainfall_mm is None


def test_missing_title_says_kind_size_and_place():
    assert event_from_fields(HOKKAIDO).title == "M 6.6 earthquake at 42.69, 142.01"


def test_rainfall_without_an_amount_is_an_event():
    event = event_from_fields({**_without_shaking(HOKKAIDO), "kind": "rainfall"})
    assert event.rainfall_mm is None


def test_alternate_ids_are_kept_once_and_without_the_id_itself():
    given = ["EQ1234567", "EQ1234567", "us2000h8ty", "EQ-2018-000156-JPN"]
    event = event_from_fields(HOKKAIDO | {"alternate_ids": given})
    assert event.alternate_ids == ("EQ1234567", "EQ-2018-000156-JPN")


@pytest.mark.parametrize(
    "name", ["us2000h8ty", "official20110311054624120_30", "EQ1234567", "emilia-romagna-2023"]
)
def test_ids_of_catalogues_and_slugs_are_accepted(name):
    assert event_from_fields(HOKKAIDO | {"id": name}).id == name


@pytest.mark.parametrize(
    ("field", "value", "fix"),
    [
        ("id", "../../etc", "slug"),
        ("id", "a b", "slug"),
        ("id", "", "slug"),
        ("kind", "tsunami", "earthquake or rainfall"),
        ("occurred_at", "2018-09-06T03:07:59", "with its zone"),
        ("occurred_at", "2018-09-06", "with its zone"),
        ("occurred_at", "yesterday", "with its zone"),
        ("occurred_at", "1536170879", "with its zone"),
        ("occurred_at", 1536170879000, "with its zone"),
        ("occurred_at", "0001-01-01T00:00:00+14:00", "with its zone"),
        ("occurred_at", "9999-12-31T23:59:59-14:00", "a month ahead"),
        ("longitude", 190, "-180 to 180"),
        ("latitude", -90.5, "-90 to 90"),
        ("latitude", float("nan"), "-90 to 90"),
        ("longitude", True, "-180 to 180"),
        ("magnitude", "6.6Mw", "magnitude_type"),
        ("magnitude", float("inf"), "number"),
        ("depth_km", 6371, "kilometres"),
        ("magnitude_type", "6.6", "letters"),
    ],
)
def test_a_wrong_field_is_named_with_its_value_and_the_fix(field, value, fix):
    with pytest.raises(EventError) as caught:
        event_from_fields(HOKKAIDO | {field: value})
    sentence = str(caught.value)
    assert field in sentence
    assert repr(value) in sentence
    assert fix in sentence


@pytest.mark.parametrize("text", ["a\x00b", "a\x1b[31mb", "a\ud800b"])
def test_characters_the_store_cannot_carry_are_refused(text):
    with pytest.raises(EventError, match="title .*(control character U\\+|unicode)"):
        event_from_fields(HOKKAIDO | {"title": text})


def test_every_wrong_field_is_named_at_once():
    with pytest.raises(EventError, match=r"longitude .*latitude .*magnitude "):
        event_from_fields(HOKKAIDO | {"longitude": 999, "latitude": 99, "magnitude": "big"})


def test_missing_fields_are_named():
    with pytest.raises(EventError, match="occurred_at is missing"):
        event_from_fields({"id": "x1", "kind": "rainfall", "longitude": 1, "latitude": 1})


def test_a_misspelt_field_gets_a_hint():
    with pytest.raises(EventError, match="did you mean magnitude"):
        event_from_fields(HOKKAIDO | {"magnitud": 6.6})


def test_an_earthquake_has_no_rainfall():
    with pytest.raises(EventError, match="rainfall_mm and duration_h cannot go with"):
        event_from_fields(HOKKAIDO | {"rainfall_mm": 200, "duration_h": 36})


def test_a_rainstorm_has_no_magnitude():
    with pytest.raises(EventError, match="magnitude and magnitude_type cannot go with"):
        event_from_fields(HOKKAIDO | {"kind": "rainfall"})


def test_the_bundled_event_reads():
    event = read_event(EXAMPLE / "event.json")
    assert (event.id, event.kind) == ("emilia-romagna-2023", "rainfall")
    assert event.occurred_at == datetime(2023, 5, 16, tzinfo=UTC)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"id": "a', "is not JSON"),
        (b"", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[1, 2]", "no JSON object"),
        (json.dumps(HOKKAIDO | {"magnitude": None, "latitude": 91}).encode(), "latitude 91"),
    ],
)
def test_a_broken_event_file_is_named(tmp_path, content, reason):
    path = tmp_path / "event.json"
    path.write_bytes(content)
    with pytest.raises(EventError, match=reason) as caught:
        read_event(path)
    assert str(path) in str(caught.value)


def test_a_missing_event_file_is_named(tmp_path):
    with pytest.raises(EventError, match=r"nowhere\.json cannot be read: No such file"):
        read_event(tmp_path / "nowhere.json")


def _without_shaking(fields):
    return {name: value for name, value in fields.items() if not name.startswith("magnitude")}
