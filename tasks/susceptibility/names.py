"""What may be asked of susceptibility, apart from what does it, which takes a second to import."""

from __future__ import annotations

from tasks.errors import AssessmentError

MODELS = ("rf", "logistic", "hgb", "svm", "mlp", "cnn", "woe", "fr", "physical", "ensemble")
# Half of what scikit-learn takes, which leaves room for one more with each repeat.
LARGEST_SEED = 2**31 - 1


def check_model(name: str) -> None:
    """Refuse what is no model's name.

    Raises:
        AssessmentError: there is no such model.
    """
    if name not in MODELS:
        raise AssessmentError(f"there is no model {name!r}; take one of {', '.join(MODELS)}")
