from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from shapely.affinity import translate
from shapely.geometry import MultiPolygon, box

from tasks.errors import NoImageryError, RasterError
from tasks.imagery.clouds import judge, judging_grid
from tasks.imagery.folder import read_folder
from tasks.imagery.protocol import Span
from tasks.imagery.select import choose_before, choose_scenes, imagery_doubts, worth
from tasks.imagery.stac import StacSource
from tasks.types import AreaOfInterest, Mosaic
from tests.conftest import EXAMPLE

YEAR = (datetime(2022, 9, 1, tzinfo=UTC), datetime(2023, 12, 31, tzinfo=UTC))


def search(catalog, aoi, start, end):
    return list(StacSource(str(catalog)).search(aoi, Span(start, end)).scenes)


@pytest.fixture(scope="module")
def views(aoi):
    return [judge(scene, aoi) for scene in search(EXAMPLE / "catalog.json", aoi, *YEAR)]


def by_day(views, day):
    return next(view for view in views if f"{view.scene.acquired_at:%Y-%m-%d}" == day)


def sight(view, part, days=0):
    """The view of a scene that sees clear only a part of the columns, taken some days later."""
    columns = np.zeros_like(view.clear)
    width = view.clear.shape[1]
    columns[:, int(part[0] * width) : int(part[1] * width)] = True
    taken = view.scene.acquired_at + timedelta(days=days)
    scene = replace(view.scene, id=f"{part}+{days}", acquired_at=taken)
    seen = view.clear & columns
    share = view.clear_fraction * seen.sum() / view.clear.sum()
    return replace(
        view, scene=scene, clear=seen, clear_fraction=share, covered_fraction=share, hidden={}
    )


def test_the_clear_share_is_that_of_the_pixels(views):
    assert by_day(views, "2023-05-13").clear_fraction == 0
    assert by_day(views, "2023-05-18").clear_fraction == 0
    assert by_day(views, "2023-05-23").clear_fraction == pytest.approx(1 - 4 / 16384, abs=1e-4)
    assert by_day(views, "2022-12-29").clear_fraction == pytest.approx(8908 / 16384, abs=5e-3)


def test_metadata_do_not_sway_the_judgement(aoi, views):
    view = by_day(views, "2023-05-18")
    praised = replace(view.scene, id="a perfect day", item_id="clear", cloud_cover=0.0)
    assert judge(praised, aoi).clear_fraction == 0


def test_the_judging_grid_has_true_areas_anywhere():
    fiji = MultiPolygon([box(179.9, -17.1, 180, -17), box(-180, -17.1, -179.9, -17)])
    for area in (fiji, MultiPolygon([box(11.5, 84.9, 12.5, 85)])):
        aoi = AreaOfInterest(area, "given")
        grid = judging_grid(aoi)
        assert max(grid.shape) <= 2_001
        rows, cols = grid.shape
        assert rows * cols * grid.resolution.x**2 / 1e6 == pytest.approx(aoi.area_km2, rel=0.05)


def test_the_first_clear_scene_after_the_event_is_used_and_every_other_has_its_reason(
    views, aoi, event
):
    judgements = choose_scenes(views, aoi, event.occurred_at)
    assert len(judgements) == 15
    assert [j.scene.item_id for j in judgements if j.used] == ["S2_L2A_4120_20230523"]
    reasons = {f"{j.scene.acquired_at:%m-%d}": j.reason for j in judgements}
    assert reasons["04-28"] == "It was taken 18 days before the event."
    assert "cloud 100 %" in reasons["05-13"]
    assert "3 days before the event" in reasons["05-13"]
    assert reasons["05-18"] == (
        "Only 0 % of what it covers of the area is clear, 60 % is needed (cloud 100 %)."
    )
    assert reasons["05-23"] == "Taken 7 days after the event, it shows 99.9 % of the area clear."
    assert reasons["06-17"] == "The scenes used already show what it shows of the area."


def test_the_order_in_which_scenes_come_does_not_matter(views, aoi, event):
    there = choose_scenes(views, aoi, event.occurred_at)
    back = choose_scenes(views[::-1], aoi, event.occurred_at)
    assert there == back


def test_as_of_the_19th_of_may_nothing_can_be_used(views, aoi, event):
    early = [view for view in views if f"{view.scene.acquired_at:%m-%d}" <= "05-19"]
    early = [view for view in early if view.scene.acquired_at.year == 2023]
    with pytest.raises(NoImageryError, match=r"after the event: 1, best clear coverage 0 % \(2023"):
        choose_scenes(early, aoi, event.occurred_at)


