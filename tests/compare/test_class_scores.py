import numpy as np
import pytest
from sklearn.metrics import get_scorer

from shattering.compare.class_scores import CLASS_SCORES, class_score
from shattering.compare.zero_refit import zero_refit

BINARY = ("precision", "recall", "f1")


def by_scikit_learn(scoring, y, predicted):
    """A scorer's score, without a model to predict."""
    scorer = get_scorer(scoring)
    return scorer._score_func(y, predicted, **scorer._kwargs)


def examples(scoring, rng):
    k = 2 if scoring in BINARY else int(rng.integers(2, 6))
    values = np.array([0, 1]) if scoring in BINARY else rng.choice(np.array(["a", "b", "cc", "dd", "e", "f"]), k, replace=False)
    y = values[rng.choice(k, 40, p=rng.dirichlet(np.ones(k)))]  # some classes may be missing
    predicted = np.where(rng.random(40) < 0.4, y, values[rng.choice(k, 40, p=rng.dirichlet(np.ones(k)))])
    return y, predicted


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("scoring", CLASS_SCORES)
def test_of_labels_and_of_permuted_labels_they_are_scikit_learns(scoring):
    rng = np.random.default_rng(0)
    for _ in range(12):
        y, predicted = examples(scoring, rng)
        found = class_score(scoring, y, predicted)
        for labels in (y, rng.permutation(y), rng.permutation(y)):
            assert found.score(predicted, labels) == pytest.approx(by_scikit_learn(scoring, labels, predicted), abs=1e-12)


@pytest.mark.parametrize("groups", [None, np.repeat([0, 1], 20)])
@pytest.mark.parametrize("scoring", ["balanced_accuracy", "f1_macro"])
def test_their_zero_refit_test_is_that_of_the_function(scoring, groups):
    y, predicted = examples("f1_macro", np.random.default_rng(3))
    how = {"exchange": "free" if groups is None else "within", "groups": groups}
    by_name = zero_refit(y, predicted, score=scoring, **how)
    by_function = zero_refit(y, predicted, score=lambda labels: by_scikit_learn(scoring, labels, predicted), n_permutations=199, **how)
    assert by_name.n_permutations == 9999
    assert by_name.score == pytest.approx(by_function.score)
    assert by_name.null_mean == pytest.approx(by_function.null_mean, abs=0.03)
    assert by_name.null_sd == pytest.approx(by_function.null_sd, rel=0.2)
