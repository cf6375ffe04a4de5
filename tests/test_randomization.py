import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from shattering.data.arrays import dataset_from_arrays
from shattering.data.dataset import Dataset
from shattering.data.noise import Moments
from shattering.data.split import Split
from shattering.errors import InputError
from shattering.randomization import Randomization, randomize
from tests.conftest import make_split
from tests.programs import run_program

PIXELS = ("true", "shuffled", "random", "gaussian")
MODES = ("redraw", "flip", "permute")
randomizations = st.builds(Randomization, st.sampled_from([0.0, 0.3, 1.0]), st.sampled_from(PIXELS), st.sampled_from(MODES), st.booleans())
any_seed = st.integers(0, 2**32)


def labelled(n: int, k: int) -> Split:
    return Split(torch.zeros(n, 1, 1, 1, dtype=torch.uint8), torch.arange(n) % k, tuple(map(str, range(k))))


@given(randomizations, any_seed, st.sampled_from([torch.uint8, torch.float32]))
def test_in_memory_and_by_index_give_the_same_bytes(r, seed, dtype):
    data = Dataset(make_split(dtype=dtype), make_split(n=16, seed=1, dtype=dtype))
    made = randomize(data, r, seed)
    moments = Moments.of(data.train.inputs)
    for part in ("train", "test"):
        split = getattr(data, part)
        transform = r.input_noise(seed, part, moments).by_image()
        for row in (0, 5, 11):
            by_index = transform(split.inputs[row].numpy(), int(split.ids[row]))
            assert (getattr(made, part).inputs[row].numpy() == by_index).all()


@given(randomizations, any_seed)
def test_the_axes_are_independent_of_each_other(r, seed):
    data = Dataset(make_split(), make_split(n=16, seed=1))
    both = randomize(data, r, seed)
    labels_only = randomize(data, replace(r, pixels="true"), seed)
    pixels_only = randomize(data, replace(r, labels=0.0), seed)
    assert torch.equal(both.train.labels, labels_only.train.labels)
    assert torch.equal(both.train.inputs, pixels_only.train.inputs)
    assert torch.equal(both.test.inputs, pixels_only.test.inputs)


@given(randomizations, any_seed)
def test_an_example_keeps_its_noise_in_any_subset(r, seed):
    if r.label_mode == "permute" or r.pixels == "gaussian":
        return  # these use the whole split: its labels, its moments
    data = Dataset(make_split(), make_split(n=16, seed=1))
    whole, part = randomize(data, r, seed), randomize(replace(data, train=data.train.subset(torch.arange(3, 30, 2))), r, seed)
    rows = part.train.ids
    assert torch.equal(part.train.labels, whole.train.labels[rows])
    assert torch.equal(part.train.inputs, whole.train.inputs[rows])


@given(randomizations, any_seed)
def test_it_is_deterministic_and_keeps_what_it_must(r, seed):
    data = Dataset(make_split(), make_split(n=16, seed=1))
    one, two = randomize(data, r, seed), randomize(data, r, seed)
    assert torch.equal(one.train.inputs, two.train.inputs)
    assert torch.equal(one.train.labels, two.train.labels)
    assert torch.equal(one.test.labels, data.test.labels)
    assert torch.equal(one.train.true_labels, data.train.labels)
    assert torch.equal(randomize(one, r, seed).train.labels, one.train.labels), "corrupted from the true labels, so it does not compound"
    if r.pixels in ("shuffled", "random"):
        assert torch.equal(one.train.inputs.flatten(1).sort(1).values, data.train.inputs.flatten(1).sort(1).values)


