"""What a network's forward returns: what is taken of it, and what is refused before any training."""

import copy
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from shattering import InputError, NetworkClassifier, NetworkRegressor, load_dataset, randomization_test
from shattering.learners.train.outputs import Forward, Outputs, taken
from tests.conftest import make_split

SPLIT, TWO = make_split(n=24), make_split(n=24, n_classes=2)
QUICK = {"epochs": 2, "batch_size": 8, "device": "cpu"}


class Net(nn.Module):
    """A linear network of 90 pixels, and what `wrap` makes of its logits."""

    def __init__(self, wrap=lambda logits: logits, outputs=4):
        super().__init__()
        self.layer, self.wrap = nn.Linear(90, outputs), wrap

    def forward(self, images):
        return self.wrap(self.layer(images.flatten(1)))


def fitted(wrap, split=SPLIT, outputs=4, **hyperparameters):
    return NetworkClassifier(lambda shape, k: Net(wrap, outputs), **{**QUICK, **hyperparameters}).fit(split)


@pytest.fixture(scope="module")
def plain():
    return fitted(lambda logits: logits)


@pytest.mark.parametrize(
    ("wrap", "said"),
    [
        (lambda z: SimpleNamespace(logits=z, hidden=z), ".logits of the SimpleNamespace"),
        (lambda z: {"hidden": z * 2, "logits": z}, "the key 'logits' of the dict"),
        (lambda z: (z, z * 2), "the first of the tuple of 2"),
        (lambda z: [z, "more"], "the first of the list of 2"),
    ],
)
def test_logits_are_taken_of_what_holds_them_and_it_is_said(plain, wrap, said):
    net = fitted(wrap)
    assert net.notes_ == (f"The forward of Net returned more than a tensor: {said} was used.",)
    assert net.record().notes == net.notes_
    assert torch.equal(net.logits(SPLIT), plain.logits(SPLIT))
    assert (net.predict(SPLIT) == plain.predict(SPLIT)).all()
    assert plain.notes_ == ()


def test_the_result_of_a_test_says_it(tmp_path):
    few = {"n_train": 40, "n_test": 20, "randomizations": ["permuted-labels"], "n_permutations": 1, "hyperparameters": {"epochs": 1}}
    test = randomization_test(lambda shape, k: DictNet(), "digits", store=tmp_path, **few)
    assert test.notes == ("The forward of DictNet returned more than a tensor: the key 'logits' of the dict was used.",)
    assert "the key 'logits' of the dict was used." in str(test)
    assert test.runs[0].result["notes"] == list(test.notes)


class DictNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def forward(self, images):
        return {"logits": self.layer(images.flatten(1))}


@pytest.mark.parametrize("shape", [(-1, 1), (-1,)])
def test_one_logit_for_two_classes_has_the_binary_cross_entropy(shape):
    net = fitted(lambda z: z.reshape(shape), TWO, 1, epochs=1, learning_rate=0.0)
    z = net.module_(net._preprocessing.prepare(TWO.inputs)).reshape(-1).detach()
    assert net.train_loss_ == pytest.approx(F.binary_cross_entropy_with_logits(z, TWO.labels.float()).item(), rel=1e-5)
    assert net.predict_proba(TWO)[:, 1] == pytest.approx(torch.sigmoid(z).numpy(), rel=1e-5)
    assert (net.predict(TWO) == (z > 0).numpy()).all()
    assert net.decision_function(TWO) == pytest.approx(z.numpy())
    trained = fitted(lambda z: z.reshape(shape), TWO, 1, epochs=40, learning_rate=0.05)
    assert trained.interpolated_


