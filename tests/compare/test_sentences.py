"""Every sentence of a summary has a threshold; each is tried on both sides."""

import json

import pytest

from shattering.compare.plan import FEATURE_TEST, LABEL_TEST, RANDOMIZATIONS
from shattering.compare.zero_refit import ZeroRefitTest
from tests.compare.fakes import fake_repeat, fake_test

GAUSSIAN = RANDOMIZATIONS["gaussian-pixels"]


def text(*repeats, **kwargs) -> str:
    return "\n".join(fake_test(*repeats, **kwargs).summary)


def labels(scores, **kwargs):
    return [fake_repeat(LABEL_TEST, i, test=score, **kwargs) for i, score in enumerate(scores)]


@pytest.mark.parametrize(
    ("nulls", "expected", "p"),
    [
        ([0.1] * 19, "It learns from the labels", "p = 0.05, the smallest possible: none of 19 permutations scored as high"),
        ([0.1] * 18, "Too few refits to judge", "p = 0.0526, the smallest possible: none of 18 permutations scored as high"),
        ([0.1] * 18 + [0.9], "No evidence that it learns", "p = 0.1: 1 of 19 permutations scored at least as high"),
        ([0.1] * 38 + [0.9], "It learns from the labels", "p = 0.05: 1 of 39"),
        ([0.1] * 37 + [0.95, 0.9], "No evidence that it learns", "p = 0.075: 2 of 39"),
    ],
)
def test_learning(nulls, expected, p):
    said = text(fake_repeat(), *labels(nulls))
    assert expected in said
    assert p in said


@pytest.mark.parametrize(("n_as_good", "expected"), [(9000, "\nBy refits it learns from the labels"), (10, "\nIt learns from the labels")])
def test_learning_by_refits_alone_is_said(n_as_good, expected):
    fitted = ZeroRefitTest(0.9, 0.82, 0.1, 9999, n_as_good, "free", 1000, 100)
    assert expected in "\n" + text(fake_repeat(), *labels([0.1] * 19), zero_refit=fitted)


@pytest.mark.parametrize(
    ("accuracy", "expected"),
    [
        (1.0, "can memorize all 1,000"),
        (0.9901, "can memorize nearly all 1,000"),
        (0.9899, "memorizes part"),
        (0.191, "memorizes part"),
        (0.189, "hardly memorizes"),
    ],
)
def test_capacity(accuracy, expected):
    assert expected in text(fake_repeat(), *labels([0.1] * 19, train=accuracy))


@pytest.mark.parametrize(
    ("epochs", "expected"), [(15, "about as long"), (15.1, "a small factor longer"), (50, "a small factor longer"), (50.1, "much longer")]
)
def test_time(epochs, expected):
    assert expected in text(fake_repeat(epochs=60, epochs_to_fit=10), *labels([0.1] * 19, epochs=60, epochs_to_fit=epochs))


def test_a_stopped_test_of_features_is_judged():
    original = fake_repeat(test=0.5)
    within = [fake_repeat(FEATURE_TEST, number, test=0.9) for number in range(2)]
    learned = labels([0.1] * 19)
    assert "Too few permutations to judge whether it relies" in text(original, *learned, *within)
    stopped = " ".join(fake_test(original, *learned, *within, stop_after=2).summary)
    assert "No evidence that it relies on interactions" in stopped


def test_time_is_not_compared_where_something_was_not_fitted():
    original = fake_repeat(epochs=60, epochs_to_fit=10)
    assert "Fitting" not in text(original, *labels([0.1] * 19, train=0.999, epochs=60, epochs_to_fit=None))
    assert "Fitting" not in text(fake_repeat(epochs=60), *labels([0.1] * 19, epochs=60, epochs_to_fit=20))


def test_features():
    within = [fake_repeat(FEATURE_TEST, i, test=0.7) for i in range(19)]
    assert "It relies on interactions between features" in text(fake_repeat(), *labels([0.1] * 19), *within)
    better = [fake_repeat(FEATURE_TEST, i, test=0.95) for i in range(19)]
    assert "No evidence that it relies" in text(fake_repeat(), *labels([0.1] * 19), *better)
    assert "Too few permutations to judge whether it relies" in text(fake_repeat(), *labels([0.1] * 19), *within[:18])
    assert "interactions" not in text(fake_repeat(), *labels([0.95] * 19), *within), "no such question where it does not learn at all"


def destroyed(original, **accuracies):
    """The summary of a test with these training accuracies on the original inputs and on destroyed ones."""
    noise = [fake_repeat(RANDOMIZATIONS[f"{name}-pixels"], train=accuracy) for name, accuracy in accuracies.items()]
    return "\n".join(fake_test(fake_repeat(train=original), *noise).summary)


