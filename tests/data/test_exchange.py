"""Admissible permutations: every one that may occur does, equally often, and no other; and they are counted."""

from collections import Counter
from itertools import permutations

import numpy as np
import pytest

from shattering import InputError
from shattering.data.exchange import check_function, count_orders, default_exchange, exchanged_order, permuted_by, words
from shattering.identity.names import name_of

LABELS = np.array([0, 1, 1, 0, 2, 2, 1])
GROUPS = np.array([5, 5, 3, 3, 9, 9, 1])  # three groups of two, one of one


def draw(how, labels, groups, times, ids=None):
    rng = np.random.default_rng(0)
    keys = rng.integers(0, 2**63, size=(times, len(labels))).astype(np.uint64)
    return Counter(tuple(labels[exchanged_order(how, key, groups, ids)].tolist()) for key in keys)


def rolls(vector):
    return {tuple(np.roll(vector, k).tolist()) for k in range(len(vector))}


def expected(how):
    """All label vectors that may occur, from slow, obvious definitions."""
    if how == "free":
        return set(permutations(LABELS.tolist()))
    blocks = [np.flatnonzero(g == GROUPS) for g in np.unique(GROUPS)]
    found = set()
    if how == "whole":
        twos = [rows for rows in blocks if len(rows) == 2]
        for order in permutations(range(3)):
            new = LABELS.copy()
            for rows, k in zip(twos, order, strict=True):
                new[rows] = LABELS[twos[k]]
            found.add(tuple(new.tolist()))
        return found
    choices = [set(permutations(LABELS[rows].tolist())) if how == "within" else rolls(LABELS[rows]) for rows in blocks]
    partial = [LABELS.copy()]
    for rows, vectors in zip(blocks, choices, strict=True):
        partial = [np.r_[old[: rows[0]], vector, old[rows[0] + len(rows) :]] for old in partial for vector in vectors]
    return {tuple(vector.tolist()) for vector in partial}


@pytest.mark.parametrize("how", ["free", "within", "whole", "shift"])
def test_exactly_the_admissible_label_vectors_occur_and_equally_often(how):
    found, admissible = draw(how, LABELS, None if how == "free" else GROUPS, 4000), expected(how)
    assert set(found) == admissible
    assert count_orders(how, LABELS, None if how == "free" else GROUPS) == len(admissible)
    each = 4000 / len(admissible)
    if how != "shift":
        assert max(abs(count - each) for count in found.values()) < 5 * each**0.5


def test_a_shift_rolls_the_labels_in_the_order_of_the_ids():
    ids = np.array([6, 5, 4, 3, 2, 1, 0])
    found = draw("shift", LABELS, None, 500, ids)
    assert set(found) == {vector[::-1] for vector in rolls(LABELS[::-1])} == rolls(LABELS)
    in_time = np.argsort(ids)
    order = exchanged_order("shift", np.full(7, 2, np.uint64), None, ids)
    assert LABELS[order][in_time].tolist() == np.roll(LABELS[in_time], 2).tolist()
    assert count_orders("shift", np.array([0, 1, 0, 1])) == 2, "a periodic sequence has fewer rolls"


def test_an_order_is_a_function_of_ids_not_of_where_the_rows_lie():
    rng = np.random.default_rng(1)
    keys, ids = rng.integers(0, 2**62, 7).astype(np.uint64), np.arange(7)
    for how in ("within", "whole", "shift"):
        new = LABELS[exchanged_order(how, keys, GROUPS, ids)]
        shuffled = rng.permutation(7)
        again = LABELS[shuffled][exchanged_order(how, keys[shuffled], GROUPS[shuffled], ids[shuffled])]
        if how != "within":
            assert again.tolist() == new[shuffled].tolist()


def test_continuous_targets_are_exchanged_alike():
    y, keys = LABELS + 0.5, np.arange(7)[::-1].astype(np.uint64)
    for how in ("free", "within", "whole", "shift"):
        order = exchanged_order(how, keys, GROUPS)
        assert sorted(y[order]) == sorted(y)


def test_the_default_follows_from_labels_and_groups():
    assert default_exchange(LABELS, None) == "free"
    assert default_exchange(LABELS, GROUPS) == "within"
    assert default_exchange(np.array([1, 0, 1, 0]), np.array([3, 4, 3, 4])) == "whole"
    assert default_exchange(np.array([0.5, 1.5, 0.5]), np.array([0, 1, 0])) == "whole"


def test_many_permutations_are_counted_without_overflow():
    y = np.arange(40) % 2
    assert count_orders("free", y) == 137846528820  # 40 choose 20
    assert count_orders("free", np.arange(20_000) % 10) == np.inf
    assert count_orders("free", np.arange(150)) == pytest.approx(5.7133839564458575e262)
    assert count_orders("whole", np.zeros(6), np.array([0, 0, 1, 1, 2, 2])) == 1


@pytest.mark.parametrize(
    ("how", "said"), [("within", "without groups"), ("whole", "without groups"), ("blocks", "expected one of free, within")]
)
def test_bad_exchanges(how, said):
    with pytest.raises(InputError, match=said):
        exchanged_order(how, np.arange(4))
    with pytest.raises(InputError, match=said):
        count_orders(how, np.arange(4))


class Rolled:
    """An object that is called: labels rolled by a random amount."""

    def __call__(self, labels, rng):
        return np.roll(labels, rng.integers(len(labels)))


@pytest.mark.parametrize("labels", [np.array([3, 1, 1]), np.array(["b", "a", "a"]), np.array([True, False, False]), np.array([0.5, 2, 2])])
def test_a_function_permutes_labels_of_every_type_and_cannot_change_them(labels):
    def reverse(labels, rng):
        labels[:] = labels[::-1].copy()
        return labels.tolist()

    before = labels.copy()
    found = permuted_by(reverse, labels, np.random.default_rng(0))
    assert (labels == before).all()
    assert (found == before[::-1]).all()
    assert found.dtype == before.dtype


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda labels, rng: labels[:3], r"exchange, <lambda>\(\), returns an array of shape \(3,\) for 7 labels, expected \(7,\)"),
        (lambda labels, rng: labels[:, None], r"of shape \(7, 1\) for 7 labels"),
        (lambda labels, rng: rng.choice(labels, 7), "other labels than it was given, expected the same in another order"),
        (lambda labels, rng: labels.astype(str), "other labels than it was given"),
        (lambda labels, rng: [None, *labels[1:]], "other labels than it was given"),
        (lambda labels, rng: labels["a"], "fails on 7 labels: only integers"),
        (lambda labels: labels, "fails on 7 labels: .* takes 1 positional argument"),
    ],
)
def test_functions_that_permute_nothing(function, said):
    with pytest.raises(InputError, match=said):
        permuted_by(function, LABELS, np.random.default_rng(1))


def test_a_function_draws_from_its_generator_alone_and_knows_all_rows():
    own = np.random.default_rng(0)
    with pytest.raises(InputError, match="in the same state, expected randomness from that generator alone"):
        check_function(lambda labels, rng: own.permutation(labels), LABELS, np.arange(7), "train")
    with pytest.raises(InputError, match="the test split has only some of the rows of its source, expected all of them"):
        check_function(Rolled(), LABELS, np.arange(7) * 2, "test")
    check_function(Rolled(), LABELS, np.arange(7) + 100, "test")


def test_exchanges_in_words():
    assert words("within") == "within groups"
    assert words(name_of("shift", "0")) == words("shift()") == "by shift()", "a function of that name is no circular shift"