@pytest.mark.parametrize(
    ("wrap", "message"),
    [
        (
            lambda z: {"scores": z},
            r"forward of Net returned a dict with the keys 'scores', expected a tensor \(8, 4\), or one as its .logits",
        ),
        (lambda z: None, r"forward of Net returned None \(has it a return\?\), expected a tensor \(8, 4\)"),
        (lambda z: [z.tolist()], r"forward of Net returned a list, expected a tensor"),
        (lambda z: z.argmax(1), r"forward of Net returned a tensor of type int64, expected floating-point numbers \(8, 4\)"),
        (lambda z: z[:, :3], r"forward of Net returned shape \(8, 3\), expected \(8, 4\): a last layer with 4 outputs"),
        (lambda z: z[:, :1], r"forward of Net returned shape \(8, 1\), expected \(8, 4\)"),
        (lambda z: torch.cat([z, z], 1), r"forward of Net returned shape \(8, 8\), expected \(8, 4\)"),
        (lambda z: z.reshape(-1, 2), r"forward of Net returned shape \(16, 2\) for 8 examples, expected \(8, 4\): one row for each"),
        (lambda z: z.mean(), r"forward of Net returned shape \(\) for 8 examples"),
        (lambda z: z[:, :, None], r"forward of Net returned shape \(8, 4, 1\), expected \(8, 4\): a flatten\(1\)"),
        (lambda z: z.log(), r"forward of Net returned NaN for \d of 8 examples before any training, expected finite numbers"),
        (lambda z: z / 0, r"forward of Net returned infinite numbers for 8 of 8 examples before any training, expected finite numbers"),
        (lambda z: z.detach(), r"forward of Net returned a tensor that no parameter can be trained through"),
        (
            lambda z: z.double() @ torch.ones(4, 4),
            r"forward of Net raised '.*' for a batch of shape \(8, 3, 6, 5\) and type float32, expected",
        ),
    ],
)
def test_other_outputs_are_refused_before_any_training(wrap, message):
    with pytest.raises(InputError, match=f"^{message}"):
        fitted(wrap, epochs=10**6)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (Net().double(), r"raised '.*dtype.*' for a batch .* type float32, expected a network with parameters of that type \(.float\(\)"),
        (nn.Sequential(nn.Flatten(), nn.Linear(7, 4)), r"raised '.*' for a batch .*, expected a network for inputs of shape \(3, 6, 5\)"),
        (nn.Bilinear(3, 3, 4), r"forward of Bilinear raised .* expected one that takes a batch of inputs alone"),
        (nn.Conv1d(3, 4, 2), r"expected a network for inputs of shape \(3, 6, 5\)$"),
        ("no module", "gave 'no module', expected a torch module"),
    ],
)
def test_inputs_that_a_network_does_not_take(module, message):
    with pytest.raises(InputError, match=message):
        NetworkClassifier(lambda shape, k: copy.deepcopy(module), **QUICK).fit(SPLIT)


def test_series_and_tokens_whose_kind_was_not_said_are_told_how():
    """Three axes are grey images, and two a table, unless something else is said."""
    y = np.arange(8) % 2
    for network, X, said in (
        (nn.Conv1d(2, 2, 3), np.zeros((8, 2, 16), dtype=np.float32), r"kind=\"sequence\" hands \(n, channels, length\) on as they are$"),
        (nn.Embedding(9, 2), np.ones((8, 5), dtype=np.int64), 'expected a network for that type; kind="tokens" hands whole numbers on'),
    ):
        classifier = NetworkClassifier(lambda shape, k, network=network: copy.deepcopy(network), **QUICK)
        with pytest.raises(InputError, match=said):
            classifier.fit(load_dataset((X, y), hold_out=False).train)


def test_a_loss_that_is_not_finite_is_refused_before_any_training():
    with pytest.raises(InputError, match=r"^loss returned nan for the first 8 examples before any training, expected a finite number$"):
        fitted(lambda z: z, epochs=10**6, loss=lambda out, labels: out.sum() * float("nan"))


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (
            nn.MSELoss(),
            r"^loss MSELoss raised '.*' for outputs of shape \(8, 4\) and labels of shape \(8,\) and type int64, .* nn.CrossEntropy",
        ),
        (lambda out: out.sum(), "^loss <lambda> raised '.* takes 1 positional argument"),
        (lambda out, labels: out.detach().sum(), "^loss <lambda> returned a number without gradient"),
    ],
)
def test_a_loss_that_cannot_be_minimized_is_told_before_any_training(loss, message):
    with pytest.raises(InputError, match=message):
        fitted(lambda z: z, epochs=10**6, loss=loss)


def test_a_loss_of_probabilities_is_refused_beside_one_logit():
    """The second class would be predicted for every example, for a probability is above 0."""
    X, y = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32), np.arange(40) % 2

    def make(last, loss):
        return NetworkClassifier(lambda shape, k: nn.Sequential(nn.Linear(3, 1), *last), epochs=2, loss=loss, device="cpu").fit(X, y)

    for loss in (nn.BCELoss(), lambda p, t: -(t * p.log() + (1 - t) * (1 - p).log()).mean()):
        with pytest.raises(InputError, match=r"takes the network's one output for a probability, expected one of logits"):
            make([nn.Sigmoid()], loss)
    assert make([], nn.BCEWithLogitsLoss()).n_iter_ == 2


@pytest.mark.parametrize("loss", [nn.MSELoss(), nn.SoftMarginLoss(), nn.HingeEmbeddingLoss(), lambda o, t: ((o - t) ** 2).mean()])
def test_a_loss_that_does_not_part_classes_at_a_logit_of_0_is_refused(loss):
    """With least squares on 0 and 1 the classes part at 0.5; the margin losses want -1 and 1."""
    with pytest.raises(InputError, match=r"does not draw an output of 0 up for the label 1 and down for 0.*or a network with two outputs$"):
        of_one_logit(loss)


