import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from shattering.errors import InputError
from shattering.interrogate.inference import benjamini_hochberg, holm, percentiles, resample, sign_of, sign_test, wilson
from shattering.interrogate.ranks import best_of
from shattering.interrogate.verdicts import Thresholds


def test_sign_test_is_exact():
    assert sign_test(10, 0) == pytest.approx(2 / 2**10)
    assert sign_test(0, 0) == 1
    assert sign_test(3, 7) == pytest.approx(stats.binomtest(3, 10).pvalue)


def test_wilson_is_scipys_and_takes_half_wins():
    interval = stats.binomtest(29, 32).proportion_ci(method="wilson")
    assert wilson(29 / 32, 32) == pytest.approx((interval.low, interval.high))
    assert wilson(28 / 32, 32)[0] < wilson(28.5 / 32, 32)[0] < wilson(29 / 32, 32)[0]
    assert wilson(0.5, 0) == (0, 1)


def test_holm_controls_the_rate_of_false_alarms_and_leaves_out_what_is_missing():
    assert holm([0.01, float("nan"), 0.04, 0.03]).tolist() == pytest.approx([0.03, float("nan"), 0.06, 0.06], nan_ok=True)
    assert holm([]).tolist() == []
    p = np.random.default_rng(0).random((2000, 10))
    alarms = np.mean([(holm(row) < 0.05).any() for row in p])
    assert alarms == pytest.approx(0.05, abs=0.015)


def test_benjamini_hochberg_is_scipys():
    p = [0.01, 0.2, 0.03]
    assert benjamini_hochberg([p[0], float("nan"), *p[1:]])[[0, 2, 3]].tolist() == stats.false_discovery_control(p).tolist()


def test_resamples_draw_cells_with_replacement_and_are_the_same_for_all_measures():
    weights = resample(12, "x")
    assert (weights.sum(1) == 12).all()
    assert weights.mean() == pytest.approx(1)
    assert (resample(12, "x") == weights).all()
    means = weights @ np.arange(12) / 12
    assert means.std() == pytest.approx(np.arange(12).std() / np.sqrt(12), rel=0.1)
    assert percentiles(np.array([np.nan, 1.0, 2.0, 3.0]), 0.5) == (1.5, 2.5)


def test_of_no_cells_nothing_is_drawn():
    assert resample(0, "x", 5).shape == (5, 0)


def test_signs_of_infinities():
    assert sign_of(np.array([1, np.inf, np.inf, 2]), np.array([np.inf, np.inf, 1, 2])).tolist() == [1, 0, -1, 0]


def test_the_best_of_many_null_measures_is_not_praised():
    """The naive interval of a maximum lies above 0 more often than not; that of the bootstrap of the maximum seldom does."""
    generator, above, naive = np.random.default_rng(0), 0, 0
    for _ in range(100):
        data = generator.normal(size=(20, 30))
        weights = generator.multinomial(30, np.full(30, 1 / 30), size=200) / 30
        best, low, _ = best_of(data.mean(1), data @ weights.T)
        above += low > 0
        naive += np.quantile(data[best] @ weights.T, 0.025) > 0
    assert naive > 40
    assert above < 10


def test_auc_is_sklearns():
    import pandas as pd

    from shattering.interrogate.tells import Comparisons

    values = np.array([0.1, 0.4, np.inf, 0.4, 0.9, np.inf, np.nan])
    conditions = ["natural", "natural", "natural", "random", "random", "random", "random"]
    table = pd.DataFrame(
        {"cell": [f"c{i}" for i in range(7)], "seed": 0, "condition": conditions, "updates": 1.0, "corruption": 0.0, "fitted": True}
    )
    expected = roc_auc_score([0, 0, 0, 1, 1, 1], np.minimum(values[:6], 5))
    assert Comparisons(table).pooled(values).statistic == pytest.approx(expected)


@pytest.mark.parametrize("level", [0, 1, 95, -0.5, float("nan"), "0.95", None])
def test_a_level_lies_between_0_and_1(level):
    said = "level is .*, expected a number above 0 and below 1, such as 0.95"
    for of in (
        lambda: wilson(0.5, 10, level),
        lambda: percentiles(np.arange(3.0), level),
        lambda: best_of([np.nan], np.zeros((1, 2)), level),
    ):
        with pytest.raises(InputError, match=said):
            of()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"tells": 90}, "tells is 90, expected a number in 0…1"),
        ({"level": 5}, "level is 5, expected a number above 0, at most 1"),
        ({"same": (0.75, 0.25)}, r"same is \(0.75, 0.25\), expected two bounds, the lower one first"),
        ({"same": 0.25}, "same is 0.25, expected 2 values"),
        ({"pairs": "40"}, "pairs is '40', expected a whole number of at least 0"),
        ({"missing": float("nan")}, "missing is nan, expected a number in 0…1"),
    ],
)
def test_thresholds_are_checked(values, said):
    with pytest.raises(InputError, match=said):
        Thresholds(**values)