def test_before_any_scene_after_the_event_the_sentence_says_so(views, aoi, event):
    before = [view for view in views if view.scene.acquired_at < event.occurred_at]
    with pytest.raises(NoImageryError, match="after the event: 0"):
        choose_scenes(before, aoi, event.occurred_at)


def test_no_scene_at_all_is_no_imagery(aoi, event):
    with pytest.raises(NoImageryError, match="scenes of 1.6 km² found: 0"):
        choose_scenes([], aoi, event.occurred_at)


def test_later_scenes_fill_what_earlier_ones_did_not_see(views, aoi, event):
    view = by_day(views, "2023-05-23")
    west, east = sight(view, (0, 0.75)), sight(view, (0.5, 1), 1)
    judgements = choose_scenes([east, west], aoi, event.occurred_at)
    assert [j.scene.id for j in judgements] == [west.scene.id, east.scene.id]
    assert [round(j.clear_fraction, 2) for j in judgements] == [0.75, 0.5]
    assert judgements[1].reason == "Taken 8 days after the event, it adds 25 % of the area."


def test_the_fewest_scenes_are_taken_and_those_mapped_from_stay(views, aoi, event):
    view = by_day(views, "2023-05-23")
    west, east, all_of_it = sight(view, (0, 0.5)), sight(view, (0.5, 1), 1), sight(view, (0, 1), 2)
    judgements = choose_scenes([all_of_it, west, east], aoi, event.occurred_at)
    assert [j.scene.id for j in judgements if j.used] == [all_of_it.scene.id]
    before = [east.scene.id, west.scene.id]
    again = choose_scenes([all_of_it, west, east], aoi, event.occurred_at, mapped_from=before)
    assert [j.scene.id for j in again if j.used] == before


def test_the_cover_is_the_greedy_one_by_plain_counting(views, aoi, event):
    random, base = np.random.default_rng(7), by_day(views, "2023-05-23")
    pieces = [
        sight(base, sorted(random.uniform(0, 1, 2)), int(day)) for day in random.integers(0, 40, 40)
    ]
    used = [j.scene.id for j in choose_scenes(pieces, aoi, event.occurred_at) if j.used]
    seen, expected, left = np.zeros_like(base.clear), [], list(pieces)
    while left:
        left = [v for v in left if (v.clear & ~seen).sum() >= 0.01 * v.clear.sum() > 0]
        if not left:
            break
        best = max(
            left, key=lambda v: (v.clear & ~seen).sum() * worth(v.scene, event.occurred_at, 10)
        )
        expected.append(best.scene.id)
        seen |= best.clear
    assert used == expected and 2 <= len(used) < 20


def test_fine_fresh_upright_and_well_lit_scenes_are_worth_more(views, event):
    scene = replace(by_day(views, "2023-05-23").scene, acquired_at=event.occurred_at)
    assert worth(scene, event.occurred_at, 10) == pytest.approx(1)
    coarse = replace(scene, gsd_m=30)
    assert worth(coarse, event.occurred_at, 10) == pytest.approx(1 / 3)
    oblique = replace(scene, off_nadir_deg=60)
    assert worth(oblique, event.occurred_at, 10) == pytest.approx(0.5)
    dark = replace(scene, sun_elevation_deg=14.4775)
    assert worth(dark, event.occurred_at, 10) == pytest.approx(0.5, abs=1e-4)
    late = replace(scene, acquired_at=event.occurred_at + timedelta(days=60))
    assert worth(late, event.occurred_at, 10) == pytest.approx(0.5)


def test_a_lower_demand_uses_a_cloudier_scene(views, aoi, event):
    half = by_day(views, "2022-12-29")
    later = replace(half, scene=replace(half.scene, acquired_at=event.occurred_at))
    with pytest.raises(NoImageryError, match=r"54 % .* < 60 % required"):
        choose_scenes([later], aoi, event.occurred_at)
    assert choose_scenes([later], aoi, event.occurred_at, min_clear=0.5)[0].used


def test_a_scene_that_misses_the_area_is_refused(aoi, event, write_tif):
    path = write_tif("x.tif", np.ones((3, 40, 40), np.uint8))
    (scene,) = read_folder(path).scenes
    away = AreaOfInterest(translate(aoi.geometry, 0.5), "given")
    with pytest.raises(NoImageryError):
        choose_scenes([judge(scene, away)], away, event.occurred_at)


