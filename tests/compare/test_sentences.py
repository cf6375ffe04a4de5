"""Every sentence of a summary has a threshold; each is tried on both sides."""

import pytest

from shattering.compare.plan import FEATURE_TEST, LABEL_TEST, RANDOMIZATIONS
from tests.compare.fakes import fake_draw, fake_test

GAUSSIAN = RANDOMIZATIONS["gaussian-pixels"]


def text(*draws, **kwargs) -> str:
    return "\n".join(fake_test(*draws, **kwargs).summary)


def labels(scores, **kwargs):
    return [fake_draw(LABEL_TEST, i, test=score, **kwargs) for i, score in enumerate(scores)]


@pytest.mark.parametrize(
    ("nulls", "expected", "p"),
    [
        ([0.1] * 19, "It learns from the labels", "p = 0.05: 0 of 19"),
        ([0.1] * 18, "not judged", "p = 0.0526: 0 of 18"),
        ([0.1] * 18 + [0.9], "Nothing shows that it learns", "p = 0.1: 1 of 19"),
        ([0.1] * 38 + [0.9], "It learns from the labels", "p = 0.05: 1 of 39"),
        ([0.1] * 37 + [0.95, 0.9], "Nothing shows that it learns", "p = 0.075: 2 of 39"),
    ],
)
def test_learning(nulls, expected, p):
    said = text(fake_draw(), *labels(nulls))
    assert expected in said
    assert p in said


@pytest.mark.parametrize(
    ("accuracy", "expected"),
    [
        (1.0, "can memorize all 1,000"),
        (0.9901, "can memorize all"),
        (0.9899, "memorizes part"),
        (0.191, "memorizes part"),
        (0.189, "hardly memorizes"),
    ],
)
def test_capacity(accuracy, expected):
    assert expected in text(fake_draw(), *labels([0.1] * 19, train=accuracy))


@pytest.mark.parametrize(
    ("epochs", "expected"), [(15, "about as long"), (15.1, "a small factor longer"), (50, "a small factor longer"), (50.1, "much longer")]
)
def test_time(epochs, expected):
    assert expected in text(fake_draw(epochs=60, epochs_to_fit=10), *labels([0.1] * 19, epochs=60, epochs_to_fit=epochs))


def test_time_is_not_compared_where_something_was_not_fitted():
    original = fake_draw(epochs=60, epochs_to_fit=10)
    assert "Fitting" not in text(original, *labels([0.1] * 19, train=0.999, epochs=60, epochs_to_fit=None))
    assert "Fitting" not in text(fake_draw(epochs=60), *labels([0.1] * 19, epochs=60, epochs_to_fit=20))


def test_features():
    within = [fake_draw(FEATURE_TEST, i, test=0.7) for i in range(19)]
    assert "It uses how features go together" in text(fake_draw(), *labels([0.1] * 19), *within)
    better = [fake_draw(FEATURE_TEST, i, test=0.95) for i in range(19)]
    assert "Nothing shows that it uses" in text(fake_draw(), *labels([0.1] * 19), *better)
    assert "not judged: too few draws" in text(fake_draw(), *labels([0.1] * 19), *within[:18])
    assert "together" not in text(fake_draw(), *labels([0.95] * 19), *within), "no such question where it does not learn at all"


def test_pixel_noise():
    assert "fits inputs without their structure (training accuracy: Gaussian pixels 99.00%)" in text(
        fake_draw(), fake_draw(GAUSSIAN, train=0.99)
    )
    assert "does not fit Gaussian pixels 98.90%" in text(fake_draw(), fake_draw(GAUSSIAN, train=0.989))


def test_what_is_missing_is_said():
    said = text(fake_draw(), *labels([0.1] * 3), fake_draw(LABEL_TEST, 3, status="failed"), fake_draw(LABEL_TEST, 4, status="missing"))
    assert "1 of 6 draws FAILED; the first: it broke" in said
    assert "1 of 6 draws were not made" in said
    assert "a sentence about the budget" in text(fake_draw(), left_out=("a sentence about the budget",))


def test_numbers_of_the_table():
    test = fake_test(fake_draw(train=1.0, test=0.9), *labels([0.1, 0.2, 0.3, 0.2]), fake_draw(GAUSSIAN, status="failed"))
    original, permuted, gaussian = test.table.to_dict("records")
    assert original["gap"] == pytest.approx(0.1)
    assert permuted["effect"] == pytest.approx(0.7)
    assert permuted["effect_low"] < 0.7 < permuted["effect_high"]
    assert permuted["effect_sd"] == pytest.approx(0.7 / 0.0816497, rel=1e-5)
    assert (permuted["p_value"], permuted["n_as_good"], permuted["p_floor"]) == (0.2, 0, 0.2)
    assert (gaussian["draws"], gaussian["not_done"]) == (0, 1), "a failed draw stays in the table"
    assert test.p_value == 0.2
    assert len(test.records) == 6


def test_rounding_is_no_spread_to_measure_an_effect_by():
    test = fake_test(fake_draw(test=0.9), *labels([0.1 + 0.2, 0.3, 0.3]))
    assert test.table["effect_sd"].isna().all()
    assert fake_test(fake_draw(test=0.9), *labels([0.2, 0.3])).table["effect_sd"][1] > 1
