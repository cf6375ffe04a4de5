import pytest
import torch

from shattering import InputError, Randomization, load_dataset, randomize


def ids(split):
    return set(split.ids.tolist())


def test_a_validation_split_is_balanced_held_out_and_leaves_the_training_set_as_it_was():
    plain, data = load_dataset("digits", 300, 50, seed=3), load_dataset("digits", 300, 50, seed=3, n_validation=100)
    assert torch.equal(plain.train.ids, data.train.ids)
    assert torch.equal(plain.test.ids, data.test.ids)
    assert plain.validation is None
    assert len(data.validation) == 100
    assert not ids(data.validation) & ids(data.train)
    assert data.validation.labels.bincount().tolist() == [10] * 10
    assert ids(data.validation) != ids(load_dataset("digits", 300, 50, seed=4, n_validation=100).validation)
    assert data.fingerprint() != plain.fingerprint()


def test_without_n_train_the_rest_stays():
    whole, data = load_dataset("digits"), load_dataset("digits", n_validation=97)
    assert len(data.train) == 1200
    assert ids(data.train) | ids(data.validation) == ids(whole.train)


def test_validation_examples_have_the_noise_of_the_train_split():
    noise = Randomization(1.0, "random")
    whole = randomize(load_dataset("digits"), noise, seed=5)
    data = randomize(load_dataset("digits", 200, n_validation=50), noise, seed=5)
    rows = torch.searchsorted(whole.train.ids, data.validation.ids)
    assert torch.equal(data.validation.labels, whole.train.labels[rows])
    assert torch.equal(data.validation.inputs, whole.train.inputs[rows])


@pytest.mark.parametrize(("n_train", "n", "room"), [(1290, 8, 7), (None, 1297, 1296)])
def test_too_large_a_validation_split(n_train, n, room):
    with pytest.raises(InputError, match=f"n_validation is {n}, expected 1…{room}"):
        load_dataset("digits", n_train, n_validation=n)


def test_an_empty_validation_split():
    with pytest.raises(InputError, match="n_validation is 0, expected a whole number of at least 1 or none"):
        load_dataset("digits", 100, n_validation=0)
