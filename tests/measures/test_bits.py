"""Bits of memory against codes that are enumerated, tables that store a known number of bits, and predictors that saw no labels."""

import itertools
import math

import numpy as np
import pytest

from shattering import InputError
from shattering.measures.bits import arrangement_bits, bits_memorized, bootstrap_interval, error_bits, log2_likelihood


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("k", [2, 3, 10])
@pytest.mark.parametrize("seed", range(3))
def test_a_table_that_stores_b_bits_measures_b(k, seed):
    """A table knows the labels of n examples, and answers uniformly for the others."""
    n, stored = 300, 120
    labels = rng(seed).integers(0, k, n)
    table = np.full((n, k), 1 / k)
    table[:stored] = np.eye(k)[labels[:stored]]
    assert bits_memorized(labels, table, k) == pytest.approx(stored * math.log2(k), abs=1e-9)
    known = bits_memorized(labels[:stored], labels[:stored], k)
    assert known == pytest.approx(stored * math.log2(k) - math.log2(stored + 1), abs=1e-9), "that no label is wrong has to be said"


def test_permuted_labels_have_the_bits_of_their_order():
    labels = rng(0).permutation(np.repeat([0, 1, 2], [5, 3, 2]))
    ways = math.factorial(10) // (math.factorial(5) * math.factorial(3) * math.factorial(2))
    assert arrangement_bits(np.array([5, 3, 2])) == pytest.approx(math.log2(ways))
    assert bits_memorized(labels, np.eye(3)[labels], 3, known="counts") == pytest.approx(math.log2(ways))


@pytest.mark.parametrize(("n", "k"), [(1, 2), (6, 2), (5, 3), (4, 4)])
def test_the_lengths_are_those_of_a_code(n, k):
    """Kraft: over all labelings 2^-length adds up to 1, for any prediction. The rest of the theory follows from it."""
    predicted = rng(n).integers(0, k, n)
    wrong = [int((np.array(labels) != predicted).sum()) for labels in itertools.product(range(k), repeat=n)]
    assert sum(2 ** -error_bits(n, m, k) for m in wrong) == pytest.approx(1)
    probabilities = rng(n).dirichlet(np.ones(k), n)
    saved = [bits_memorized(np.array(labels), probabilities, k) for labels in itertools.product(range(k), repeat=n)]
    assert np.mean(np.exp2(saved)) == pytest.approx(1), "on average over random labels, so that P(saved >= b) <= 2^-b"


def test_lengths_of_large_sets_against_exact_integers():
    assert error_bits(2000, 300, 10) == pytest.approx(math.log2(2001) + math.log2(math.comb(2000, 300)) + 300 * math.log2(9), rel=1e-12)


@pytest.mark.parametrize("known", ["classes", "counts"])
@pytest.mark.parametrize("soft", [False, True])
def test_a_predictor_that_saw_no_labels_seldom_saves_bits(known, soft):
    n, k, tries = 12, 2, 1000
    random = rng(1)
    order = random.permutation(np.repeat([0, 1], [5, 7]))
    predicted = random.dirichlet(np.ones(k), n) if soft else order
    draws = [random.integers(0, k, n) if known == "classes" else random.permutation(order) for _ in range(tries)]
    saved = np.array([bits_memorized(labels, predicted, k, known) for labels in draws])
    for bits in (0.5, 1, 2, 3, 4):
        share = (saved >= bits).mean()
        assert share <= 2**-bits + 4 * math.sqrt(2**-bits / tries)
    assert (saved > 0).any(), "it can happen"


@pytest.mark.parametrize("seed", range(5))
def test_never_more_than_the_labels_have(seed):
    random = rng(seed)
    n, k = int(random.integers(1, 50)), int(random.integers(2, 6))
    labels = random.integers(0, k, n)
    for predicted in (labels, np.eye(k)[labels], random.integers(0, k, n), random.dirichlet(np.ones(k), n)):
        counted = bits_memorized(labels, predicted, k, "counts")
        assert counted <= arrangement_bits(np.bincount(labels, minlength=k)) + 1e-9
        assert counted <= bits_memorized(labels, predicted, k) <= n * math.log2(k) + 1e-9


