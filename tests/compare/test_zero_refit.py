"""The zero-refit test: its draws are those of slow, obvious permutations; its p-values are valid, and equal scikit-learn's scores."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import accuracy_score, balanced_accuracy_score, r2_score, roc_auc_score

from shattering import InputError
from shattering.compare.figures import score_chart
from shattering.compare.permutation import PermutationTest
from shattering.compare.zero_refit import ZeroRefitTest, _diagonal_sums, _matches, _products, _shuffled_sums, null_sums, zero_refit
from shattering.data.exchange import exchanged_order
from shattering.report.charts import to_spec
from tests.compare.fakes import fake_repeat, fake_test

GROUPS = np.repeat(np.arange(10), 4)


def labels(kind, rng, n=40):
    if kind == "classes":
        return rng.integers(0, 3, n), rng.integers(0, 3, n), _matches
    return rng.normal(size=n), rng.normal(size=n), _products


@pytest.mark.parametrize("kind", ["classes", "targets"])
@pytest.mark.parametrize("how", ["free", "within", "whole", "shift"])
def test_sums_are_distributed_as_over_permutations_one_by_one(how, kind):
    rng = np.random.default_rng(3)
    y, predicted, weigh = labels(kind, rng)
    groups = np.array([0, 1] * 20) if how == "shift" else GROUPS
    if how == "whole" and kind == "classes":
        y, predicted = np.repeat(y[:10], 4), np.repeat(predicted[:10], 4)  # few kinds of label vectors: drawn as tables
    fast = null_sums(y, predicted, weigh, how, groups, None, rng, 2000)
    keys = rng.integers(0, 2**63, (2000, 40)).astype(np.uint64)
    slow = [weigh(predicted, y[exchanged_order(how, key, groups)]).sum() for key in keys]
    assert stats.ks_2samp(fast, slow).pvalue > 0.01


@pytest.mark.parametrize("k", [1, 2, 3, 7, 40])
def test_matches_of_many_classes_are_distributed_as_over_shuffles(k):
    """Classes that are never predicted, or never occur, are among them. Mean and variance are known exactly."""
    rng = np.random.default_rng(k)
    y, predicted = np.r_[rng.integers(0, k, 300), [k] * 20], np.r_[rng.integers(0, k, 280), [k + 1] * 40]
    rows, labels = (np.bincount(codes, minlength=k + 2) for codes in (predicted, y))
    fast = _diagonal_sums(rows[:k], labels[:k], np.ones(k), 320, rng, 4000)
    slow = _shuffled_sums(predicted[:, None], y[:, None], _matches, rng, 4000)
    a, b, n = rows.astype(float), labels.astype(float), 320
    mean = (a * b).sum() / n
    variance = mean + ((a * (a - 1) * b * (b - 1)).sum() + (a * b).sum() ** 2 - (a * a * b * b).sum()) / (n * (n - 1)) - mean**2
    for sums in (fast, slow):
        assert abs(sums.mean() - mean) < 4 * (variance / 4000) ** 0.5
        assert sums.var() == pytest.approx(variance, rel=0.12)
    assert stats.ks_2samp(fast, slow).pvalue > 0.01


def test_scores_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    y, predicted = rng.integers(0, 4, 200), rng.integers(0, 4, 200)
    fast, slow = (
        zero_refit(y, predicted),
        zero_refit(y, predicted, score=lambda labels: accuracy_score(labels, predicted), n_permutations=299),
    )
    assert fast.score == slow.score
    assert (fast.n_permutations, slow.n_permutations) == (9999, 299)
    assert fast.null_mean == pytest.approx(slow.null_mean, abs=0.01)
    assert fast.null_sd == pytest.approx(slow.null_sd, rel=0.15)
    assert fast.p_value == pytest.approx(slow.p_value, abs=0.1)
    x = rng.normal(size=50)
    r2 = zero_refit(x + 7, 0.5 * x + rng.normal(size=50) + 7, score="r2")
    target, values = x + 7, 0.5 * x + rng.normal(size=50) + 7
    again = zero_refit(target, values, score="r2", n_permutations=99)
    assert again.score == pytest.approx(r2_score(target, values))
    assert again.null_mean == pytest.approx(
        zero_refit(target, values, score=lambda t: r2_score(t, values), n_permutations=99).null_mean, abs=0.1
    )
    assert r2.p_value < 0.05


@pytest.mark.parametrize("how", ["free", "within", "whole"])
def test_areas_under_the_roc_curve_are_those_of_scikit_learn(how):
    """Predictions of which some are equal, labels that are words; whole groups have one label and one prediction each."""
    rng = np.random.default_rng(1)
    y = np.repeat(rng.permutation(["b", "a"] * 5), 4) if how == "whole" else rng.permutation(["a", "b"] * 20)
    noise = np.repeat(rng.normal(size=10), 4) if how == "whole" else rng.normal(size=40)
    predicted = np.round((y == "b") + noise, 1)
    about = {"exchange": how, "groups": None if how == "free" else GROUPS}
    fast = zero_refit(y, predicted, score="roc_auc", **about)
    slow = zero_refit(y, predicted, score=lambda labels: roc_auc_score(labels, predicted), n_permutations=149, **about)
    assert fast.score == pytest.approx(slow.score, abs=1e-12)
    assert (fast.n_permutations, fast.admissible) == (9999, slow.admissible)
    assert fast.null_mean == pytest.approx(slow.null_mean, abs=0.03)
    assert fast.null_sd == pytest.approx(slow.null_sd, rel=0.2)
    assert fast.p_value == pytest.approx(slow.p_value, abs=0.03)
    by_function = zero_refit(y, predicted, score="roc_auc", exchange=lambda labels, rng: rng.permutation(labels))
    assert (by_function.score, by_function.n_permutations) == (fast.score, 999)


@pytest.mark.parametrize(("how", "rejects"), [("free", True), ("whole", False), ("within", False)])
def test_grouped_labels_without_signal_are_rejected_by_free_permutations_alone(how, rejects):
    """Predictions and labels go by subject, and do not depend on each other: 12 subjects of 10 rows each."""
    groups, ps = np.repeat(np.arange(12), 10), []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        y, predicted = (np.repeat(rng.permutation([0, 1] * 6), 10) for _ in range(2))
        ps.append(zero_refit(y, predicted, exchange=how, groups=groups, n_permutations=199).p_value)
    assert (np.mean(np.array(ps) <= 0.05) > 0.15) == rejects


@pytest.mark.parametrize("score", ["accuracy", "roc_auc", "r2", "balanced_accuracy"])
@pytest.mark.parametrize(
    ("how", "groups"), [("whole", [0, 0, 1, 1, 2, 2, 3, 3, 3, 3]), ("whole", [0] * 10), ("within", [0, 0, 0, 1, 1, 1, 2, 2, 3, 4])]
)
def test_groups_that_no_other_is_like_add_the_same_to_each_score(how, groups, score):
    rng = np.random.default_rng(1)
    y = rng.permutation(np.arange(10) % 2)
    y[:3] = 1  # within the first group nothing is permuted
    predicted = rng.random(10) if score in ("roc_auc", "r2") else y ^ (rng.random(10) < 0.3)
    predicted[6:8] = 1
    function = {"accuracy": accuracy_score, "roc_auc": roc_auc_score, "r2": r2_score, "balanced_accuracy": balanced_accuracy_score}[score]
    keys = (rng.integers(0, 2**63, 10).astype(np.uint64) for _ in range(400))
    orders = [exchanged_order(how, key, np.array(groups)) for key in keys]
    nulls = np.array([function(y[order], predicted) for order in orders])
    test = zero_refit(y, predicted, score=score, exchange=how, groups=np.array(groups))
    assert abs(test.null_mean - nulls.mean()) <= 4 * nulls.std() / 20 + 1e-12
    assert abs(test.null_sd - nulls.std()) <= 0.2 * nulls.std() + 1e-12
    assert abs(test.n_as_good / test.n_permutations - (nulls >= test.score - 1e-12).mean()) < 0.1


def test_few_admissible_permutations_give_no_verdict():
    y, groups = np.repeat([0, 1, 0, 1], 25), np.repeat(np.arange(4), 25)
    test = zero_refit(y, y, exchange="whole", groups=groups)
    assert (test.admissible, test.floor, test.has_verdict) == (6, 1 / 6, False)
    assert test.p_value == pytest.approx(1 / 6, abs=0.02)
    assert test.p_value >= test.floor, "one of six orders is drawn less often than its share in half of the tests"
    assert all(zero_refit(y, y, exchange="whole", groups=groups, seed=seed).p_value >= 1 / 6 for seed in range(5))
    assert PermutationTest("", 1.0, (0.0,) * 99, admissible=50).p_value == 1 / 50
    assert zero_refit(np.arange(40) % 2, np.arange(40) % 2).has_verdict
    assert test.to_json()["p_floor"] == 1 / 6
    assert zero_refit(np.arange(9000) % 10, np.arange(9000) % 10).to_json()["admissible"] is None


def test_it_is_a_function_of_the_seed():
    y, predicted = np.arange(50) % 2, np.arange(50) % 3 % 2
    assert zero_refit(y, predicted, seed=4) == zero_refit(y, predicted, seed=4)
    assert zero_refit(y, predicted, seed=4).null_mean != zero_refit(y, predicted, seed=5).null_mean


def test_labels_that_a_model_never_predicts_count():
    y = np.array(["a", "b"] * 20)
    test = zero_refit(y, np.full(40, "c"))
    assert (test.score, test.p_value) == (0, 1)


def test_a_bad_exchange_is_refused():
    with pytest.raises(InputError, match="exchange is 'whole' without groups"):
        zero_refit(np.arange(4) % 2, np.arange(4) % 2, exchange="whole")


@pytest.mark.parametrize("exchange", ["free", lambda labels, generator: generator.permutation(labels)])
def test_an_unknown_score_is_refused(exchange):
    with pytest.raises(InputError, match="unknown score 'f1_micro'"):
        zero_refit(np.array([0, 1] * 5), np.array([0, 1] * 5), score="f1_micro", exchange=exchange)


LABELS = np.arange(24) % 2


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"n_permutations": 0}, "n_permutations is 0, expected a whole number of at least 2 or none"),
        ({"n_permutations": 1}, "n_permutations is 1, expected a whole number of at least 2 or none"),
        ({"seed": 1.5}, "seed is 1.5, expected a whole number of at least 0"),
        ({"predicted": LABELS[:8]}, r"predicted has shape \(8,\), expected a number or a label for each example of y, at least one"),
        ({"predicted": LABELS[:, None]}, r"predicted has shape \(24, 1\), expected"),
        ({"y": LABELS[:0], "predicted": LABELS[:0]}, r"y has shape \(0,\), expected"),
        ({"groups": LABELS[:5], "exchange": "whole"}, r"groups has shape \(5,\), expected"),
        ({"y": LABELS.astype(str)}, "one of y and predicted has texts and the other has none, expected predictions in the values of the"),
    ],
)
def test_arrays_and_numbers_that_are_not_as_described_are_refused(given, message):
    with pytest.raises(InputError, match=f"^{message}"):
        zero_refit(**{"y": LABELS, "predicted": LABELS, **given})


def test_lists_are_arrays():
    assert zero_refit(LABELS.tolist(), LABELS.tolist()) == zero_refit(LABELS, LABELS)


def test_the_band_of_null_scores_stays_on_the_chart():
    """Of ten labels, nine of which are alike, mean + 1.96 standard deviations is more than 100 %."""
    z = ZeroRefitTest(0.9, 0.82, 0.1, 9999, 9000, "free", 10, 10)
    spec = to_spec(score_chart(fake_test(fake_repeat(), zero_refit=z)))
    (ends,) = [rows[0] for rows in spec["datasets"].values() if "low" in rows[0]]
    assert ends == {"low": pytest.approx(0.624), "high": 1.0}
