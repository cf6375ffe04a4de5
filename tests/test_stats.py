import numpy as np
import pytest

from shattering.errors import InputError
from shattering.stats import (
    Sequential,
    accuracy_interval,
    difference_interval,
    mean_interval,
    n_as_good,
    p_floor,
    permutation_p_value,
    sequential_test,
)


def on_the_same_images(generator, p, n):
    """Return the accuracies of two networks that often have the same of n images right, by chance p each."""
    difficult = generator.random(n) > p
    return np.stack([generator.random(n) < np.where(difficult, p / 10, 1 - (1 - p) / 10) for _ in range(2)]).mean(axis=1)


@pytest.mark.parametrize(("p", "n", "seeds"), [(0.5, 100, 1), (0.1, 500, 2), (0.9, 1000, 4)])
def test_intervals_cover_as_often_as_they_say(p, n, seeds):
    generator, hits = np.random.default_rng(1), 0
    for _ in range(2000):
        accuracies = generator.binomial(n, p, seeds) / n if seeds != 2 else on_the_same_images(generator, p, n)
        low, high = accuracy_interval(accuracies.tolist(), n)
        hits += low <= p <= high
    assert 0.93 < hits / 2000 < 0.97


def test_extremes_and_levels():
    low, high = accuracy_interval([1.0], 50)
    assert 0.9 < low < high == 1
    assert accuracy_interval([0.5, 0.5, 0.5], 50) == (0.5, 0.5)
    wide, narrow = accuracy_interval([0.4, 0.5, 0.6], 50, 0.99), accuracy_interval([0.4, 0.5, 0.6], 50, 0.9)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]
    with pytest.raises(InputError, match="accuracies is empty"):
        accuracy_interval([], 5)


@pytest.mark.parametrize("level", [95, 1, 0, -0.5, float("nan"), "0.95", True])
def test_a_level_is_between_0_and_1(level):
    for interval in (lambda: mean_interval([0.5, 0.6], 0, 1, level), lambda: accuracy_interval([0.5], 10, level)):
        with pytest.raises(InputError, match=r"^level is .*, expected a number above 0 and below 1, such as 0\.95$"):
            interval()


def test_counts_and_intervals_are_the_right_way_round():
    with pytest.raises(InputError, match="n_permutations is -1, expected a whole number of at least 0"):
        p_floor(-1)
    with pytest.raises(InputError, match=r"an interval is \(0\.95, 0\.8\), expected its lower end first"):
        difference_interval(0.9, (0.95, 0.8), 0.5, (0.4, 0.6))


def test_accuracies_are_shares():
    for accuracies in ([50, 60], [0.5, 0.6, 60], [-0.1]):
        with pytest.raises(InputError, match=r"^accuracies has (50|60|-0\.1), expected numbers in 0…1$"):
            accuracy_interval(accuracies, 10)
    with pytest.raises(InputError, match="n_test is 0, expected a whole number of at least 1"):
        accuracy_interval([0.5], 0)
    with pytest.raises(InputError, match="values has 2, expected numbers in 0…1"):
        mean_interval([0.5, 2], 0, 1)
    assert accuracy_interval(np.array([0.4, 0.6]), 50) == accuracy_interval([0.4, 0.6], 50)
    assert mean_interval([1 + 1e-12, 1.0], 0, 1)[1] == 1, "rounding is no fault"


def test_permutation_p_values():
    assert permutation_p_value(0.9, [0.5] * 19) == 0.05
    assert permutation_p_value(0.5, [0.5] * 19) == 1
    assert permutation_p_value(0.7, [0.5, 0.6, 0.7, 0.8]) == 3 / 5
    assert permutation_p_value(-0.2, [-0.3, -0.1]) == 2 / 3
    assert permutation_p_value(np.float32(0.5), np.array([0.25, 0.75])) == 2 / 3
    assert permutation_p_value(3, [1, 2]) == 1 / 3
    with pytest.raises(InputError, match="null_scores is empty"):
        permutation_p_value(0.5, [])


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("bad", [NAN, INF, -INF, np.float32("nan"), None, "0.5", np.nan])
def test_what_cannot_be_compared_is_never_a_p_value(bad):
    with pytest.raises(InputError, match=r"^score is .*, expected finite numbers"):
        permutation_p_value(bad, [0.5] * 19)
    with pytest.raises(InputError, match=r"^null_scores has .* \(1 of 20 are no finite numbers\)"):
        permutation_p_value(0.5, [0.4] * 19 + [bad])
    with pytest.raises(InputError, match=r"19 of 19 are no finite numbers"):
        n_as_good(0.5, [bad] * 19)