def test_destroyed_inputs():
    assert destroyed(1.0, gaussian=0.99) == "It also fits destroyed inputs: 99.0% training accuracy on Gaussian pixels."
    same = destroyed(1.0, shuffled=1.0, random=1.0, gaussian=1.0)
    assert same == "It also fits destroyed inputs: 100.0% training accuracy on shuffled, random and Gaussian pixels."
    worse = "It fits destroyed inputs worse than the original ones (100.0%): 98.9% training accuracy on Gaussian pixels."
    assert destroyed(1.0, gaussian=0.989) == worse
    equal = "It fits destroyed inputs no worse than the original ones (98.7%): 98.7% training accuracy on shuffled pixels."
    assert destroyed(0.9867, shuffled=0.9867) == equal


def test_tables_have_features_and_no_pixels():
    test = fake_test(fake_repeat(image_shape=[4]), fake_repeat(GAUSSIAN, train=1.0))
    assert "100.0% training accuracy on Gaussian features" in "\n".join(test.summary)
    assert test.table["randomization"].tolist()[1] == "Gaussian features"
    assert "Gaussian features" in json.dumps(test.plot().to_dict())


def test_an_original_fit_no_better_than_a_constant_answer_is_said_first():
    assert fake_test(fake_repeat(test=0.95, majority_share=0.95), *labels([0.94] * 19)).summary[0] == (
        "On the original data it is no better than a constant answer: test accuracy 95.0%, and 95.0% for the best constant answer."
    )
    assert "constant" not in fake_test(fake_repeat(test=0.951, majority_share=0.95), *labels([0.94] * 19)).summary[0]


@pytest.mark.parametrize(
    ("memorized", "as_true", "expected"),
    [
        (1.0, 0.0, "With 20% label noise it reproduces every wrong label."),
        (0.9999, 0.0, "With 20% label noise it reproduces more than 99.9% of the wrong labels."),
        (0.6, 0.3, "reproduces 60.0% of the wrong labels, and predicts the true class of 30.0% (a constant answer: about 10.0%)."),
        (0.03, 0.95, "predicts the true class of 95.0% of the wrong labels (a constant answer: about 10.0%), and reproduces 3.0%."),
    ],
)
def test_wrong_labels(memorized, as_true, expected):
    """The noise is the nominal one, whatever fraction of the labels it happened to change."""
    fractions = {"changed_fraction": 0.19, "train_accuracy_on_unchanged": 1.0, "train_accuracy_on_changed": memorized}
    noisy = fake_repeat(RANDOMIZATIONS["corrupted-labels"], changed_as_true=as_true, **fractions)
    assert expected in text(fake_repeat(), noisy)


def test_one_repeat_has_no_interval():
    once, twice = (fake_test(fake_repeat(), *labels([0.1] * n)).rows[1] for n in (1, 2))
    assert (once["effect_low"], once["effect_high"]) == (None, None)
    assert twice["effect_low"] < twice["effect"] < twice["effect_high"]


def test_what_is_missing_is_said():
    said = text(
        fake_repeat(), *labels([0.1] * 3), fake_repeat(LABEL_TEST, 3, status="failed"), fake_repeat(LABEL_TEST, 4, status="missing")
    )
    assert "1 of 6 repeats FAILED; the first: it broke" in said
    assert "1 of 6 repeats were not run" in said
    assert "a sentence about the budget" in text(fake_repeat(), left_out=("a sentence about the budget",))


def test_numbers_of_the_table():
    test = fake_test(fake_repeat(train=1.0, test=0.9), *labels([0.1, 0.2, 0.3, 0.2]), fake_repeat(GAUSSIAN, status="failed"))
    original, permuted, gaussian = test.table.to_dict("records")
    assert original["gap"] == pytest.approx(0.1)
    assert permuted["effect"] == pytest.approx(0.7)
    assert permuted["effect_low"] < 0.7 < permuted["effect_high"]
    assert permuted["effect_sd"] == pytest.approx(0.7 / 0.0816497, rel=1e-5)
    assert (permuted["p_value"], permuted["n_as_good"], permuted["p_floor"]) == (0.2, 0, 0.2)
    assert (gaussian["repeats"], gaussian["not_done"]) == (0, 1), "a failed repeat stays in the table"
    assert test.p_value == 0.2
    assert len(test.records) == 6


def test_rounding_is_no_spread_to_measure_an_effect_by():
    test = fake_test(fake_repeat(test=0.9), *labels([0.1 + 0.2, 0.3, 0.3]))
    assert test.table["effect_sd"].isna().all()
    assert fake_test(fake_repeat(test=0.9), *labels([0.2, 0.3])).table["effect_sd"][1] > 1