@pytest.mark.parametrize("k", [2, 10])
@pytest.mark.parametrize("p", [0.2, 0.5, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_fraction_of_changed_labels(k, p, seed):
    n = 20000
    split = labelled(n, k)
    expected = {"redraw": p * (1 - 1 / k), "flip": p, "permute": p * (1 - 1 / k)}
    for mode, fraction in expected.items():
        labels = Randomization(p, label_mode=mode).corrupt(split, seed, "train")
        changed = float((labels != split.labels).double().mean())
        assert abs(changed - fraction) <= 4 * np.sqrt(0.25 / n) * (p < 1 or mode != "flip"), mode
        if mode == "permute":
            assert torch.equal(labels.bincount(), split.labels.bincount())


@pytest.mark.parametrize("mode", ["redraw", "flip"])
def test_new_labels_are_uniform_over_what_they_may_be(mode):
    split = labelled(50000, 5)
    labels = Randomization(1.0, label_mode=mode).corrupt(split, 1, "train")
    table = np.zeros((5, 5))
    np.add.at(table, (split.labels.numpy(), labels.numpy()), 1 / 10000)
    expected = np.full((5, 5), 0.2) if mode == "redraw" else (1 - np.eye(5)) / 4
    assert np.abs(table - expected).max() < 5 * np.sqrt(0.25 / 10000)
    assert (np.diag(table) == 0).all() == (mode == "flip")


def test_corruption_is_nested_in_its_probability():
    split = labelled(1000, 10)
    low, high = (Randomization(p).corrupt(split, 0, "train") for p in (0.3, 0.6))
    changed = low != split.labels
    assert changed.any()
    assert torch.equal(low[changed], high[changed])


def test_train_and_test_noise_differ_but_share_the_shuffle():
    split = make_split()
    data = Dataset(split, split)
    assert not torch.equal(*(getattr(randomize(data, Randomization(pixels="random")), p).inputs for p in ("train", "test")))
    assert torch.equal(*(getattr(randomize(data, Randomization(pixels="shuffled")), p).inputs for p in ("train", "test")))
    r = Randomization(1.0)
    assert not torch.equal(r.corrupt(split, 0, "train"), r.corrupt(split, 0, "test"))


def test_a_pixel_keeps_its_channels_together_unless_told_otherwise():
    split = make_split(shape=(3, 8, 8))
    pixels = {tuple(p) for p in split.inputs[0].flatten(1).T.tolist()}
    for kind in ("shuffled", "random"):
        together = randomize(Dataset(split, split), Randomization(pixels=kind)).train.inputs[0]
        apart = randomize(Dataset(split, split), Randomization(pixels=kind, permute_channels=True)).train.inputs[0]
        assert {tuple(p) for p in together.flatten(1).T.tolist()} == pixels
        assert {tuple(p) for p in apart.flatten(1).T.tolist()} != pixels


def test_shuffling_uses_one_permutation_and_random_another_each():
    row = torch.arange(64, dtype=torch.uint8).reshape(1, 1, 8, 8)
    split = Split(row.repeat(20, 1, 1, 1), torch.arange(20) % 2, ("a", "b"))
    distinct = {
        k: len(randomize(Dataset(split, split), Randomization(pixels=k)).train.inputs.unique(dim=0)) for k in ("shuffled", "random")
    }
    assert distinct == {"shuffled": 1, "random": 20}


def test_gaussian_pixels_match_the_moments_of_the_training_images():
    generator = np.random.default_rng(0)
    scale = np.array([20, 40, 60])[:, None, None]
    images = torch.from_numpy((128 + scale * generator.uniform(-1, 1, (400, 3, 16, 16))).astype(np.uint8))
    split = Split(images, torch.arange(400) % 2, ("a", "b"))
    noise = randomize(Dataset(split, split), Randomization(pixels="gaussian"), 5).train.inputs
    n = 400 * 256
    for channel in range(3):
        true, drawn = images[:, channel].double() / 255, noise[:, channel].double()
        assert abs(drawn.mean() - true.mean()) < 5 * true.std() / np.sqrt(n)
        assert abs(drawn.std() / true.std() - 1) < 5 / np.sqrt(2 * n)
        z = ((drawn - drawn.mean()) / drawn.std()).flatten()
        assert abs(float((z**4).mean()) - 3) < 0.1, "normal, not uniform"
    assert abs(np.corrcoef(noise[:, 0].flatten(), noise[:, 1].flatten())[0, 1]) < 0.02


def test_tables_can_be_randomized_too():
    split = Split(torch.randn(50, 7), torch.arange(50) % 2, ("a", "b"))
    for pixels in PIXELS:
        made = randomize(Dataset(split, split), Randomization(0.5, pixels))
        assert made.train.inputs.shape == (50, 7)


def test_bytes_are_the_same_in_another_process():
    code = (
        "import sys, hashlib; sys.path.insert(0, '.'); from tests.conftest import make_split\n"
        "from shattering import Dataset, Randomization, randomize\n"
        "for p in ('shuffled', 'random', 'gaussian'):\n"
        "    print(randomize(Dataset(make_split(), make_split(n=16, seed=1)), Randomization(0.5, p), 7).fingerprint())"
    )
    theirs = run_program([sys.executable, "-c", code], check=True).stdout.split()
    data = Dataset(make_split(), make_split(n=16, seed=1))
    assert theirs == [randomize(data, Randomization(0.5, p), 7).fingerprint() for p in PIXELS[1:]]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"labels": 1.5}, r"labels is 1\.5, expected a probability of corruption in 0…1"),
        ({"labels": -0.1}, "expected a probability"),
        ({"labels": float("nan")}, "expected a probability"),
        ({"labels": True}, "expected a probability"),
        ({"labels": "half"}, "expected a probability"),
        ({"pixels": "noise"}, "unknown pixels 'noise'; known: columns, gaussian, random, shifted, shuffled, true"),
        ({"label_mode": "swap"}, "unknown label_mode 'swap'"),
    ],
)
def test_bad_input(bad, message):
    with pytest.raises(InputError, match=message):
        Randomization(**bad)


@pytest.mark.parametrize(
    ("r", "title"),
    [
        (Randomization(), "original data"),
        (Randomization(1), "random labels"),
        (Randomization(0.125), "12.5% corrupted labels"),
        (Randomization(0.5, "shuffled"), "50% corrupted labels, shuffled pixels"),
        (Randomization(1.0, "gaussian", "permute"), "random labels (permuted), Gaussian pixels"),
    ],
)
def test_titles(r, title):
    assert r.title == title


def test_gaussian_values_in_place_of_a_sparse_matrix_need_an_array():
    data = dataset_from_arrays(csr_matrix(np.eye(8)), [0, 1] * 4, csr_matrix(np.eye(8)), [0, 1] * 4)
    with pytest.raises(InputError, match=r"^inputs are a csr_matrix, expected an array or a DataFrame of numbers: its toarray\(\) is one$"):
        randomize(data, Randomization(pixels="gaussian"))


@pytest.mark.parametrize("seed", [1.5, "3", -1, None, True])
def test_a_seed_is_not_rounded(seed):
    with pytest.raises(InputError, match=r"^seed is .*, expected a whole number of at least 0$"):
        randomize(Dataset(make_split(), make_split()), Randomization(1.0), seed)


def test_a_randomization_is_one():
    with pytest.raises(InputError, match=r"^randomization is .*, expected a Randomization, such as Randomization\(labels=1.0\)$"):
        randomize(Dataset(make_split(), make_split()), {"labels": 1.0})
