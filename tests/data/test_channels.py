"""One rule for the order of channels, wherever arrays come from."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.tree import DecisionTreeClassifier
from torch.utils.data import TensorDataset

from shattering import InputError, NetworkClassifier, RunSpec, dataset_from_arrays, load_dataset, randomization_test
from shattering.learners.adapt import TrainingFunction
from shattering.runs.fit import load_data
from tests.conftest import make_split

Y = np.arange(10) % 2
ROUTES = ("arrays", "pair", "torch tensors", "torch dataset", "npz")


def load(route, x, tmp_path, channels=None):
    """The train images, whatever brings them."""
    if route == "arrays":
        return load_dataset((x, Y, x, Y), channels=channels).train.inputs
    if route == "pair":
        return load_dataset((x, Y), hold_out=False, channels=channels).train.inputs
    if route == "torch tensors":
        return load_dataset(tuple(map(torch.from_numpy, (x, Y, x, Y))), channels=channels).train.inputs
    if route == "torch dataset":
        return load_dataset(TensorDataset(torch.from_numpy(x), torch.from_numpy(Y)), hold_out=False, channels=channels).train.inputs
    np.savez(tmp_path / "a.npz", x_train=x, y_train=Y, x_test=x, y_test=Y)
    return load_dataset(tmp_path / "a.npz", channels=channels).train.inputs


def images(*shape):
    return np.random.default_rng(0).integers(0, 256, (10, *shape), dtype=np.uint8)


FIRST, LAST = (0, 1, 2, 3), (0, 3, 1, 2)


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(
    ("shape", "order"),
    [
        *(((3, 12, 12), FIRST), ((12, 12, 3), LAST), ((28, 28, 1), LAST), ((1, 28, 28), FIRST), ((4, 7, 5), FIRST), ((7, 5, 4), LAST)),
        *(((3, 4, 4), FIRST), ((4, 4, 3), LAST), ((4, 4, 1), LAST), ((4, 3, 3), FIRST)),  # both may be channels: squares
        *(((13, 9, 9), FIRST), ((9, 9, 2), LAST)),  # neither has 1, 3 or 4: squares
    ],
)
def test_the_order_is_seen_wherever_the_arrays_come_from(tmp_path, route, shape, order):
    x = images(*shape)
    assert (load(route, x, tmp_path).numpy() == x.transpose(order)).all()


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("shape", [(3, 3, 3), (3, 12, 3), (1, 28, 1), (7, 6, 5), (28, 28, 28), (4, 5, 3)])
def test_an_order_that_is_not_to_be_seen_has_to_be_said(tmp_path, route, shape):
    x = images(*shape)
    with pytest.raises(InputError, match=r"has shape \(10, .*whose second or last axis may be the channels; expected channels='first' or"):
        load(route, x, tmp_path)
    for channels, order in (("first", FIRST), ("last", LAST)):
        assert (load(route, x, tmp_path, channels).numpy() == x.transpose(order)).all()


def test_an_archive_says_its_order_of_its_own(tmp_path):
    split = make_split(shape=(5, 6, 7))
    data = dataset_from_arrays(*(split.inputs, split.labels) * 2, channels="first")
    path = data.to_npz(tmp_path / "mine.npz")
    assert torch.equal(load_dataset(path).train.inputs, split.inputs)
    with pytest.raises(InputError, match=r"channels is 'first', and 'last' in .*mine.npz"):
        load_dataset(path, channels="first")
    np.savez(tmp_path / "odd.npz", x_train=images(5, 6, 7), y_train=Y, x_test=images(5, 6, 7), y_test=Y, channels="middle")
    with pytest.raises(InputError, match=r"channels is None, and 'middle' in .*odd.npz, expected 'first' or 'last'"):
        load_dataset(tmp_path / "odd.npz")


def test_runs_and_tests_take_the_order(tmp_path):
    x = images(3, 5, 3)
    np.savez(tmp_path / "a.npz", x_train=x, y_train=Y, x_test=x, y_test=Y)
    specs = {order: RunSpec(str(tmp_path / "a.npz"), channels=order) for order in ("first", "last")}
    assert load_data(specs["first"])[0].train.input_shape == (3, 5, 3)
    assert load_data(specs["last"])[0].train.input_shape == (3, 3, 5)
    assert len({spec.run_id for spec in specs.values()}) == 2
    quick = {"randomizations": ["permuted-labels"], "n_permutations": 1}
    for data in ((x, Y, x, Y), tmp_path / "a.npz"):
        with pytest.raises(InputError, match="expected channels='first' or 'last'"):
            randomization_test(DecisionTreeClassifier(), data, **quick)
        repeats = randomization_test(DecisionTreeClassifier(), data, channels="last", **quick).repeats
        assert [repeat.status for repeat in repeats] == ["done"] * 2


def test_where_there_is_no_order_none_may_be_said(tmp_path):
    table, grey = np.zeros((10, 4)), np.zeros((10, 5, 5), np.uint8)
    for x in (table, grey):
        with pytest.raises(InputError, match=r"channels is 'last', expected none for x_train of shape \(10, "):
            load_dataset((x, Y, x, Y), channels="last")
        with pytest.raises(InputError, match="channels is 'last', expected none for the torch dataset, whose images are of shape"):
            load_dataset(TensorDataset(torch.from_numpy(x), torch.from_numpy(Y)), channels="last")
    series = np.zeros((10, 5, 3))
    with pytest.raises(InputError, match=r"channels is 'last', expected none for x_train, whose sequences are \(n, channels, length\)"):
        load_dataset((series, Y), channels="last", kind="sequence")
    for x, kind in ((pd.DataFrame(table), None), (table.astype(int), "tokens"), (series, "opaque")):
        with pytest.raises(InputError, match="channels is 'last', expected none for x_train, which is no array of images"):
            load_dataset((x, Y), channels="last", kind=kind)
    with pytest.raises(InputError, match="channels is 'last', expected none for the torch dataset, whose inputs are said to be 'sequence'"):
        load_dataset(TensorDataset(torch.from_numpy(series), torch.from_numpy(Y)), channels="last", kind="sequence")
    for source in ("digits", load_dataset("digits", 20, 10)):
        with pytest.raises(InputError, match="channels is 'first', expected none for digits, whose images are not arrays"):
            load_dataset(source, channels="first")
    with pytest.raises(InputError, match="channels is 'middle', expected 'first', 'last' or none"):
        load_dataset("digits", channels="middle")
    with pytest.raises(InputError, match="channels 'middle'"):
        RunSpec(channels="middle")  # type: ignore[arg-type]  # that is what is refused


def test_a_fitted_model_knows_the_order_of_its_images():
    split = make_split(shape=(3, 5, 3))
    net = NetworkClassifier("mlp-1x8", epochs=1).fit(split)
    first = split.inputs.numpy()
    assert (net.predict(first) == net.predict(split)).all()
    assert (net.predict(first.transpose(0, 2, 3, 1)) == net.predict(split)).all()
    with pytest.raises(InputError, match=r"expected a Split, whose images are \(n, channels, height, width\), to say which"):
        NetworkClassifier("mlp-1x8", epochs=1).fit(first, split.labels.numpy())


def test_a_training_function_is_given_images_in_the_order_of_its_split():
    split = make_split(shape=(3, 5, 3))
    seen = []

    def train(given, seed):
        return lambda asked: seen.append(asked.inputs) or asked.inputs.flatten(1)[:, :4].float()

    model = TrainingFunction(train).fit(split)
    for x in (split.inputs.numpy(), split.inputs.numpy().transpose(0, 2, 3, 1)):
        model.predict(x)
        assert torch.equal(seen[-1], split.inputs)
