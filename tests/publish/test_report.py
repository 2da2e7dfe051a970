from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tasks.errors import StorageError
from tasks.publish.report import Making, Report, SusceptibilityResult, write_report
from tasks.publish.size_figures import size_figure
from tasks.susceptibility.classes import ClassRow
from tasks.types import Doubt, Interval, Provenance, SceneJudgement, Screening


class Page(HTMLParser):
    """The words of a page, and every address it asks for."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.words: list[str] = []
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.text = re.sub(r"\s+", " ", " ".join(self.words))

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.addresses += [value for name, value in attributes if name in ("src", "href")]

    def handle_data(self, data):
        if self.tags and self.tags[-1] != "style":
            self.words.append(data)


@pytest.fixture
def report(tmp_path, event, aoi, scene) -> Report:
    clouded = replace(scene, id="S2_L2A_4120_20230518")
    provenance = Provenance(event.id, {"aoi": "a1b2"}, {"window_px": 512}, "feed" * 16)
    return Report(
        event=event,
        aoi=aoi,
        judgements=(
            SceneJudgement(scene, 0.93, True, "first clear scene after the event"),
            SceneJudgement(clouded, 0.0, False, "0 % clear, less than the 60 % asked for"),
        ),
        seen_share=0.75,
        landslide_areas_m2=(1200.0, 800.0, 4000.0),
        inventory="version 2, published",
        method="ldm-net-tiny@sha256:feed",
        threshold=0.5,
        minimum_mapping_unit_m2=300.0,
        susceptibility=SusceptibilityResult(
            "random-forest",
            Interval(0.81, 0.76, 0.86),
            Interval(0.9, 0.87, 0.92),
            {"slope": Interval(0.1, 0.05, 0.15)},
            "5 districts.",
        ),
        doubts=(Doubt("undated-scene", "the scene has no date"),),
        making=(
            Making(
                "inventory version 2",
                "run-7",
                provenance,
                "c0ffee",
                datetime(2026, 1, 2, tzinfo=UTC),
            ),
        ),
        weights_card={"name": "ldm-net-tiny", "scores": {"validation": {"f1": 0.61}}},
        credits=("Contains modified Copernicus Sentinel data 2023",),
        size_figure=size_figure(tmp_path / "sizes.png", [1200.0, 800.0, 4000.0]),
    )


def written(report: Report, tmp_path: Path) -> Page:
    return Page(write_report(tmp_path / "report.html", report))


def test_a_report_tells_the_whole_story(report, tmp_path):
    text = written(report, tmp_path).text
    for said in (
        "Rainstorm of 16-17 May 2023",
        "200 mm of rain in 36 hours",
        "given by the operator",
        "6,000 m² in all",
        "1,200 m² and 4,000 m²",
        "first clear scene after the event",
        "0 % clear, less than the 60 % asked for",
        "the scene has no date",
        "0.81",
        "(0.76–0.86)",
        "0.09 higher",
        "run-7",
        "c0ffee",
        report.making[0].provenance.digest,
        "validation: f1: 0.61",
        "Contains modified Copernicus",
    ):
        assert said in text, said


def test_the_report_calls_nothing_a_district_that_was_held_out_otherwise(report, tmp_path):
    held = replace(
        report.susceptibility,
        sampling="blocks of 2000 m dealt to 5 folds, 3 times",
        skill_figure=report.size_figure,
    )
    text = written(replace(report, susceptibility=held), tmp_path).text
    assert "blocks of 2000 m" in text and "held out in space" in text
    assert "district" not in text


def test_a_report_needs_nothing_but_itself(report, tmp_path):
    page = written(report, tmp_path)
    assert page.addresses and all(a.startswith("data:image/png;base64,") for a in page.addresses)
    assert not {"script", "link", "iframe"} & set(page.tags)
    assert "http" not in page.source.replace("http-equiv", "")


def test_what_was_not_seen_is_never_called_stable(report, tmp_path):
    text = written(report, tmp_path).text
    assert "0.41 km² of the area of interest, 25 %, was not seen clear" in text
    assert "Whether the ground failed there is unknown. It is not stable ground" in text
    whole = written(replace(report, seen_share=1), tmp_path).text
    assert "The whole area of interest was seen clear" in whole
    assert "not seen clear" not in whole


def test_no_landslides_is_a_result(report, tmp_path):
    skipped = "no landslide was mapped, so there is nothing to learn from"
    empty = replace(
        report,
        landslide_areas_m2=(),
        size_figure=None,
        susceptibility=None,
        susceptibility_skipped=skipped,
        making=(),
        credits=(),
        doubts=(),
        weights_card={},
    )
    text = written(empty, tmp_path).text
    assert "No landslide was mapped." in text
    assert f"There is no susceptibility map: {skipped}." in text
    assert "Before you rely on this" not in text


def test_the_report_tells_classes_factors_and_what_was_known_before(report, tmp_path):
    figure = report.size_figure
    told = replace(
        report.susceptibility,
        classes=(
            ClassRow(1, 0.0, 0.5, 30.0, 0.75, 28.0, 2, 0.2, 0.1, 0.004, 0.4),
            ClassRow(2, 0.5, 1.0, 10.0, 0.25, 9.0, 8, 0.8, 0.4, 0.04, 3.2),
        ),
        factors=(
            {"name": "fault_distance", "unit": "m", "kind": "continuous", "source": "f.gpkg"}
            | {"vif": None},
            {"name": "pga", "unit": "g", "kind": "continuous", "source": "grid.xml"},
        ),
        absent_factors=("lithology", "land_cover"),
        compared=({"what": "nowicki-jessee", "auc": None, "problem": "it knows nothing here"},),
        applicable_share=0.83,
        before_figure=figure,
        correlation_figure=figure,
    )
    text = written(replace(report, susceptibility=told), tmp_path).text
    for said in (
        "83 % of the map lies inside the area of applicability",
        "2, most susceptible",
        "80 %",
        "The model has learned from these landslides",
        "fault distance",
        "∞",
        "Not used, since not given: lithology, land cover.",
        "Not scored: nowicki-jessee, for it knows nothing here.",
    ):
        assert said in text, said
    # one that is the same on all samples is told by none of the others
    assert re.search(r"grid\.xml\s*–", text)
    carried = replace(told, learned_from=("gorkha",), learned_here=False)
    text = written(replace(report, susceptibility=carried), tmp_path).text
    assert "This map was learned from gorkha" in text
    assert "The model has learned from these landslides" not in text


def test_a_card_of_thousands_of_numbers_is_folded(report, tmp_path):
    card = {"threshold": 0.18, "scores": {f"tile {n}": {"f1": 0.5} for n in range(99)}}
    page = written(replace(report, weights_card=card), tmp_path)
    folded = re.findall(r"<details>.*?</details>", page.source, re.S)
    assert len(folded) == 1 and "tile 98: f1: 0.5" in folded[0] and "0.18" not in folded[0]


@pytest.mark.parametrize(
    ("auc", "warning"),
    [
        (Interval(0.81, 0.76, 0.86), None),
        (Interval(0.64, 0.58, 0.70), "this map is a weak guide"),
        (Interval(0.56, 0.47, 0.66), "cannot be told from guessing"),
    ],
)
def test_a_poor_auc_is_said_beside_the_map(report, tmp_path, auc, warning):
    poor = replace(report.susceptibility, auc_spatial=auc)
    text = written(replace(report, susceptibility=poor), tmp_path).text
    for sentence in ("this map is a weak guide", "cannot be told from guessing"):
        assert (sentence in text) == (sentence == warning)


def test_an_imported_inventory_has_no_scenes_and_no_threshold(report, tmp_path):
    imported = replace(report, judgements=(), threshold=None, method="imported")
    text = written(imported, tmp_path).text
    assert "not mapped from images" in text
    assert "score of at least" not in text


def test_words_from_outside_stay_words(report, tmp_path):
    event = replace(report.event, title='<script>alert("x")</script>', source="<b>me</b>")
    page = written(replace(report, event=event), tmp_path)
    assert "script" not in page.tags and "b" not in page.tags
    assert '<script>alert("x")</script>' in page.text


def test_an_earthquake_says_its_magnitude(report, tmp_path):
    quake = replace(
        report.event,
        kind="earthquake",
        magnitude=6.6,
        magnitude_type="mww",
        depth_km=35.0,
        rainfall_mm=None,
        duration_h=None,
        longitude=-142.0,
        latitude=-42.69,
    )
    text = written(replace(report, event=quake), tmp_path).text
    assert "Earthquake, mww 6.6, 35 km deep" in text
    assert "42.690° S, 142.000° W" in text


def test_the_same_report_is_the_same_bytes(report, tmp_path):
    first = write_report(tmp_path / "report.html", report).read_bytes()
    assert write_report(tmp_path / "report.html", report).read_bytes() == first


def test_a_figure_that_is_missing_is_named_and_the_old_report_stays(report, tmp_path):
    path = write_report(tmp_path / "report.html", report)
    before = path.read_bytes()
    with pytest.raises(StorageError, match=r"map\.png"):
        write_report(path, replace(report, map_figure=tmp_path / "map.png"))
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (0.004, "0.4 %"),
        (0.75, "75 %"),
        (0.9962, "99.6 %"),
        (0.99975, "99.9 %"),
        (1, "100 %"),
        (0.0, "0 %"),
    ],
)
def test_shares_near_the_ends_keep_their_decimals(report, tmp_path, seen, said):
    text = written(replace(report, seen_share=seen), tmp_path).text
    assert f"Seen clear {said}" in text


def test_what_screens_set_aside_is_told_with_what_they_were_asked(report, tmp_path):
    screens = (
        Screening("slope", "mean slope below 5°", 12),
        Screening("bare-before", "mean NDVI before the event below 0.4", 0, "no scene from before"),
    )
    page = Page(write_report(tmp_path / "report.html", replace(report, screens=screens)))
    assert "slope mean slope below 5° 12" in page.text
    assert "not run: no scene from before –" in page.text
    assert "Set aside" not in Page(write_report(tmp_path / "report.html", report)).text


def test_where_screens_left_nothing_the_report_does_not_say_that_nothing_was_found(
    report, tmp_path
):
    screens = (Screening("slope", "mean slope below 90°", 3),)
    empty = replace(report, landslide_areas_m2=(), screens=screens, size_figure=None)
    page = Page(write_report(tmp_path / "report.html", empty))
    assert "nothing that the screens below let stand reached" in page.text
