import json

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from tests.conftest import EXAMPLE

EVENT = "emilia-romagna-2023"


@pytest.fixture
def table(tmp_path):
    random = np.random.default_rng(3)
    x, y, slope = (
        random.uniform(0, 5000, 200),
        random.uniform(0, 5000, 200),
        random.normal(size=200),
    )
    failed = random.random(200) < expit(2 * slope)
    path = tmp_path / "points.csv"
    pd.DataFrame({"x": x, "y": y, "slid": failed, "slope": slope}).to_csv(path, index=False)
    return path


def test_points_are_scored_a_hundred_times_over_by_default(scarp, table):
    words = ("--points", str(table), "--label", "slid", "--model", "woe", "--json")
    code, shown, error = scarp("susceptibility", *words)
    assert code == 0, error
    told = json.loads(shown)
    assert (told["n"], told["factors"], told["model"]) == (200, ["slope"], "woe")
    for kind in ("spatial", "random"):
        auc = told["auc"][kind]
        assert len(auc["folds"]) == 500 and auc["left_out"] == 0
        assert auc["mean"] == pytest.approx(np.mean(auc["folds"]))
        assert auc["sd"] == pytest.approx(np.std(auc["folds"], ddof=1))
        assert 0.7 < auc["interval"][0] < auc["mean"] < auc["interval"][1] < 1
    assert told["auc"]["gap"] == told["auc"]["random"]["mean"] - told["auc"]["spatial"]["mean"]


def test_points_are_told_to_people_in_a_table(scarp, table):
    words = ("--points", str(table), "--label", "slid", "--model", "logistic", "--repeats", "2")
    code, shown, error = scarp("susceptibility", *words)
    assert code == 0, error
    for said in (
        "5 districts by k-means",
        "5 folds at random",
        "random minus spatial AUC",
        "slope",
    ):
        assert said in shown


def test_blocks_or_events_are_held_out_where_asked(scarp, table):
    events = pd.read_csv(table)
    events["event"] = np.arange(200) % 3
    events.to_csv(table, index=False)
    words = ("--points", str(table), "--label", "slid", "--model", "woe", "--json")
    for asked, folds, said in (
        (("--group", "event"), 3, "each of 3 groups in turn"),
        (("--block-m", "700", "--repeats", "2"), 10, "blocks of 700 m dealt to 5 folds, 2 times"),
    ):
        code, shown, error = scarp("susceptibility", *words, "--repeats", "2", *asked)
        assert code == 0, error
        spatial = json.loads(shown)["auc"]["spatial"]
        assert (len(spatial["folds"]), spatial["held_out"]) == (folds, said)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--points", "none.csv", "--label", "slid"), "none.csv cannot be read"),
        (("--points", "TABLE"), "--label"),
        (("--points", "TABLE", "--label", "lslpts"), "no column 'lslpts'"),
        (("--points", "TABLE", "--label", "slid", "--model", "forest"), "no model 'forest'"),
        (("--points", "TABLE", "--label", "slid", "--factors", "elev"), "'elev' is no column"),
        (("--points", "TABLE", "--label", "slid", "--raster", "none.tif"), "raster none.tif"),
        (("--points", "TABLE", "--block-m", "9", "--group", "e"), "either blocks or groups"),
        ((EVENT, "--points", "TABLE"), "either an event or labelled points"),
        ((), "either an event or labelled points"),
        ((EVENT, "--dem", "dem.tif", "--model", "forest"), "no model 'forest'"),
        ((EVENT, "--dem", "dem.tif", "--ratio", "-1"), "--ratio"),
        ((EVENT,), "add --dem FILE"),
        ((EVENT, "--dem", "d.tif", "--buffer-m", "inf"), "--buffer-m"),
        ((EVENT, "--dem", "d.tif", "--seed", "4294967295"), "--seed"),
        (("--points", "TABLE", "--label", "slid", "--seed", "4294967295"), "--seed"),
        ((EVENT, "--dem", "d.tif", "--from", "a", "--inventory", "2"), "leave out one"),
        ((EVENT, "--dem", "d.tif", "--from", ","), "--from ',' names no event"),
        ((EVENT, "--dem", "dem.tif", "--repeats", "3"), "--repeats is an option of points only"),
        (("--points", "TABLE", "--dem", "dem.tif"), "--dem is an option of an event only"),
        (("nowhere-1999", "--dem", "dem.tif"), "nowhere-1999"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(scarp, table, words, said):
    code, _, error = scarp("susceptibility", *(w.replace("TABLE", str(table)) for w in words))
    assert code == 2
    assert said in error
    assert "Traceback" not in error


def test_an_event_is_assessed_on_its_own(registered):
    code, _, error = registered("inventory", "import", EVENT, str(EXAMPLE / "landslides.gpkg"))
    assert code == 0, error
    for wrong, said in (("2", "has no inventory version 2"), ("1", "nowhere.tif does not exist")):
        words = (EVENT, "--inventory", wrong, "--dem", "nowhere.tif")
        code, _, error = registered("susceptibility", *words)
        assert code == 2 and said in error, error
    words = (EVENT, "--inventory", "1", "--dem", str(EXAMPLE / "dem.tif"), "--model", "logistic")
    code, shown, error = registered("susceptibility", *words, "--json")
    assert code == 0, error
    made = json.loads(shown)
    assert made["model"].startswith("logistic")
    low, high = made["auc"]["spatial"]["interval"]
    assert low < made["auc"]["spatial"]["mean"] < high and len(made["auc"]["random"]["folds"]) == 15
    code, shown, error = registered("susceptibility", *words)
    assert code == 0, error
    assert "AUC held out in space" in shown and "random minus spatial" in shown


def test_an_event_teaches_others_and_not_itself(registered):
    registered("inventory", "import", EVENT, str(EXAMPLE / "landslides.gpkg"), "--publish")
    words = ("--dem", str(EXAMPLE / "dem.tif"), "--from", EVENT)
    code, _, error = registered("susceptibility", EVENT, *words)
    assert code == 2
    assert "cannot be learned from itself" in error


def test_the_models_offered_are_those_there_are():
    from typer.main import get_command

    from console.cli import app
    from tasks.susceptibility.learners import LEARNERS

    assess = get_command(app).commands["susceptibility"].commands["assess"]
    (model,) = [option for option in assess.params if option.name == "model"]
    assert model.help.replace(" or ", ", ").rstrip(".").split(", ") == list(LEARNERS)