@pytest.mark.parametrize("bad", [NAN, INF])
def test_intervals_refuse_nan(bad):
    for call in (
        lambda: accuracy_interval([bad], 10),
        lambda: accuracy_interval([0.5, 0.5, bad], 10),
        lambda: mean_interval([0.5, bad], 0, 1),
        lambda: mean_interval([bad], 0, 1),
        lambda: difference_interval(bad, (0, 1), 0.5, (0, 1)),
        lambda: difference_interval(0.5, (0, 1), 0.5, (0, bad)),
    ):
        with pytest.raises(InputError, match="expected finite numbers"):
            call()


@pytest.mark.parametrize("size", [1.0, 1e-12, 1e12, -1.0])
def test_rounding_decides_no_comparison(size):
    sums = [size * (0.1 + 0.2), size * 0.3, size * (0.1 + 0.1 + 0.1)]
    assert len(set(sums)) > 1
    assert [n_as_good(score, sums) for score in sums] == [3, 3, 3]
    assert n_as_good(size * 0.3 + abs(size) * 1e-6, sums) == 0, "which is a difference"
    assert n_as_good(0.0, [0.0, -0.0]) == 2
    assert n_as_good(1e-17, [0.0, 0.5]) == 2, "as the mean of 0.5 and -0.5 over folds may come out"


def test_one_huge_null_score_makes_no_others_as_good():
    """R² of permuted targets may be -1e12; the rounding of that number is not the rounding of the others."""
    nulls = [0.5] * 18 + [-1e12]
    assert permutation_p_value(0.9, nulls) == 0.05
    assert sequential_test(0.9, nulls, stop_after=1) == Sequential(19, 0, False)
    assert permutation_p_value(-4e7, [-9e5, -1e9, -2.8e10, -5e7]) == 2 / 5
    assert n_as_good(1e-17, [0.0, -0.3, -1e12]) == 1, "0 but for the rounding of what it is a difference of"
    assert n_as_good(-1e12, [-1e12 - 1e-4, -1.1e12]) == 1


def test_draws_that_failed_count_as_good_and_keep_p_valid():
    """A model that fails wherever it would have done well, but on the data that it was made for: left out, these make p too small."""
    assert permutation_p_value(0.9, [0.5] * 10, n_failed=9) == 10 / 20
    generator, kept, dropped, times = np.random.default_rng(0), 0, 0, 2000
    for _ in range(times):
        score, *nulls = generator.random(40)
        done = [null for null in nulls if null <= 0.9]
        kept += permutation_p_value(score, done, len(nulls) - len(done)) <= 0.1
        dropped += permutation_p_value(score, done) <= 0.1
    error = 3 * np.sqrt(0.1 * 0.9 / times)
    assert kept / times <= 0.1 + error
    assert dropped / times > 0.1 + 2 * error
    with pytest.raises(InputError, match="n_failed is -1"):
        permutation_p_value(0.5, [0.5], -1)


def test_sequential_p_values_stop_at_a_number_of_exceedances():
    assert sequential_test(0.5, [0.6, 0.4, 0.7, 0.2], 2).p_value == 2 / 3
    assert sequential_test(0.5, [0.4, 0.7, 0.2], 2).p_value == 2 / 4, "not reached: (C + 1) / (B + 1)"
    assert sequential_test(0.5, [0.6, None, 0.7]).p_value == 1
    assert sequential_test(0.5, [0.4, None, 0.7], 1) == Sequential(2, 1, stopped=True)
    for bad in ([], [float("nan")]):
        with pytest.raises(InputError, match="null_scores"):
            sequential_test(0.5, bad, 2)
    with pytest.raises(InputError, match="stop_after is 0"):
        sequential_test(0.5, [0.4], 0)


def test_sequential_p_values_are_valid_and_stop_early():
    """Exchangeable scores: P(p <= a) is at most a; an ordinary score stops after about 2 h permutations."""
    generator, tests = np.random.default_rng(0), []
    for _ in range(2000):
        score, *nulls = generator.normal(size=100)
        tests.append(sequential_test(score, nulls, 5))
    ps = np.array([test.p_value for test in tests])
    for level in (0.05, 0.1, 0.5):
        assert (ps <= level).mean() <= level + 3 * (level * (1 - level) / 2000) ** 0.5
    assert np.median([test.n for test in tests]) < 15


def test_the_floor_counts_admissible_permutations():
    assert p_floor(19) == 0.05
    assert p_floor(999, 6) == 1 / 6
