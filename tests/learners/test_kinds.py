"""Networks on sequences, tokens and numbers: inputs as they are given, and one sentence where they do not fit."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes
from sklearn.metrics import r2_score
from torch import nn

from shattering import InputError, NetworkClassifier, NetworkRegressor, randomization_test
from shattering.data.rows import Rows
from shattering.data.split import Split
from shattering.learners.factories import ModuleFactory
from shattering.learners.tokens import padded, vocabulary_of
from tests.conftest import make_split

QUICK = {"epochs": 25, "batch_size": 8, "device": "cpu"}
TOKENS = {**QUICK, "optimizer": "adamw", "learning_rate": 0.05}
RNG = np.random.default_rng(0)
LABELS = torch.arange(40) % 2
SERIES = RNG.normal(1e3, 5, (40, 2, 12))
SERIES[LABELS == 1, 0, 4:8] += 20
SEQUENCES = Split(torch.from_numpy(SERIES), LABELS, ("a", "b"))
LISTS = [(RNG.integers(1, 9, RNG.integers(2, 7)) + 10 * (i % 2)).tolist() for i in range(40)]
DOCUMENTS = Split(Rows(LISTS), LABELS, ("a", "b"), kind="tokens")  # type: ignore[arg-type]  # as Split.inputs
ROWS = Split(torch.from_numpy(RNG.integers(0, 9, (40, 5))) + 10 * LABELS[:, None], LABELS, ("a", "b"), kind="tokens")
X, Y = load_diabetes(return_X_y=True)
X, Y = X[:120], Y[:120] + 0.5
NUMBERS = Split(torch.from_numpy(X), torch.from_numpy(Y))


class Conv(nn.Module):
    """A 1-D convolution that keeps what it was given."""

    def __init__(self, in_channels, n_classes):
        super().__init__()
        self.conv, self.last = nn.Conv1d(in_channels, 8, 3), nn.Linear(8, n_classes)

    def forward(self, x):
        self.seen = x
        return self.last((self.conv(x / 1000)).relu().amax(2))


class Bag(nn.Module):
    """The mean of embedded tokens, without those of the padding if there is a mask."""

    def __init__(self, vocab_size, n_classes):
        super().__init__()
        self.embedding, self.last = nn.Embedding(vocab_size, 6), nn.Linear(6, n_classes)

    def forward(self, x):
        self.seen = x
        return self.last(self.embedding(x).mean(1))


class Masked(Bag):
    def forward(self, x, attention_mask):
        self.seen, self.mask = x, attention_mask
        weights = attention_mask[:, :, None] / attention_mask.sum(1)[:, None, None]
        return self.last((self.embedding(x) * weights).sum(1))


@pytest.fixture(scope="module")
def masked():
    return NetworkClassifier(ModuleFactory(Masked), **TOKENS, track_examples=True).fit(DOCUMENTS, test=DOCUMENTS)


@pytest.fixture(scope="module")
def regressor():
    return NetworkRegressor("mlp-1x32", **{**QUICK, "batch_size": 16}, evaluate_train=True).fit(NUMBERS, test=NUMBERS)


def test_sequences_are_given_as_they_are():
    net = NetworkClassifier(ModuleFactory(Conv), **QUICK).fit(SEQUENCES, test=SEQUENCES)
    net.predict(SEQUENCES)
    assert torch.equal(net.module_.seen, SEQUENCES.inputs.float())
    assert (net.image_shape_, net.history_["test_accuracy"].notna().all()) == ((2, 12), True)
    assert torch.equal(net.logits(SEQUENCES), net.logits(SERIES))


@pytest.mark.parametrize(("standardize", "axes"), [("feature", 0), ("image", (1, 2))])
def test_sequences_are_standardized_on_request(standardize, axes):
    net = NetworkClassifier(ModuleFactory(Conv), **{**QUICK, "epochs": 1}, standardize=standardize).fit(SEQUENCES)
    net.predict(SEQUENCES)
    expected = (SERIES - SERIES.mean(axes, keepdims=True)) / SERIES.std(axes, keepdims=True)
    np.testing.assert_allclose(net.module_.seen, expected, atol=1e-3)


def test_documents_of_several_lengths_are_padded_and_masked(masked, tmp_path):
    assert masked.vocabulary_ == vocabulary_of(DOCUMENTS.inputs) == 1 + max(map(max, LISTS))
    assert masked.module_.embedding.num_embeddings == masked.vocabulary_
    masked.predict(DOCUMENTS)
    assert torch.equal(masked.module_.seen, padded(DOCUMENTS.inputs, 0))
    assert masked.module_.mask.sum(1).tolist() == [len(row) for row in LISTS]
    assert masked.interpolated_
    assert len(masked.examples_) == 40
    alone = masked.predict(Split(Rows([LISTS[0] * 3]), torch.zeros(1, dtype=torch.int64), ("a", "b"), kind="tokens"))
    assert alone == masked.predict(DOCUMENTS)[0], "its length, and that of the others, does not matter"
    masked.save(tmp_path / "m")
    again = NetworkClassifier(ModuleFactory(Masked), **TOKENS).load(tmp_path / "m")
    assert torch.equal(again.logits(DOCUMENTS), masked.logits(DOCUMENTS))
    assert torch.equal(again.logits(LISTS), masked.logits(DOCUMENTS))


def test_tokens_of_one_length_are_given_as_they_are_without_a_padding():
    net = NetworkClassifier(ModuleFactory(Bag), **TOKENS).fit(ROWS)
    net.predict(ROWS)
    assert torch.equal(net.module_.seen, ROWS.inputs)
    assert net.interpolated_
    for padding, share in ((None, 1.0), (0, float((ROWS.inputs != 0).double().mean()))):
        net = NetworkClassifier(ModuleFactory(Masked), **{**TOKENS, "epochs": 1}, padding=padding).fit(ROWS)
        net.predict(ROWS)
        assert net.module_.mask.double().mean() == pytest.approx(share)


def test_a_resumed_fit_on_tokens_is_bitwise_the_uninterrupted_one(tmp_path):
    def stop(row):
        if row["epoch"] == 1:
            raise KeyError("stop")

    def make():
        return NetworkClassifier(ModuleFactory(Masked), **{**TOKENS, "epochs": 2}, checkpoint_every=0)

    whole = make().fit(DOCUMENTS)
    with pytest.raises(KeyError, match="stop"):
        make().fit(DOCUMENTS, checkpoint=tmp_path / "c.pt", on_epoch=stop)
    resumed = make().fit(DOCUMENTS, checkpoint=tmp_path / "c.pt")
    assert torch.equal(whole.logits(DOCUMENTS), resumed.logits(DOCUMENTS))


@pytest.mark.parametrize(
    ("split", "network", "params", "message"),
    [
        (SEQUENCES, ModuleFactory(Conv), {"augment": "flip"}, "augment is 'flip' for inputs of kind 'sequence', expected none"),
        (SEQUENCES, ModuleFactory(Conv), {"crop": 3}, "crop is 3 for inputs of kind 'sequence', expected none"),
        (SEQUENCES, ModuleFactory(Conv), {"standardize": "range"}, "standardize is 'range' for inputs of kind 'sequence', expected 'auto'"),
        (ROWS, ModuleFactory(Bag), {"standardize": "feature"}, "standardize is 'feature' for inputs of kind 'tokens', expected 'auto' or"),
        (ROWS, ModuleFactory(Bag), {"augment": "crop"}, "augment is 'crop' for inputs of kind 'tokens'"),
        (DOCUMENTS, ModuleFactory(Bag), {"padding": 3}, r"padding is 3, which is a token of the documents.* such as padding=19"),
        (ROWS, "mlp-1x8", {}, "forward of Sequential raised .* and type int64, expected a network for that type"),
        (
            ROWS,
            lambda s, k: Bag(4, k),
            {},
            r"forward of Bag raised 'index out of range in self' for tokens up to \d+, expected an embedding",
        ),
        (
            ROWS,
            lambda s, k: nn.Sequential(nn.EmbeddingBag(4, 6), nn.Linear(6, k)),
            {},
            r"forward of Sequential raised 'Index .*' for tokens up to \d+, expected an embedding of at least",
        ),
        (SEQUENCES, ModuleFactory(Bag), {}, "Bag takes vocab_size, which inputs other than tokens do not have"),
        (SEQUENCES, "small-cnn", {}, r"network 'small-cnn' got examples of shape \(2, 12\), expected images"),
        (NUMBERS, "mlp-1x8", {}, "the labels are numbers, expected classes for a NetworkClassifier, or a NetworkRegressor"),
        (Split(Rows(["a", "b"]), torch.arange(2), ("a", "b")), "mlp-1x8", {}, "the inputs are opaque, expected images, a table"),
    ],
)
def test_what_does_not_fit_is_one_sentence(split, network, params, message):
    with pytest.raises(InputError, match=message):
        NetworkClassifier(network, **{**QUICK, **params}).fit(split)


def test_other_inputs_than_in_fit_are_refused(masked):
    with pytest.raises(InputError, match="the inputs are sequence, expected tokens as in fit"):
        masked.predict(SEQUENCES)
    fixed = NetworkClassifier(ModuleFactory(Bag), **{**TOKENS, "epochs": 1}).fit(ROWS)
    with pytest.raises(InputError, match="the documents have several lengths, expected one as in fit"):
        fixed.predict(DOCUMENTS)
    with pytest.raises(InputError, match=r"tokens have shape \(3,\), expected \(5,\) as in fit"):
        fixed.predict(ROWS.inputs[:, :3])


def test_r2_stands_where_the_accuracy_stood(regressor, tmp_path):
    assert list(regressor.history_.columns[3:10]) == [
        *("train_loss", "train_r2", "full_train_loss", "full_train_r2", "test_loss", "test_r2", "seconds")
    ]
    last = regressor.history_.iloc[-1]
    predicted = regressor.predict(NUMBERS)
    assert (predicted.shape, predicted.dtype) == ((120,), np.float64)
    r2 = r2_score(Y, predicted)
    assert 0.3 < r2 == pytest.approx(regressor.score(NUMBERS), abs=1e-6)
    assert last["full_train_r2"] == pytest.approx(r2, abs=1e-5) == pytest.approx(last["test_r2"], abs=1e-5)
    assert regressor.train_r2_ == pytest.approx(r2, abs=1e-5)
    assert regressor.train_loss_ == pytest.approx(np.mean((Y - predicted) ** 2) / Y.var(), rel=1e-4), "of scaled targets"
    assert not regressor.fitted_
    regressor.save(tmp_path / "m")
    assert (NetworkRegressor("mlp-1x32").load(tmp_path / "m").predict(X) == predicted).all()


def test_targets_beside_a_split_are_refused(regressor):
    for call in (NetworkRegressor(**QUICK).fit, regressor.score):
        with pytest.raises(InputError, match="y is a ndarray beside a Split, which has labels of its own, expected none"):
            call(NUMBERS, Y)


@pytest.mark.parametrize("name", ["test", "validation"])
def test_a_watched_split_has_the_labels_of_the_training(name):
    other = replace(SEQUENCES, label_values=["no", "yes"])
    with pytest.raises(InputError, match=rf"^{name} classes are \['no', 'yes'\], expected those of fit, \[0, 1\]$"):
        NetworkClassifier(ModuleFactory(Conv), **QUICK).fit(SEQUENCES, **{name: other})
    table = Split(NUMBERS.inputs, torch.arange(120) % 2, ("a", "b"))
    with pytest.raises(InputError, match=f"^{name} labels are numbers, expected classes as in fit$"):
        NetworkClassifier("mlp-1x8", **QUICK).fit(table, **{name: NUMBERS})
    with pytest.raises(InputError, match=f"^{name} labels are classes, expected numbers as in fit$"):
        NetworkRegressor("mlp-1x8", **QUICK).fit(NUMBERS, **{name: table})


def test_the_unit_of_targets_does_not_matter_and_scaling_can_be_left_out(regressor):
    other = NetworkRegressor("mlp-1x32", **{**QUICK, "batch_size": 16}).fit(X, 1000 * Y - 7)
    np.testing.assert_allclose(other.predict(X), 1000 * regressor.predict(X) - 7, rtol=1e-3)
    plain = NetworkRegressor("mlp-1x8", **QUICK, scale_targets=False).fit(X, Y / 100)
    assert plain.train_loss_ == pytest.approx(np.mean((Y / 100 - plain.predict(X)) ** 2), rel=1e-4)


def test_targets_are_fitted_where_r2_is_99_percent():
    net = NetworkRegressor("mlp-1x64", epochs=400, batch_size=5, learning_rate=0.02, stop_when_fitted=True).fit(X[:20], RNG.normal(size=20))
    assert net.fitted_
    assert net.epochs_to_fit_ == net.n_iter_ < 400
    assert net.train_r2_ >= 0.99


def test_losses_of_the_users_and_outputs_of_both_shapes():
    def make(loss, flat):
        last = [nn.Flatten(0)] if flat else []
        network = lambda shape, k: nn.Sequential(nn.Linear(10, 8), nn.ReLU(), nn.Linear(8, k), *last)  # noqa: E731
        return NetworkRegressor(network, **{**QUICK, "epochs": 2}, loss=loss).fit(X, Y).predict(X)

    np.testing.assert_allclose(make(nn.MSELoss(), False), make(None, True), rtol=1e-5)
    assert not np.allclose(make(nn.L1Loss(), False), make(None, False))
    assert np.isfinite(make(nn.HuberLoss(reduction="none"), True)).all()


@pytest.mark.parametrize(
    ("network", "y", "message"),
    [
        (
            lambda shape, k: nn.Linear(10, 3),
            Y,
            r"forward of Linear returned shape \(8, 3\), expected \(8,\) or \(8, 1\): a last layer with 1 output$",
        ),
        ("mlp-1x8", None, "requires y to be passed"),
    ],
)
def test_bad_regressions(network, y, message):
    with pytest.raises(InputError, match=message):
        NetworkRegressor(network, **QUICK).fit(X, y)
    with pytest.raises(InputError, match="the labels are classes, expected numbers for a NetworkRegressor"):
        NetworkRegressor("mlp-1x8", **QUICK).fit(make_split())


class Line(nn.Module):
    def __init__(self, in_features, n_outputs):
        super().__init__()
        self.last = nn.Linear(in_features, n_outputs)

    def forward(self, x):
        return {"logits": self.last(x)}


@pytest.mark.parametrize("model", ["mlp-1x8", Line, NetworkRegressor(ModuleFactory(Line)), nn.Linear(10, 1)])
def test_the_test_of_a_network_on_numbers(model, tmp_path):
    few = {"randomizations": ["permuted-labels"], "n_permutations": 1, "hyperparameters": {"epochs": 3}, "targets": "numbers"}
    test = randomization_test(model, (X, Y), store=tmp_path, **few)
    assert [repeat.status for repeat in test.repeats] == ["done", "done"]
    assert list(test.runs[0].history["train_r2"].notna()) == [True] * 3
    assert any("the key 'logits' of the dict" in note for note in test.notes) == (model is Line or isinstance(model, NetworkRegressor))
    fitted = test.runs[0].model(test.objects)
    assert isinstance(fitted, NetworkRegressor)
    with pytest.raises(InputError, match=r"label_smoothing is 0.1 where the labels are numbers"):
        randomization_test("mlp-1x8", (X, Y), **{**few, "hyperparameters": {"label_smoothing": 0.1}})


@pytest.mark.parametrize(("network", "data"), [(Conv, (SERIES, LABELS.numpy())), (Masked, (LISTS, LABELS.numpy()))])
def test_the_test_of_a_network_on_sequences_and_tokens(network, data, tmp_path):
    kind = "sequence" if network is Conv else "tokens"
    few = {"randomizations": ["permuted-labels", "random-pixels"], "n_permutations": 1, "hyperparameters": {**TOKENS, "epochs": 2}}
    test = randomization_test(network, data, kind=kind, store=tmp_path, **few)
    assert [repeat.status for repeat in test.repeats] == ["done"] * 3
    assert test.runs[0].result["kind"] == kind
    model = test.runs[0].model(test.objects)
    assert model.vocabulary_ == (None if network is Conv else vocabulary_of(Rows(LISTS)))
    assert test.diagnosis is not None
