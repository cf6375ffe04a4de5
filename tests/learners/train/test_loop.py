import math
import os
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from shattering.data.preprocess import standardize_images, to_float
from shattering.errors import InputError
from shattering.learners.devices import resolve_device
from shattering.learners.network import NetworkClassifier
from shattering.learners.train import checkpoint
from shattering.learners.train.batches import batch_rows
from tests import oracles
from tests.conftest import make_split


def linear(shape, k):
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), k, bias=False))


@pytest.mark.parametrize(("decay_steps", "momentum", "weight_decay"), [(None, 0.9, 0.0), (3, 0.9, 0.01), (2, 0.0, 0.1)])
def test_updates_agree_with_the_formula(decay_steps, momentum, weight_decay):
    split = make_split(n=20)
    hyperparameters = {"epochs": 3, "batch_size": 6, "learning_rate": 0.1, "decay": 0.5, "decay_steps": decay_steps}
    ours = NetworkClassifier(linear, momentum=momentum, weight_decay=weight_decay, device="cpu", random_state=4, **hyperparameters)
    ours.fit(split)
    start = NetworkClassifier(linear, epochs=1, learning_rate=0.0, device="cpu", random_state=4).fit(split)
    images = standardize_images(to_float(split.inputs))
    batches = [rows for epoch in range(3) for rows in batch_rows(20, 6, 4, epoch)]
    assert [len(b) for b in batches[:4]] == [6, 6, 6, 2]

    def gradient(rows):
        def of(weight):
            w = torch.tensor(weight, dtype=torch.float64, requires_grad=True)
            F.cross_entropy(images[rows].flatten(1).double() @ w.T, split.labels[rows]).backward()
            assert w.grad is not None
            return w.grad.numpy()

        return of

    rates = [0.1 * 0.5 ** (step // decay_steps if decay_steps else step // 4) for step in range(12)]
    first = start.module_[1].weight.detach().double().numpy()
    expected = oracles.sgd_with_momentum(first, [gradient(rows) for rows in batches], rates, momentum, weight_decay)
    np.testing.assert_allclose(ours.module_[1].weight.detach(), expected, atol=1e-5)
    assert ours.history_["learning_rate"].tolist() == [rates[0], rates[4], rates[8]]


def test_running_and_full_metrics():
    split, test = make_split(n=30), make_split(n=9, seed=3)
    net = NetworkClassifier(linear, epochs=1, learning_rate=0.0, evaluate_train=True, batch_size=7).fit(split, test=test)
    row = net.history_.iloc[0]
    proba = net.predict_proba(split)
    assert row["train_accuracy"] == pytest.approx((proba.argmax(1) == split.labels.numpy()).mean())
    assert row["train_loss"] == pytest.approx(-np.log(proba[np.arange(30), split.labels]).mean(), rel=1e-5)
    assert row["full_train_loss"] == pytest.approx(row["train_loss"], rel=1e-5)
    assert row["full_train_accuracy"] == pytest.approx(row["train_accuracy"])
    assert row["test_accuracy"] == pytest.approx(net.score(test))
    assert (row["epoch"], row["step"]) == (1, 5)
    assert row["seconds"] > 0


@pytest.mark.parametrize(
    ("n", "batch_size", "steps"), [(50000, 128, None), (49920, 128, 391), (49921, 128, None), (300, 16, 391), (10**6, 128, None)]
)
def test_the_rate_decays_every_epoch_but_no_sooner_than_in_the_paper(n, batch_size, steps):
    assert NetworkClassifier(batch_size=batch_size).hyperparameters(n, 0).decay_steps == steps
    assert NetworkClassifier(decay_steps=7).hyperparameters(n, 0).decay_steps == 7
    assert NetworkClassifier(decay_steps=None).hyperparameters(n, 0).decay_steps is None


@pytest.mark.parametrize("n", [1, 2, 7, 8, 9, 16, 17, 33])
def test_every_example_once_an_epoch_and_no_batch_of_one(n):
    batches = batch_rows(n, 8, seed=1, epoch=2)
    assert sorted(torch.cat(batches).tolist()) == list(range(n))
    assert n == 1 or min(map(len, batches)) > 1
    assert [b.tolist() for b in batches] == [b.tolist() for b in batch_rows(n, 8, 1, 2)]
    if n > 7:
        assert torch.cat(batches).tolist() != torch.cat(batch_rows(n, 8, 1, 3)).tolist()


def test_training_stops_at_the_first_epoch_whose_loss_in_evaluation_mode_is_low_enough():
    split = make_split(n=30, shape=(1, 4, 4))
    make = lambda **stop: NetworkClassifier("mlp-1x16", epochs=40, batch_size=10, learning_rate=0.05, decay=1.0, **stop)  # noqa: E731
    whole = make(evaluate_train=True).fit(split)
    losses = whole.history_["full_train_loss"].to_numpy()
    least = float(losses[:12].min())  # reached by the twelfth epoch, long before the budget ends
    first = int(np.flatnonzero(losses <= least)[0]) + 1
    assert 1 < first < 40
    stopped = make(stop_at_loss=least).fit(split)
    assert stopped.n_iter_ == first
    assert stopped.train_loss_ <= least < losses[first - 2]
    assert stopped.history_["full_train_loss"].tolist() == losses[:first].tolist()
    assert make(stop_at_loss=0.0).fit(split).n_iter_ == 40


def test_a_fit_that_stops_at_a_loss_resumes_and_ends_where_it_would_have(tmp_path):
    split = make_split(n=30, shape=(1, 4, 4))
    make = lambda: NetworkClassifier(  # noqa: E731
        "mlp-1x16", epochs=40, batch_size=10, learning_rate=0.05, stop_at_loss=0.6, checkpoint_every=0, device="cpu"
    )
    whole = make().fit(split)
    assert 2 < whole.n_iter_ < 40
    with pytest.raises(Stop):
        make().fit(split, checkpoint=tmp_path / "c.pt", on_epoch=stop_after(2))
    resumed = make().fit(split, checkpoint=tmp_path / "c.pt")
    assert whole.history_.drop(columns="seconds").equals(resumed.history_.drop(columns="seconds"))
    seen = []
    make().fit(split, checkpoint=tmp_path / "d.pt", on_epoch=seen.append)
    make().fit(split, checkpoint=tmp_path / "d.pt", on_epoch=seen.append)  # from the last checkpoint: there is nothing left to train
    assert len(seen) == whole.n_iter_


class Stop(Exception):
    pass


def stop_after(epoch):
    def on_epoch(row):
        if row["epoch"] == epoch:
            raise Stop

    return on_epoch


@pytest.mark.parametrize("network", ["mlp-1x512", "inception"])
def test_a_resumed_fit_is_bitwise_the_uninterrupted_one(tmp_path, network):
    split, test = make_split(n=40, shape=(1, 8, 8)), make_split(n=10, shape=(1, 8, 8), seed=1)
    make = lambda: NetworkClassifier(network, epochs=4, batch_size=16, decay_steps=2, checkpoint_every=0, device="cpu", random_state=3)  # noqa: E731
    whole = make().fit(split, test=test)
    with pytest.raises(Stop):
        make().fit(split, test=test, checkpoint=tmp_path / "c.pt", on_epoch=stop_after(2))
    seen = []
    resumed = make().fit(split, test=test, checkpoint=tmp_path / "c.pt", on_epoch=lambda row: seen.append(row["epoch"]))
    assert seen == [3, 4]
    assert whole.history_.drop(columns="seconds").equals(resumed.history_.drop(columns="seconds"))
    for a, b in zip(whole.module_.state_dict().values(), resumed.module_.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_checkpoints_of_something_else_or_damaged_are_refused(tmp_path):
    split, path = make_split(), tmp_path / "c.pt"
    NetworkClassifier(epochs=1, checkpoint_every=0).fit(split, checkpoint=path)
    with pytest.raises(InputError, match="belongs to other data or parameters: batch_size is 7 and was 128; remove it to start again"):
        NetworkClassifier(epochs=1, batch_size=7).fit(split, checkpoint=path)
    whole, content = path.read_bytes(), torch.load(path, weights_only=True)
    for damaged in (b"", whole[:100], whole[:-50], whole[: len(whole) // 2], b"x" * 500, pickle.dumps(Stop()), b"null"):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="is not readable, remove it to start again: ") as refused:
            NetworkClassifier(epochs=1).fit(split, checkpoint=path)
        assert "weights_only" not in str(refused.value)
        assert path.read_bytes() == damaged
    for other in ([1], {"key": content["key"]}, without(content, "model")):
        torch.save(other, path)
        with pytest.raises(InputError, match="is not readable, remove it to start again: it has no '"):
            NetworkClassifier(epochs=1).fit(split, checkpoint=path)
    for name, value in {  # as of another version of torch, or of this library
        "model": {},
        "optimizer": {"state": {}, "param_groups": []},
        "training": {**content["training"], "mood": 1},
    }.items():
        torch.save({**content, name: value}, path)
        with pytest.raises(InputError, match="does not fit this training, remove it to start again: "):
            NetworkClassifier(epochs=1).fit(split, checkpoint=path)
    for field, value in (("history", None), ("step", "x"), ("epoch_state", [])):
        torch.save({**content, "training": {**content["training"], field: value}}, path)
        with pytest.raises(InputError, match=f"does not fit this training, remove it to start again: {field} is"):
            NetworkClassifier(epochs=1).fit(split, checkpoint=path)


def without(content, name):
    return {key: value for key, value in content.items() if key != name}


@pytest.mark.parametrize("state", [None, np.random.RandomState(0)])
def test_a_checkpoint_needs_a_seed_that_another_process_has_too(tmp_path, state):
    """Within an epoch the batches that are left would be others, so that some examples are seen twice and some not at all."""
    with pytest.raises(InputError, match=r"random_state is .* beside a checkpoint, expected a whole number"):
        NetworkClassifier(epochs=1, random_state=state).fit(make_split(), checkpoint=tmp_path / "c.pt")


def test_a_checkpoint_of_other_labels_or_inputs_is_refused(tmp_path):
    split, path = make_split(), tmp_path / "c.pt"
    net = NetworkClassifier(epochs=1, checkpoint_every=0)
    net.fit(split.inputs, split.labels, checkpoint=path)
    for other in (replace(split, labels=split.labels.flip(0)), replace(split, inputs=split.inputs.flip(0))):
        with pytest.raises(InputError, match="belongs to other data or parameters"):
            net.fit(other, checkpoint=path)
    assert len(net.fit(split, checkpoint=path).history_) == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_disk_that_is_full_is_one_sentence(tmp_path, monkeypatch):
    save = torch.save

    def save_to_full(content, file):
        with open("/dev/full", "wb") as full:
            save(content, full)

    monkeypatch.setattr(torch, "save", save_to_full)
    with pytest.raises(OSError, match=r"no space left to write .*c.pt; free some and give the same command again"):
        NetworkClassifier(epochs=1, checkpoint_every=0).fit(make_split(), checkpoint=tmp_path / "c.pt")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    split, path = make_split(), tmp_path / "c.pt"
    NetworkClassifier(epochs=2, checkpoint_every=0).fit(split, checkpoint=path)
    before = path.read_bytes()

    def full(*_):
        raise RuntimeError("[enforce fail at inline_container.cc] . PytorchStreamWriter failed writing file\nstack")

    monkeypatch.setattr(torch, "save", full)
    path_training = torch.load(path, weights_only=True)["training"]
    assert len(path_training["history"]) == 2
    with pytest.raises(OSError, match=r"^checkpoint .*c.pt cannot be written: .*failed writing file$"):
        checkpoint.save_checkpoint(path, "", nn.Linear(1, 1), torch.optim.SGD([torch.zeros(1)], 0.1), checkpoint.TrainState())
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["c.pt"]


def test_devices():
    assert resolve_device("cpu").type == "cpu"
    assert resolve_device("auto").type in ("cpu", "cuda", "mps")
    with pytest.raises(InputError, match="device 'abacus' is not available"):
        resolve_device("abacus")
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="device 'cuda' is not available"):
            resolve_device("cuda")


def test_checkpoints_do_not_depend_on_compilation():
    module = nn.Linear(2, 2)
    compiled = torch.compile(module, backend="eager")
    assert checkpoint.plain(compiled) is checkpoint.plain(module) is module  # type: ignore[arg-type]  # torch.compile returns a module