def test_a_constant_answer_saves_nothing_where_the_counts_are_known():
    labels = np.repeat([0, 1], [90, 10])
    constant = np.zeros(100, dtype=int)
    assert bits_memorized(labels, constant, 2) > 40
    assert bits_memorized(labels, constant, 2, "counts") == pytest.approx(-math.log2(101))


def test_a_label_that_is_ruled_out():
    assert bits_memorized(np.array([0, 1]), np.array([[1.0, 0.0], [1.0, 0.0]]), 2) == -math.inf


def test_probabilities_of_float16_are_rounded():
    labels = rng(0).integers(0, 10, 100)
    probabilities = rng(0).dirichlet(np.ones(10), 100)
    assert bits_memorized(labels, probabilities.astype(np.float16), 10) == pytest.approx(bits_memorized(labels, probabilities, 10), abs=0.5)


@pytest.mark.parametrize(
    ("labels", "predicted", "k", "message"),
    [
        ([0, 2], [0, 1], 2, "labels has 2, expected 0…1"),
        ([0, 1], [0, -1], 2, "predicted has -1, expected 0…1"),
        ([0.0, 1.0], [0, 1], 2, "labels has shape (2,) and type float64, expected whole numbers of shape (n,)"),
        ([0, 1], [0.2, 0.9], 2, "predicted has shape (2,) and type float64, expected whole numbers of shape (n,)"),
        ([0, 1], [0], 2, "predicted has 1 rows for 2 labels, expected as many"),
        ([0, 1], [[0.5, 0.5]], 2, "predicted has 1 rows for 2 labels, expected as many"),
        ([0, 1], [[1.0], [1.0]], 2, "predicted has shape (2, 1) and type float64, expected (2, 2) probabilities"),
        ([0, 1], [[2.0, -1.0], [0.5, 0.5]], 2, "row 0 of predicted is [2.0, -1.0], expected probabilities"),
        ([0, 1], [[0.5, 0.5], [1.5, 2.5]], 2, "row 1 of predicted is [1.5, 2.5], expected probabilities"),
        ([0, 1], [[0.5, float("nan")], [0.5, 0.5]], 2, "row 0 of predicted is [0.5, nan], expected probabilities"),
        ([0, 1], [0, 1], 1, "n_classes is 1, expected a whole number of at least 2"),
    ],
)
def test_bad_arguments(labels, predicted, k, message):
    with pytest.raises(InputError) as error:
        bits_memorized(np.array(labels), np.array(predicted), k)
    assert message in str(error.value)


def test_bad_numbers():
    with pytest.raises(InputError, match="unknown known 'labels'"):
        bits_memorized(np.array([0, 1]), np.array([0, 1]), 2, "labels")  # type: ignore[arg-type]  # what is tested
    with pytest.raises(InputError, match="n_wrong is 4, expected a whole number in 0…3"):
        error_bits(3, 4, 2)
    for counts, found in (([-1, 2], "-1"), ([math.nan, 2], "nan"), ([1.5, 2], "1.5"), ([math.inf, 2], "inf")):
        with pytest.raises(InputError, match=f"counts has {found}, expected whole numbers from 0"):
            arrangement_bits(np.array(counts))
    for counts in ([[1, 2], [3, 4]], ["1", "2"], 3):
        with pytest.raises(InputError, match=r"counts has shape .*, expected whole numbers of shape \(k,\)"):
            arrangement_bits(np.array(counts))
    with pytest.raises(InputError, match="labels has 2, expected 0…1"):
        log2_likelihood(np.array([0, 2]), np.eye(2), 2)
    with pytest.raises(InputError, match="level is 95, expected a number above 0 and below 1"):
        bootstrap_interval([0.1, 0.2, 0.3], level=95)
