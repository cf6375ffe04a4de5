"""The precision "auto": what is quicker is taken, it is recorded, and it stays with a training that goes on."""

import pytest
import torch
from torch import nn

from shattering import NetworkClassifier, NetworkRegressor, RunSpec, Store, load_dataset, run
from shattering.learners.train import loop, precision
from shattering.learners.train.batches import Examples, read_from_memory
from shattering.learners.train.precision import choose

CHOICES = ("float32", "bfloat16")


@pytest.fixture(scope="module")
def data():
    return load_dataset("digits", n_train=64, n_test=20).train


@pytest.fixture
def stopwatch(monkeypatch):
    """Return the seconds that a batch is said to take, by precision."""
    seconds = {"float32": 1.0, "bfloat16": 1.0}
    monkeypatch.setattr(precision, "_seconds", lambda network, inputs, labels, how, autocast: seconds[autocast.precision])
    return seconds


def model(**params) -> NetworkClassifier:
    return NetworkClassifier("mlp-1x8", epochs=2, batch_size=32, random_state=0, **params)


@pytest.mark.parametrize(("share", "expected"), [(0.3, "bfloat16"), (0.89, "bfloat16"), (0.95, "float32"), (1.7, "float32")])
def test_bfloat16_has_to_be_a_tenth_faster(data, stopwatch, share, expected):
    stopwatch["bfloat16"] = share
    fitted = model(precision="auto").fit(data)
    assert fitted.precision_ == expected
    same = model(precision=expected).fit(data)
    assert same.precision_ == expected
    assert fitted.history_.drop(columns="seconds").equals(same.history_.drop(columns="seconds"))
    assert torch.equal(fitted.logits(data), same.logits(data))


def test_measuring_leaves_no_trace():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3)).eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    how = NetworkClassifier(precision="auto").hyperparameters(20, 0, 3)
    drawn = torch.random.get_rng_state()
    inputs = torch.linspace(-1, 1, 100).reshape(20, 5)
    assert choose(network, Examples(torch.arange(20) % 3, read_from_memory(inputs, False), True), how) in CHOICES
    assert torch.equal(torch.random.get_rng_state(), drawn)
    assert not network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_a_resumed_training_keeps_its_precision(data, stopwatch, tmp_path):
    class Stopped(Exception):
        pass

    def stop(row):
        raise Stopped

    stopwatch["bfloat16"] = 0.1
    params = {"precision": "auto", "checkpoint_every": 0}
    with pytest.raises(Stopped):
        model(**params).fit(data, checkpoint=tmp_path / "checkpoint.pt", on_epoch=stop)
    stopwatch["bfloat16"] = 9.0
    resumed = model(**params).fit(data, checkpoint=tmp_path / "checkpoint.pt")
    whole = model(precision="bfloat16").fit(data)
    assert resumed.precision_ == "bfloat16"
    assert resumed.history_.drop(columns="seconds").equals(whole.history_.drop(columns="seconds"))


def test_a_saved_model_predicts_in_the_precision_that_it_was_trained_in(data, stopwatch, tmp_path):
    stopwatch["bfloat16"] = 0.1
    fitted = model(precision="auto").fit(data)
    fitted.save(tmp_path / "model.safetensors")
    loaded = model(precision="auto").load(tmp_path / "model.safetensors")
    assert loaded.precision_ == "bfloat16"
    assert torch.equal(loaded.logits(data), fitted.logits(data))


def test_a_run_states_it(stopwatch, tmp_path, monkeypatch):
    stopwatch["bfloat16"] = 0.1
    params = {"network": "mlp-1x8", "epochs": 1}
    done = run(RunSpec("digits", n_train=64, n_test=20, params={**params, "precision": "auto"}), Store(tmp_path))
    assert done.result["precision"] == "bfloat16"
    assert done.model().precision_ == "bfloat16"
    monkeypatch.setattr(loop, "choose", pytest.fail)
    plain = run(RunSpec("digits", n_train=64, n_test=20, params=params), Store(tmp_path))
    assert "precision" not in plain.result
    assert plain.spec.run_id != done.spec.run_id


def test_a_regression_states_it_too(stopwatch):
    stopwatch["bfloat16"] = 0.1
    x = torch.linspace(-1, 1, 40).reshape(-1, 1).numpy()
    fitted = NetworkRegressor("mlp-1x8", epochs=1, precision="auto", random_state=0).fit(x, x.ravel())
    assert fitted.precision_ == "bfloat16"
    assert fitted.record().summary["precision"] == "bfloat16"
