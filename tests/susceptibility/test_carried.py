from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from shapely.geometry import MultiPolygon, box

from tasks.errors import AssessmentError
from tasks.susceptibility.carried import (
    cells_doubts,
    ground_doubts,
    pooled_samples,
    shared_factors,
)
from tasks.susceptibility.learners import fit_model
from tasks.susceptibility.members import with_spread
from tasks.susceptibility.sampling import draw_samples
from tasks.susceptibility.schemes import SCHEMES
from tasks.susceptibility.stack import Factor
from tasks.susceptibility.study import learn, study_doubts

ROCK = Factor("rock", "categorical", "", "rock.tif", {1: "shale", 2: "marl"})


def test_what_the_next_event_shares_is_kept_in_its_order(kaghan, example):
    here = replace(kaghan.stack, factors=kaghan.stack.factors[::-1][:6])
    first, second = shared_factors([here, example.stack])
    assert first.names == second.names == here.names
    np.testing.assert_array_equal(second.read("wetness"), example.stack.read("wetness"))


def test_classes_are_shared_only_by_what_they_mean(kaghan):
    def having(rock: Factor):
        return replace(kaghan.stack, factors=(kaghan.stack.factors[0], rock))

    same, _ = shared_factors([having(ROCK), having(ROCK)])
    assert same.names == ("elevation", "rock")
    for other in (replace(ROCK, classes={1: "marl", 2: "shale"}), replace(ROCK, classes=None)):
        first, _ = shared_factors([having(ROCK), having(other)])
        assert first.names == ("elevation",) and first.absent[-1] == "rock"


def test_events_that_share_nothing_are_refused(kaghan):
    one = replace(kaghan.stack, factors=kaghan.stack.factors[:2])
    with pytest.raises(AssessmentError, match="share no factor"):
        shared_factors([one, replace(kaghan.stack, factors=kaghan.stack.factors[2:])])


def test_a_map_that_cannot_be_told_from_guessing_says_so(example):
    """Factors dealt out anew teach nothing, and the doubt is kept with the map."""
    random = np.random.default_rng(1)
    seen = draw_samples(example.landslides, example.aoi, example.stack)
    shuffled = replace(seen, x=random.permutation(seen.x))
    for samples, codes in ((seen, []), (shuffled, ["like-guessing"])):
        study = learn(samples, "logistic", 0)
        told = study_doubts(example.stack, study, SCHEMES["scarp"], None)
        assert [doubt.code for doubt in told if doubt.code == "like-guessing"] == codes


def test_cells_of_another_size_are_a_doubt(kaghan, example):
    (doubt,) = cells_doubts(example.stack, {"kaghan": kaghan.stack, "here": example.stack})
    assert doubt.code == "cells-differ"
    assert "cells of 28.6 m in kaghan and is asked of cells of 10 m" in doubt.text


def test_events_that_saw_the_same_ground_are_a_doubt(kaghan, example):
    west, south, east, north = kaghan.aoi.bounds
    half = MultiPolygon([box(west, south, (west + east) / 2, north)])
    seen = {"first": kaghan.aoi, "second": half, "far": example.aoi}
    (doubt,) = ground_doubts(seen)
    # half of a square of 4.5 km
    assert "first and second share 10.1 km²" in doubt.text


def test_each_event_is_held_out_in_turn_and_landslides_keep_apart(samples):
    pooled, folds = pooled_samples([samples, samples], 0)
    assert pooled.landslides == 2 * samples.landslides
    half = len(samples.y)
    np.testing.assert_array_equal(folds.of[0], np.repeat([0, 1], half))
    assert folds.said == "each of 2 events in turn"
    alone, districts = pooled_samples([samples], 0)
    assert alone is samples and "districts" in districts.said


def test_a_model_without_members_takes_those_of_the_folds(samples):
    _, folds = pooled_samples([samples], 0)
    whole = fit_model("logistic", samples)
    spread = with_spread(whole, "logistic", samples, folds, 0)
    probability, deviation = spread.predict_with_spread(samples.x[:50])
    np.testing.assert_array_equal(probability, whole.predict(samples.x[:50]))
    assert 0 < deviation.mean() < 0.5
    forest = fit_model("rf", samples)
    assert with_spread(forest, "rf", samples, folds, 0) is forest


def test_what_is_learned_of_pooled_events_is_scored_on_each(samples):
    pooled, folds = pooled_samples([samples, samples], 0)
    study = learn(pooled, "logistic", 0, folds=folds)
    assert len(study.validation.spatial.fold_aucs) == 2
    assert study.validation.spatial.folds == "each of 2 events in turn"
