"""Bars in Prefect's UI are found by the event they are of."""

from fnmatch import fnmatchcase

from flows.artifact_names import described, stage_key, stage_keys, stage_of


def test_the_bar_of_an_event_is_not_that_of_one_whose_id_ends_alike():
    key, said = stage_key("mapping landslides", "Emilia_2023"), described("mapping", "Emilia_2023")
    assert key == "progress-mapping-landslides-emilia-2023"
    for event_id in ("Emilia_2023", "2023"):
        assert fnmatchcase(key, stage_keys(event_id).replace("%", "*"))
    assert not fnmatchcase(key, stage_keys("Emilia_2024").replace("%", "*"))
    assert stage_of(said, "Emilia_2023") == "mapping"
    assert stage_of(said, "2023") is None