@pytest.mark.parametrize(
    "loss",
    [
        nn.BCEWithLogitsLoss(pos_weight=torch.tensor(9.0)),
        lambda o, t: torch.relu(1 - (2 * t - 1) * o).mean(),  # a hinge
        lambda o, t: torch.relu(-(2 * t - 1) * o).mean(),  # the perceptron's, which is flat at 0
        lambda o, t: (torch.sigmoid(o) - t).square().mean(),
        lambda o, t: (o - (2 * t - 1)).square().mean(),
    ],
)
def test_losses_of_one_logit(loss):
    assert of_one_logit(loss).n_iter_ == 2


def of_one_logit(loss):
    X, y = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32), np.arange(40) % 2
    return NetworkClassifier(lambda shape, k: nn.Linear(3, 1), epochs=2, loss=loss, device="cpu").fit(X, y)


@pytest.mark.parametrize(("batch_size", "k"), [(4, 4), (1, 4), (1, 2), (2, 2), (5, 4)])
def test_a_loss_that_broadcasts_labels_over_outputs_is_refused_whatever_the_batch_size(batch_size, k):
    X, y = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32), np.arange(40) % k
    net = NetworkClassifier(
        lambda shape, k: nn.Linear(3, k), batch_size=batch_size, epochs=1, loss=lambda o, t: ((o - t) ** 2).mean(), device="cpu"
    )
    with pytest.raises(InputError, match=r"^loss <lambda> raised '.*match.*, expected a loss of these, such as nn.CrossEntropyLoss\(\)$"):
        net.fit(X, y)


def test_a_loss_that_does_not_depend_on_the_outputs_is_refused():
    """The softmax of a single output is 1."""
    X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    net = NetworkRegressor(lambda shape, k: nn.Linear(3, 1), epochs=1, loss=lambda o, t: F.cross_entropy(o, t), device="cpu")
    with pytest.raises(InputError, match=r"does not depend on the network's outputs of shape \(32, 1\), expected one such as nn.MSELoss"):
        net.fit(X, X[:, 0])


class InAList(Net):
    def __init__(self):
        super().__init__()
        self.layers = [nn.Linear(90, 90)]

    def forward(self, images):
        return self.layer(self.layers[0](images.flatten(1)))


def patched():
    net, other = Net(), Net()
    net.forward = lambda images: other(images) * 2
    return net


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (InAList, r"^forward of InAList uses 2 tensors with requires_grad \(\(90,\), \(90, 90\)\) that are no parameters of it"),
        (patched, r"^forward of Net uses 2 tensors with requires_grad .* that are no parameters of it and would not be trained"),
    ],
)
def test_tensors_that_would_not_be_trained_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        NetworkClassifier(lambda shape, k: make(), **QUICK).fit(SPLIT)


def test_a_second_head_in_training_mode_is_told_unless_it_is_used(plain):
    def make(shape, k):
        net = Net()
        net.wrap = lambda z: (z, z * 2) if net.training else z
        return net

    net = NetworkClassifier(make, **QUICK).fit(SPLIT)
    assert net.notes_ == ("The forward of Net returned more than a tensor in training mode: the first of the tuple of 2 was used.",)
    assert torch.equal(net.logits(SPLIT), plain.logits(SPLIT))
    assert NetworkClassifier(make, auxiliary=0.3, **QUICK).fit(SPLIT).notes_ == ()


def test_a_fault_of_the_network_itself_is_raised_as_it_is():
    with pytest.raises(KeyError, match="mine"):
        fitted(lambda z: {}["mine"])


def test_looking_at_the_outputs_changes_nothing():
    """Neither the buffers of a network that counts its batches in evaluation too, nor the order of its random numbers."""

    class Counts(Net):
        def __init__(self):
            super().__init__()
            self.register_buffer("n_calls", torch.zeros(()))

        def forward(self, images):
            self.n_calls += self.training
            self.n_calls += 100 * (not self.training)
            return super().forward(F.dropout(images, 0.5, True))

    network, before = Counts(), torch.get_rng_state()
    Forward(nullcontext, Outputs(4)).look(network, SPLIT.inputs.float())
    assert (network.n_calls, network.training) == (0, True)
    assert torch.equal(torch.get_rng_state(), before)


def test_what_is_taken_in_words():
    logits = torch.zeros(2, 3)
    assert taken(logits) == (logits, "")
    assert taken({"x": 1}) == ({"x": 1}, "")
    assert Outputs().own(logits, 2) is logits, "of any number of classes"