def test_a_scene_without_mask_says_that_cloud_was_not_looked_for(aoi, event, write_tif):
    image = np.ones((3, 128, 128), np.uint8)
    mask = np.full((128, 128), 255, np.uint8)
    mask[:32] = 0
    (scene,) = read_folder(write_tif("x.tif", image, mask=mask)).scenes
    (judgement,) = choose_scenes([judge(scene, aoi)], aoi, event.occurred_at)
    assert judgement.clear_fraction == pytest.approx(0.75, abs=0.01)
    assert "cloud was not looked for" in judgement.reason
    assert "at an unrecorded date" in judgement.reason


def test_a_truncated_mask_names_its_scene(aoi, catalog):
    (scene,) = search(
        str(catalog), aoi, YEAR[1] - timedelta(days=130), YEAR[1] - timedelta(days=112)
    )
    mask = catalog.parent / "scenes" / "2023-09-10" / "SCL.tif"
    mask.write_bytes(mask.read_bytes()[:900])
    with pytest.raises(RasterError, match=r"20230910, band scl: .*SCL\.tif cannot be read"):
        judge(scene, aoi)


def test_doubts_tell_of_partial_undated_and_late_scenes(views, aoi, event, tmp_path):
    view = by_day(views, "2023-05-23")
    undated = sight(view, (0.5, 1))
    undated = replace(undated, scene=replace(undated.scene, id="undated", acquired_at=None))
    late = sight(view, (0, 0.5), 200)
    judgements = choose_scenes([undated, late], aoi, event.occurred_at, min_clear=0.4)
    west, south, east, north = aoi.geometry.bounds
    half = MultiPolygon([aoi.geometry & box(west, south, (west + east) / 2, north)])
    mosaic = Mosaic(tmp_path, tmp_path, (), half)
    doubts = imagery_doubts(judgements, mosaic, aoi, event.occurred_at)
    assert [doubt.code for doubt in doubts] == ["partial-coverage", "undated-scene", "old-scene"]
    assert doubts[0].text.startswith("50 % of the area")


def looker(views):
    """Looks at views that are already there, and remembers at which."""
    by_id, looked = {view.scene.id: view for view in views}, []

    def look(scene):
        looked.append(scene.id)
        return by_id[scene.id]

    return look, looked


def test_the_ground_before_is_shown_by_the_latest_clear_scenes_before_the_event(views, event):
    look, looked = looker(views)
    chosen = choose_before([view.scene for view in views], look, event.occurred_at)
    assert [f"{scene.acquired_at:%m-%d}" for scene in chosen] == ["04-28"]
    assert [scene_id[-8:] for scene_id in looked] == ["20230513", "20230428"]
    clear = by_day(views, "2023-04-28")
    west, east, all_ = (
        sight(clear, (0, 0.5)),
        sight(clear, (0.5, 1), -20),
        sight(clear, (0, 1), -24),
    )
    look, _ = looker([east, all_, west])
    chosen = choose_before([v.scene for v in (east, all_, west)], look, event.occurred_at)
    assert chosen == [west.scene, east.scene]


def test_the_same_season_goes_before_the_latest(views, event):
    clear = by_day(views, "2023-04-28")
    winter, last_year = sight(clear, (0, 1), -60), sight(clear, (0, 1), -355)
    look, _ = looker([winter, last_year])
    chosen = choose_before([winter.scene, last_year.scene], look, event.occurred_at)
    assert chosen == [last_year.scene]


def test_ground_always_in_cloud_is_not_looked_for_in_every_scene_of_a_year(views, event):
    clear = by_day(views, "2023-04-28")
    west = [sight(clear, (0, 0.8), -days) for days in range(0, 200, 5)]
    look, looked = looker(west)
    chosen = choose_before([view.scene for view in west], look, event.occurred_at)
    assert chosen == [west[0].scene]
    assert len(looked) == 4


def test_scenes_from_before_that_nobody_looked_at_have_no_share(views, aoi, event):
    after = [view for view in views if view.scene.acquired_at >= event.occurred_at]
    winter = by_day(views, "2023-02-12").scene
    judgement = choose_scenes(after, aoi, event.occurred_at, passed_over=[winter])[-1]
    assert (judgement.scene, judgement.used, judgement.clear_fraction) == (winter, False, None)
    assert judgement.reason == (
        "It was taken 93 days before the event; its pixels were not looked at."
    )


def test_the_ground_before_needs_a_date_and_near_infrared(views, event):
    clear = by_day(views, "2023-04-28")
    undated = replace(clear, scene=replace(clear.scene, acquired_at=None))
    colour = replace(clear, scene=replace(clear.scene, bands=("red", "green", "blue")))
    after = by_day(views, "2023-05-23")
    look, looked = looker([undated, colour, after])
    scenes = [view.scene for view in (undated, colour, after)]
    assert choose_before(scenes, look, event.occurred_at) == looked == []
