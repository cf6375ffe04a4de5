"""From anyone's model and data to what measures take."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from shattering import Dataset, InputError, NetworkClassifier, RunSpec, Split, Store, run
from shattering.measures.fitted import NotComputable, margins_of
from shattering.measures.fitting import as_fitted
from tests.measures.networks import NETWORKS, data, fitted, of_module, small_data, small_relu, trained


@pytest.mark.parametrize("name", NETWORKS)
def test_a_classifier_its_data_and_its_initial_weights(name):
    model, made = trained(name), fitted(name)
    torch.testing.assert_close(made.logits.float(), model.logits(data().train), rtol=1e-5, atol=1e-5)
    assert made.n_parameters == model.n_parameters_
    assert made.error == pytest.approx(1 - model.train_accuracy_)
    assert float(made.losses.mean()) == pytest.approx(model.train_loss_, rel=1e-5)
    assert torch.equal(made.labels, data().train.labels)  # those that were trained on
    fresh = NetworkClassifier(**model.get_params() | {"epochs": 1, "learning_rate": 0.0}).fit(data().train)
    for name, value in fresh.module_.named_parameters():
        assert torch.equal(made.initial_parameters[name], value.detach())


def test_initial_weights_need_a_seed():
    model = NetworkClassifier("mlp-1x4", epochs=1, random_state=None).fit(data().train)
    with pytest.raises(NotComputable, match="the initial weights are not known"):
        _ = as_fitted(model, data()).initial_parameters
    with pytest.raises(InputError, match="random_state is None, expected a whole number to build the initial network again from"):
        model.initial_module()
    given = as_fitted(model, data(), initial=model.module_)
    assert all(torch.equal(given.initial_parameters[name], value) for name, value in given.parameters.items())


def test_a_dataset_has_more():
    dataset = data()
    more = as_fitted(trained("mlp"), Dataset(dataset.train, dataset.test, validation=dataset.test))
    assert more.unlabelled is not None
    assert more.held_out is not None
    assert torch.equal(more.logits_of(more.unlabelled), more.logits_of(more.held_out))
    assert torch.equal(more.unlabelled.labels, dataset.test.labels)
    alone = as_fitted(trained("mlp"), dataset.train)
    assert (alone.unlabelled, alone.held_out) == (None, None)
    given = as_fitted(trained("mlp"), dataset.train, unlabelled=dataset.test.inputs.float() / 255)
    torch.testing.assert_close(given.logits_of(given.unlabelled), more.logits_of(more.unlabelled))


def test_arrays_and_their_own_labels():
    X, y = data().train.inputs.float().numpy() / 255, np.array(["abcdefghij"[c] for c in data().train.labels])
    model = NetworkClassifier("mlp-1x4", epochs=1).fit(X, y)
    made = as_fitted(model, (X, y))
    assert torch.equal(made.labels, data().train.labels)
    for labels, message in [
        (y[:-1], "X has 48 examples and y has 47 labels"),
        (np.where(y == "a", "z", y), r"label np.str_\('z'\) is none of the classes"),
    ]:
        with pytest.raises(InputError, match=message):
            as_fitted(model, (X, labels))


def test_a_module_takes_splits_pairs_and_a_preparation():
    module, split = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), data().train
    plain = as_fitted(module, split)
    floats = split.inputs.float() / 255
    torch.testing.assert_close(plain.logits.float(), module(floats).detach())
    torch.testing.assert_close(as_fitted(module, (floats, split.labels.tolist())).logits, plain.logits)
    scaled = as_fitted(module, split, prepare=lambda images: 2 * images - 1)
    torch.testing.assert_close(scaled.logits.float(), module(2 * floats - 1).detach())
    double = as_fitted(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).double(), split)
    assert double.inputs(torch.tensor([3, 1])).dtype == torch.float64


def test_a_table_keeps_its_digits():
    table = Split(torch.tensor([[1e9], [1e9 + 1]], dtype=torch.float64), torch.tensor([0, 1]), ("a", "b"))
    assert as_fitted(nn.Linear(1, 2).double(), table).inputs(torch.arange(2)).diff(dim=0).item() == 1


def test_a_stored_run(tmp_path):
    store = Store(tmp_path)
    done = run(RunSpec("digits", n_train=40, n_test=20, params={"network": "mlp-1x6", "epochs": 2, "track_examples": True}), store)
    made = done.fitted()
    assert made.error == pytest.approx(1 - done.result["train_accuracy"])
    assert made.seed == 0
    assert made.rate == pytest.approx(done.history["learning_rate"].iloc[-1])
    pd.testing.assert_frame_equal(made.history, done.history)
    pd.testing.assert_frame_equal(made.examples, done.examples)
    other = run(RunSpec("digits", n_train=40, n_test=20, model="logistic-regression"), store)
    with pytest.raises(InputError, match="is of the model logistic-regression, expected a network"):
        other.fitted()
    with pytest.raises(InputError, match="is missing, expected one that is done"):
        store.of(RunSpec("digits", n_train=41)).fitted()


def test_what_is_given_beside_a_fitted_network_goes_before_its_own(tmp_path):
    made = of_module(small_relu(), *small_data())
    assert as_fitted(made) is made
    initial, history = small_relu(1), pd.DataFrame({"epoch": [1, 2], "learning_rate": [0.1, 0.05]})
    examples = pd.DataFrame({"forgotten": [0] * made.n})
    given = as_fitted(made, initial=initial, history=history, examples=examples, seed=3, block=7, twin=made, siblings=[made])
    assert given.history is history
    assert given.examples is examples
    assert all(torch.equal(given.initial_parameters[name], value) for name, value in initial.named_parameters())
    assert (given.seed, given.block, given.rate, given.twin, given.siblings) == (3, 7, 0.05, made, (made,))
    assert as_fitted(given, block=8).seed == 3, "what is not given stays"
    for wrong in ({"unlabelled": small_data()[0]}, {"prepare": lambda inputs: inputs}, {"data": small_data()}):
        with pytest.raises(InputError, match=f"{next(iter(wrong))} is given beside a Fitted, which has its own, expected none"):
            as_fitted(made, **wrong)
    done = run(RunSpec("digits", n_train=40, n_test=20, seed=2, params={"network": "mlp-1x6", "epochs": 2}), Store(tmp_path))
    assert (as_fitted(done).seed, as_fitted(done, block=5).seed, as_fitted(done, seed=0).seed) == (2, 2, 0)
    with pytest.raises(InputError, match="prepare is given beside a Run, which has its own"):
        as_fitted(done, prepare=lambda inputs: inputs)


def test_margins():
    logits = torch.tensor([[1.0, 3.0, 2.0], [0.0, 0.5, 0.5]])
    assert margins_of(logits, torch.tensor([1, 0])).tolist() == [1.0, -0.5]
    assert margins_of(logits[:, :2], torch.tensor([0, 1])).tolist() == [-2.0, 0.5]


def test_work_is_shared_and_so_are_reasons():
    calls = []

    def work(fitted, x):
        calls.append(x)
        if x < 0:
            raise NotComputable("negative")
        return x

    made = of_module(small_relu(), *small_data())
    assert [made.once(work, 2), made.once(work, 2), made.once(work, 3)] == [2, 2, 3]
    for _ in range(2):
        with pytest.raises(NotComputable, match="negative"):
            made.once(work, -1)
    assert calls == [2, 3, -1]


def test_features_and_hidden_layers():
    module = small_relu(sizes=(3, 5, 4, 3))
    inputs, labels = small_data()
    made = of_module(module, inputs, labels, seed=3)
    torch.testing.assert_close(made.features, module[:4](inputs).detach())
    h, logits = made.hidden(inputs, 1)
    torch.testing.assert_close(h, module[:2](inputs))
    (gradient,) = torch.autograd.grad(logits[:, 0].sum(), h)
    assert gradient.shape == (30, 5)
    assert [len(block) for block, _ in made.blocks(bytes_per_example=2**26)] == [4] * 7 + [2]


MODULE, INPUTS = nn.Linear(3, 3), torch.zeros(4, 3)


def test_a_frame_of_numbers_and_labels_that_are_texts():
    """Texts have the places that they have in a Dataset: the classes in order."""
    inputs, labels = torch.randn(12, 3, generator=torch.Generator().manual_seed(0)), torch.arange(12) % 3
    plain = as_fitted(MODULE, (inputs, labels))
    frame = pd.DataFrame(inputs.numpy(), columns=list("abc"))
    texts = pd.Series(np.array(["ant", "bee", "cat"])[labels.numpy()])
    for given in ((frame, texts), (inputs.numpy(), texts.tolist()), (frame, pd.Series(labels.numpy(), dtype="Int64"))):
        made = as_fitted(MODULE, given)
        assert torch.equal(made.labels, labels)
        torch.testing.assert_close(made.logits, plain.logits)


@pytest.mark.parametrize(
    ("known", "message"),
    [
        ({"twin": MODULE}, r"twin is Linear.*, expected a Fitted \(that as_fitted returns\) or none"),
        ({"siblings": [MODULE]}, r"siblings is \[Linear.*, expected a list of Fitted \(that as_fitted returns\)"),
        ({"history": [1.0]}, r"history is \[1.0\], expected a DataFrame or none"),
        ({"examples": {}}, r"examples is \{\}, expected a DataFrame or none"),
        ({"initial": "zeros"}, "initial is 'zeros', expected a Module or none"),
        ({"prepare": 5}, "prepare is 5, expected a function or none"),
        ({"seed": 1.5}, "seed is 1.5, expected a whole number or none"),
        ({"block": 0}, "block is 0, expected a whole number of at least 1 or none"),
        ({"unlabelled": torch.zeros(4, 5)}, r"unlabelled has inputs of another kind than data: the module does not take inputs of shape"),
        ({"unlabelled": (INPUTS, torch.zeros(4))}, "unlabelled is a tuple, expected a Split, or inputs without labels"),
        (
            {"prepare": lambda inputs: inputs[:1]},
            r"prepare returned shape \(1, 3\) for inputs of shape \(2, 3\), expected a tensor",
        ),
        ({"prepare": lambda inputs: inputs.numpy()}, "prepare returned a ndarray for inputs of shape"),
        ({"prepare": lambda inputs: inputs["a"]}, "the inputs cannot be prepared"),
    ],
)
def test_what_else_is_known_is_of_its_type(known, message):
    with pytest.raises(InputError, match=message):
        as_fitted(MODULE, (INPUTS, torch.arange(4) % 3), **known)


def test_rows_that_a_preparation_drops_later_are_missed():
    made = as_fitted(MODULE, (torch.arange(12.0).reshape(4, 3), torch.arange(4) % 3), prepare=lambda inputs: inputs[inputs[:, 0] < 9])
    with pytest.raises(InputError, match=r"prepare returned shape \(3, 3\) for inputs of shape \(4, 3\)"):
        _ = made.logits


@pytest.mark.parametrize(
    ("model", "given", "message"),
    [
        (
            MODULE,
            DataLoader(TensorDataset(INPUTS)),
            "data is a DataLoader, expected what the Linear was trained on: a Dataset",
        ),
        (
            MODULE,
            (DataLoader(TensorDataset(INPUTS)), [0, 1, 2, 0]),
            "the inputs are a DataLoader, expected a tensor, an array",
        ),
        (trained("mlp"), data().train.inputs, "data is a Tensor, expected what the NetworkClassifier was trained on"),
        (MODULE, (INPUTS,), "data is a tuple of another length"),
        (MODULE, (pd.DataFrame({"a": ["x"] * 4}), [0, 1, 2, 0]), r"the inputs\['a'\] has "),
        (MODULE, (INPUTS, ["a", "b", "a", "b"]), "labels are texts of 2 kinds, expected 3, one a class of the module, or whole numbers"),
        (MODULE, (INPUTS, ["a", "b", "c", "d"]), "labels range over 0…3"),
        (MODULE, (INPUTS, ["a", None, "c", "d"]), "labels has 1 rows without a label"),
        (MODULE, None, r"data is None, expected what the Linear was trained on"),
        (object(), data().train, "model is an object, expected a fitted NetworkClassifier, a torch module or a stored run"),
        (NetworkClassifier(), data().train, "the NetworkClassifier is not fitted"),
        (MODULE, (INPUTS, torch.zeros(3, dtype=torch.int64)), "there are 4 inputs and 3 labels"),
        (MODULE, (INPUTS / torch.tensor([1.0, 1.0, 0.0]), torch.arange(4) % 3), "the inputs of 4 of 4 examples are not finite"),
        (MODULE, (INPUTS, torch.zeros(4)), "labels have type torch.float32"),
        (MODULE, (INPUTS, torch.tensor([0, 1, 2, 3])), r"labels range over 0…3, expected 0…2, as the module gives logits of 3 classes"),
        (MODULE, (torch.zeros(4, 5), torch.zeros(4, dtype=torch.int64)), r"the module does not take inputs of shape \(2, 5\)"),
        (MODULE, data().train, r"the module does not take inputs of shape \(2, 1, 8, 8\)"),
        (
            MODULE,
            (torch.zeros(4, 3, dtype=torch.uint8), torch.arange(4) % 3),
            r"does not take inputs of shape \(2, 3\) and type uint8: .*; whole numbers are handed on as they are: give floats, or prepare",
        ),
        (nn.Linear(3, 1), (INPUTS, torch.full((4,), 2)), r"labels range over 2…2, expected 0…1"),
        (nn.Unflatten(1, (3, 1)), (INPUTS, torch.arange(4) % 3), "the module has no trainable parameter"),
        (nn.Conv1d(1, 1, 1), (torch.zeros(4, 1, 3), torch.arange(4) % 3), r"forward of Conv1d returned shape \(2, 1, 3\)"),
        (nn.Flatten(), (INPUTS, torch.zeros(4, dtype=torch.int64)), "the module has no trainable parameter"),
        (
            nn.BatchNorm1d(3, track_running_stats=False),
            (INPUTS, torch.arange(4) % 3),
            "BatchNorm1d has no running statistics",
        ),
    ],
)
def test_what_does_not_fit_is_one_sentence(model, given, message):
    with pytest.raises(InputError, match=message):
        as_fitted(model, given)


def test_data_of_another_shape_or_other_classes():
    with pytest.raises(InputError, match=r"images have shape \(1, 9, 8\), expected \(1, 8, 8\) as in fit"):
        as_fitted(trained("mlp"), Split(torch.zeros(2, 1, 9, 8), torch.tensor([0, 1]), tuple("0123456789")))
    with pytest.raises(InputError, match="classes are "):
        as_fitted(trained("mlp"), Split(torch.zeros(2, 1, 8, 8), torch.tensor([0, 1]), ("a", "b")))
    with pytest.raises(InputError, match="data is given beside a Fitted, which has its own"):
        as_fitted(fitted("mlp"), data())
    with pytest.raises(InputError, match="prepare is given beside a NetworkClassifier"):
        as_fitted(trained("mlp"), data(), prepare=lambda images: images)
    with pytest.raises(InputError, match="the initial network has other parameters"):
        _ = as_fitted(small_relu(), small_data(), initial=small_relu(sizes=(3, 5, 3))).initial_parameters


class Named(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x):
        return self.last(input=self.first(x))


def test_a_layer_that_is_called_with_a_keyword_is_refused():
    with pytest.raises(InputError, match="layer last is called with its input as a keyword"):
        as_fitted(Named(), (INPUTS, torch.arange(4) % 2))


@pytest.mark.filterwarnings("ignore:.torch.jit.trace:DeprecationWarning")
def test_a_scripted_module_is_refused():
    with pytest.raises(InputError, match="the module is a TorchScript one"):
        as_fitted(torch.jit.trace(nn.Linear(3, 2), INPUTS), (INPUTS, torch.arange(4) % 2))


def test_a_compiled_module_is_measured_as_it_was():
    module = small_relu()
    made = as_fitted(torch.compile(module, backend="eager"), small_data())
    assert type(made.module) is nn.Sequential


class Wrapped(nn.Module):
    """A network of the user's whose output is more than logits: one logit for two classes, in a dictionary."""

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)

    def forward(self, x):
        return {"logits": self.last(torch.relu(self.norm(self.first(x)))), "more": x}


def test_outputs_are_taken_as_training_takes_them():
    inputs, _ = small_data()
    made = of_module(Wrapped(), inputs, torch.arange(30) % 2)
    z = made.module(inputs)["logits"][:, 0].detach()
    torch.testing.assert_close(made.logits, torch.stack([torch.zeros_like(z), z], 1))
    torch.testing.assert_close(made.call(made.parameters, inputs).detach(), made.logits)
    assert made.hidden(inputs, 1)[1].shape == (30, 2)
    assert len(made.weights()) == 2


def test_texts_of_numbers_whose_order_is_another_are_refused():
    """In the order of texts '10' is the third of eleven classes."""
    module, inputs = nn.Linear(3, 11), torch.zeros(11, 3)
    with pytest.raises(InputError, match=r"'10' is before '2', expected whole numbers from 0, such as those of labels.astype"):
        as_fitted(module, (inputs, [str(c) for c in range(11)]))
    few = as_fitted(nn.Linear(3, 10), (torch.zeros(10, 3), [str(c) for c in range(10)]))
    assert few.labels.tolist() == list(range(10))
