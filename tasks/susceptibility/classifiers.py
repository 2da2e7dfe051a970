"""Susceptibility models that scikit-learn fits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.svm import SVC
from threadpoolctl import threadpool_limits

from tasks.errors import AssessmentError, SamplingError
from tasks.susceptibility.forest import MOST_FACTORS, PackedForest
from tasks.susceptibility.model import Model
from tasks.susceptibility.sampling import Samples

MAX_SVM_SAMPLES = 4_000  # the kernel matrix and the time to fit grow with the square
_MOST_CLASSES = 200  # the boosted trees take at most 255 bins


@dataclass(frozen=True)
class Classifier:
    """A fitted scikit-learn classifier; `explained` is what it learned, for those who read it."""

    fitted: Any
    explained: dict[str, Any]

    def predict(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probability of failure, see `Model`."""
        return np.asarray(self.fitted.predict_proba(x)[:, 1], dtype=np.float32)

    def explain(self) -> dict[str, Any]:
        """What was learned, see `Model`."""
        return self.explained


@dataclass(frozen=True)
class Forest:
    """A fitted random forest, packed; see `Model`. It also says how far its trees differ."""

    packed: PackedForest
    explained: dict[str, Any]

    def predict(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probability of failure, see `Model`."""
        return self.predict_with_spread(x)[0]

    def predict_with_spread(
        self, x: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Probability of failure and the trees' standard deviation about it, each (n,)."""
        mean, spread = self.packed.predict_with_spread(x)
        return mean.astype(np.float32), spread.astype(np.float32)

    def explain(self) -> dict[str, Any]:
        """What was learned, see `Model`."""
        return self.explained


def random_forest(samples: Samples, seed: int) -> Model:
    """The LDM-Net paper's forest: 50 trees of depth 50, other parameters scikit-learn's own.

    Classes are taken by their numbers, which a tree can part as often as it likes.

    Raises:
        AssessmentError: there are more than `MOST_FACTORS` factors.
    """
    if len(samples.names) > MOST_FACTORS:
        raise AssessmentError(
            f"a forest takes {MOST_FACTORS} factors and there are {len(samples.names)}; name fewer "
            "with --factors"
        )
    forest = RandomForestClassifier(n_estimators=50, max_depth=50, random_state=seed)
    forest.fit(samples.x, samples.y)
    split_on = dict(zip(samples.names, forest.feature_importances_.tolist(), strict=True))
    return Forest(PackedForest.of(forest), {"impurity_importance": split_on})


def logistic(samples: Samples, seed: int) -> Model:
    """Logistic regression without penalty, as R's `glm(family = binomial)` fits it.

    Factors are standardised, which changes no prediction; classes become indicators. What it
    explains are the coefficients in each factor's own unit.
    """
    solver = LogisticRegression(C=np.inf, tol=1e-6, max_iter=1000, random_state=seed)
    pipeline = make_pipeline(_standardised(samples), solver)
    pipeline.fit(samples.x.astype(np.float64), samples.y)
    return Classifier(pipeline, _coefficients(pipeline, samples))


def boosted_trees(samples: Samples, seed: int) -> Model:
    """Gradient boosting on histograms (LightGBM's way), shallow and slow to learn.

    Classes are split as sets. Small leaves and deep trees learn the places, not the factors, which
    only random cross-validation rewards.
    """
    classes, amounts = _columns(samples)
    numbered = OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=np.nan, max_categories=_MOST_CLASSES
    )
    arranged = ColumnTransformer(
        [("classes", numbered, classes), ("amounts", "passthrough", amounts)]
    )
    trees = HistGradientBoostingClassifier(
        learning_rate=0.05,
        max_iter=150,
        max_leaf_nodes=8,
        min_samples_leaf=20,
        l2_regularization=1.0,
        categorical_features=list(range(len(classes))),
        early_stopping=False,
        random_state=seed,
    )
    # trees this small are grown faster by one thread than by several that wait for each other
    with threadpool_limits(1, user_api="openmp"):
        return Classifier(make_pipeline(arranged, trees).fit(samples.x, samples.y), {})


def support_vectors(samples: Samples, seed: int) -> Model:
    """Support vector machine with a radial kernel; its margin becomes a probability (Platt 1999).

    More than `MAX_SVM_SAMPLES` samples are thinned at random to as many.
    """
    x, y = _thinned(samples, MAX_SVM_SAMPLES, seed)
    machine = make_pipeline(_standardised(samples), SVC(C=1.0, gamma="scale", random_state=seed))
    least = int(min(y.sum(), (~y).sum()))
    if least < 2:
        raise SamplingError("a support vector machine needs at least two samples of each class")
    calibrated = CalibratedClassifierCV(machine, cv=min(5, least), ensemble=False)
    return Classifier(calibrated.fit(x, y), {})


def perceptron(samples: Samples, seed: int) -> Model:
    """A small network: two layers of 32 and 16 on standardised factors, decayed weights."""
    network = MLPClassifier((32, 16), alpha=0.1, max_iter=200, tol=1e-3, random_state=seed)
    pipeline = make_pipeline(_standardised(samples), network)
    return Classifier(pipeline.fit(samples.x, samples.y), {})


def _columns(samples: Samples) -> tuple[list[int], list[int]]:
    """Columns that hold classes, and columns that hold amounts."""
    classes = [i for i, name in enumerate(samples.names) if name in samples.categorical]
    return classes, [i for i in range(len(samples.names)) if i not in classes]


def _standardised(samples: Samples) -> ColumnTransformer:
    classes, amounts = _columns(samples)
    indicators = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return ColumnTransformer(
        [("amounts", StandardScaler(), amounts), ("classes", indicators, classes)]
    )


def _thinned(
    samples: Samples, most: int, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """At most so many samples at random, each class with its share."""
    if len(samples.y) <= most:
        return samples.x, samples.y
    x, _, y, _ = train_test_split(
        samples.x, samples.y, train_size=most, stratify=samples.y, random_state=seed
    )
    return x, y


def _coefficients(pipeline: Pipeline, samples: Samples) -> dict[str, Any]:
    """Intercept and slopes, for each unit of an amount and for each class."""
    columns = pipeline[0].named_transformers_
    classes, amounts = _columns(samples)
    names, scale, mean = [samples.names[i] for i in amounts], [1.0], [0.0]
    if amounts:
        scale, mean = columns["amounts"].scale_.tolist(), columns["amounts"].mean_.tolist()
    if classes:
        for column, levels in zip(classes, columns["classes"].categories_, strict=True):
            names += [f"{samples.names[column]}={level:g}" for level in levels]
    slopes = pipeline[-1].coef_[0].copy()
    slopes[: len(amounts)] /= scale[: len(amounts)]
    intercept = pipeline[-1].intercept_[0] - slopes[: len(amounts)] @ mean[: len(amounts)]
    coefficients = dict(zip(names, slopes.tolist(), strict=True))
    return {"intercept": float(intercept), "coefficients": coefficients}
