"""Which examples are held out, and which folds are made."""

import numpy as np
import pytest
import torch
from sklearn.model_selection import StratifiedKFold

from shattering import InputError, Randomization, load_dataset, randomize, seeds
from shattering.data.dataset import Dataset
from shattering.data.split import Split
from shattering.data.subsets import hold_out


def split_of(labels, n_classes=None) -> Split:
    labels = np.asarray(labels)
    k = n_classes or labels.max() + 1
    features = torch.from_numpy(np.random.default_rng(0).normal(size=(len(labels), 2)).astype(np.float32))
    return Split(features, torch.from_numpy(labels.astype(np.int64)), tuple(f"class{i}" for i in range(k)))


def counts(split: Split) -> list[int]:
    return torch.bincount(split.labels, minlength=split.n_classes).tolist()


@pytest.mark.parametrize("sizes", [[20, 20], [32, 8], [36, 4], [38, 2], [39, 1], [10, 15, 15], [1, 1, 38], [2] * 20, [5, 5, 30, 100]])
@pytest.mark.parametrize("seed", range(3))
def test_the_held_out_fifth_has_every_class_in_proportion(sizes, seed):
    split = split_of(np.random.default_rng(9).permutation(np.repeat(np.arange(len(sizes)), sizes)))
    n_test = len(split) // 5
    train, test = hold_out(split, n_test, seed)
    assert (len(train), len(test)) == (len(split) - n_test, n_test)
    assert sorted([*train.ids.tolist(), *test.ids.tolist()]) == list(range(len(split)))
    assert train.ids.tolist() == sorted(train.ids.tolist())
    room = n_test >= sum(size > 1 for size in sizes)
    for size, in_test in zip(sizes, counts(test), strict=True):
        assert size - in_test >= 1, "no class is without training examples"
        assert (in_test >= 1) == (size > 1) or not room
        assert abs(in_test - size * n_test / len(split)) < 1.5


def test_the_held_out_fifth_is_a_function_of_the_seed_and_draws_all_alike():
    split = split_of([0] * 15 + [1] * 5)
    fifths = [tuple(hold_out(split, 4, seed)[1].ids.tolist()) for seed in range(400)]
    assert fifths[:5] == [tuple(hold_out(split, 4, seed)[1].ids.tolist()) for seed in range(5)]
    often = np.bincount(np.concatenate(fifths), minlength=20) / 400
    assert np.abs(often[:15] - 3 / 15).max() < 0.07
    assert np.abs(often[15:] - 1 / 5).max() < 0.07


@pytest.mark.parametrize("mode", ["permute", "redraw", "flip"])
def test_folds_are_scikit_learns_for_the_labels_that_are_trained_on(mode):
    data = Dataset(split_of(np.arange(41) % 2), split_of([0, 1]))
    noise = randomize(data, Randomization(1, label_mode=mode), seed=3)
    labels = noise.train.labels.numpy()
    assert (labels != data.train.labels.numpy()).any()
    splitter = StratifiedKFold(4, shuffle=True, random_state=seeds.integer(7, "data/folds") % 2**32)
    for number, (rest, held_out) in enumerate(splitter.split(labels, labels)):
        fold = noise.fold(number, 4, seed=7)
        assert fold.train.ids.tolist() == rest.tolist()
        assert fold.test.ids.tolist() == held_out.tolist()
        assert fold.test.labels.tolist() == labels[held_out].tolist()
        assert np.ptp(counts(fold.test)) <= np.ptp(np.bincount(labels)) / 4 + 1, "balanced in the labels that are trained on"


def test_folds_within_class_are_those_of_the_natural_data():
    data = Dataset(split_of(np.arange(30) % 3), split_of([0, 1, 2]))
    noise = randomize(data, Randomization(pixels="within-class"), seed=3)
    assert [noise.fold(k, 5).test.ids.tolist() for k in range(5)] == [data.fold(k, 5).test.ids.tolist() for k in range(5)]


def test_a_class_that_corruption_makes_smaller_than_the_folds_is_in_as_many_as_it_can_be():
    data = Dataset(split_of([0] * 5 + [1] * 5), split_of([0, 1]))
    noise = next(noise for seed in range(50) if min(counts((noise := randomize(data, Randomization(1), seed)).train)) == 2)
    rare = int(np.argmin(counts(noise.train)))
    assert sorted(counts(noise.fold(k, 5).test)[rare] for k in range(5)) == [0, 0, 0, 1, 1]
    with pytest.raises(InputError, match="the smallest class of arrays has 5 examples, expected at least 6 for 6 folds"):
        noise.fold(0, 6)


def test_every_source_without_a_test_split_is_held_out_by_class():
    y = np.array([0] * 36 + [1] * 4)
    for seed in range(5):
        data = load_dataset((np.zeros((40, 3)), y), seed=seed)
        assert counts(data.test) == [7, 1]
