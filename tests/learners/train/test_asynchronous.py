"""Asynchronous SGD: its updates against the formula and the synchronous loop, and what becomes of killed actors."""

import copy
import os
import random
import signal
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from shattering import InputError, NetworkClassifier
from shattering.data.preprocess import standardize_images, to_float
from shattering.learners.train import asynchronous
from shattering.learners.train.asynchronous import Asynchronous, GradientWorker, ParameterServer
from shattering.learners.train.batches import batch_rows
from shattering.learners.train.ranks import Ranks
from shattering.networks import build_network
from shattering.runs.spec import RunSpec
from shattering.system import cluster
from tests.conftest import make_split
from tests.interpreter import forking_interpreter

TRAIN, TEST = make_split(n=45), make_split(n=16, seed=1)
COMMON = {"epochs": 3, "batch_size": 7, "learning_rate": 0.02, "device": "cpu", "random_state": 3}
HYPERPARAMETERS = {**COMMON, "decay_steps": 5, "decay": 0.5, "momentum": 0.9, "weight_decay": 0.01}


class Fragile(nn.Sequential):
    """Linear. The first process to train it that finds its file gone writes the file and dies, in the middle of a batch."""

    def __init__(self, shape, k, mark):
        super().__init__(nn.Flatten(), nn.Linear(shape[0] * shape[1] * shape[2], k))
        self.mark, self.calls = mark, 0

    def forward(self, images):
        self.calls += self.training
        if self.calls == 3 and not os.path.exists(self.mark):
            open(self.mark, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(images)


def fragile(mark):
    return lambda shape, k: Fragile(shape, k, str(mark))


@pytest.fixture(scope="module")
def ray():
    """A cluster of this machine, for all tests of this file."""
    ray = pytest.importorskip("ray", reason='asynchronous SGD is NOT TESTED here: pip install "shattering[ray]"')
    with forking_interpreter() as python:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "executable", python)
            ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
        yield ray
        ray.shutdown()


def same(a, b):
    common = [column for column in a.history_ if column in b.history_ and column != "seconds"]
    assert a.history_[common].equals(b.history_[common])
    for name, value in a.module_.state_dict().items():
        assert torch.equal(value, b.module_.state_dict()[name]), name


def by_formula(start, staleness):
    """Parameters after HYPERPARAMETERS's updates, each by a gradient of the parameters `staleness` updates before."""
    images = standardize_images(to_float(TRAIN.inputs))
    module = copy.deepcopy(start.module_).train()
    versions = [[p.detach().clone() for p in module.parameters()]]
    velocity = [torch.zeros_like(p) for p in versions[0]]
    for rows in (rows for epoch in range(3) for rows in batch_rows(45, 7, 3, epoch)):
        step = len(versions) - 1
        for own, value in zip(module.parameters(), versions[max(0, step - staleness)], strict=True):
            own.data.copy_(value)
        gradient = torch.autograd.grad(F.cross_entropy(module(images[rows]), TRAIN.labels[rows]), list(module.parameters()))
        velocity = [0.9 * v + g + 0.01 * p for v, g, p in zip(velocity, gradient, versions[-1], strict=True)]
        versions.append([p - 0.02 * 0.5 ** (step // 5) * v for p, v in zip(versions[-1], velocity, strict=True)])
    return versions[-1]


def test_without_staleness_it_is_the_synchronous_one(ray):
    options = {**HYPERPARAMETERS, "network": "mlp-1x16", "evaluate_train": True, "augment": "crop", "track_examples": True}
    plain = NetworkClassifier(**options).fit(TRAIN, test=TEST)
    ours = NetworkClassifier(**options, asynchronous=1).fit(TRAIN, test=TEST)
    same(plain, ours)
    assert ours.examples_.equals(plain.examples_)
    assert (ours.history_["max_staleness"] == 0).all()
    assert (plain.summary_, ours.summary_) == ({}, {"mean_staleness": 0.0, "max_staleness": 0})


def test_stale_gradients_with_killed_actors_and_a_resume(ray, tmp_path, monkeypatch):
    """Two workers, one of which is killed at a batch; one worker, whose server is killed in mid-epoch. Both give what the formula gives."""
    start = NetworkClassifier(fragile(tmp_path), **{**COMMON, "epochs": 1, "learning_rate": 0.0}).fit(TRAIN)
    expected = by_formula(start, 3)
    two = NetworkClassifier(fragile(tmp_path / "killed"), **HYPERPARAMETERS, asynchronous=2, staleness=3).fit(TRAIN, test=TEST)
    assert (tmp_path / "killed").exists()
    for ours, theirs in zip(two.module_.parameters(), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    assert two.history_["max_staleness"].tolist() == [3, 3, 3]
    assert two.history_["mean_staleness"].tolist() == pytest.approx([15 / 7, 3, 3])
    assert two.summary_ == {"mean_staleness": pytest.approx((15 + 42) / 21), "max_staleness": 3}

    update, calls = Asynchronous._update, []

    def deadly(self, gradient, rate):
        calls.append(rate)
        if len(calls) == 11:
            ray.kill(self.server)
        return update(self, gradient, rate)

    monkeypatch.setattr(Asynchronous, "_update", deadly)
    one = NetworkClassifier(fragile(tmp_path), **HYPERPARAMETERS, asynchronous=1, staleness=3, checkpoint_every=1e-9)
    with pytest.raises(RuntimeError, match=r"the server of the asynchronous training, .* has died \(Actor\w+\); the same call goes on"):
        one.fit(TRAIN, test=TEST, checkpoint=tmp_path / "checkpoint.pt")
    one.fit(TRAIN, test=TEST, checkpoint=tmp_path / "checkpoint.pt")
    assert len(calls) == 11 + 11, "of the 21 updates, ten had been kept"
    same(one, two)


def given(module, **changes):
    model = NetworkClassifier(module if isinstance(module, str) else "mlp-1x8", **{**HYPERPARAMETERS, **changes})
    model.device_ = torch.device("cpu")
    return lambda: (copy.deepcopy(module), model.hyperparameters(45, 0))


def test_running_averages_are_the_synchronous_ones():
    """The server takes in the moments of each batch, however old the parameters that they were computed from."""
    module = build_network("inception", (3, 6, 6), 4, 0)
    images, labels = torch.randn(6, 3, 6, 6, generator=torch.Generator().manual_seed(0)), torch.arange(6) % 4
    worker, server = (
        GradientWorker(given(module)),
        ParameterServer(given(module), given(module)()[1].optimizer(module).state_dict(), 0),
    )
    first = server.version()
    gradient, (loss, logits) = worker.gradient(first, images, labels, seed=1)
    assert [server.update(copy.deepcopy(gradient), 0.1)[1] for _ in range(3)] == [0, 1, 2]
    reference = copy.deepcopy(module).train()
    for _ in range(3):
        assert torch.equal(reference(images), logits)
    assert loss == F.cross_entropy(logits, labels) * 6
    buffers = dict(server.module.named_buffers())
    for name, value in reference.named_buffers():
        torch.testing.assert_close(buffers[name], value, rtol=1e-5, atol=1e-6)


def test_randomness_is_a_function_of_the_seed():
    class Noisy(nn.Module):
        def forward(self, images):
            return images * random.random() + np.random.random_sample()  # noqa: NPY002  # as the code of users does

    for module in (nn.Sequential(nn.Flatten(), part, nn.Linear(12, 4)) for part in (nn.Dropout(0.5), Noisy())):
        _follows_from_the_seed(module)


def _follows_from_the_seed(module):
    images, labels, state = torch.ones(6, 3, 2, 2), torch.arange(6) % 4, torch.get_rng_state()
    worker, version = GradientWorker(given(module)), asynchronous.Version(0, [p.detach() for p in module.parameters()])
    a, b, c = (worker.gradient(version, images, labels, seed)[1][1] for seed in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert torch.equal(torch.get_rng_state(), state)


def test_other_buffers_must_not_change():
    class Counting(nn.Sequential):
        def forward(self, images):
            self.seen += 1
            return super().forward(images)

    module = Counting(nn.Flatten(), nn.Linear(12, 4))
    module.register_buffer("seen", torch.zeros(()))
    version = asynchronous.Version(0, [p.detach() for p in module.parameters()])
    with pytest.raises(InputError, match="the network changes its buffer 'seen' in training, expected none but batch normalization's"):
        GradientWorker(given(module)).gradient(version, torch.ones(2, 3, 2, 2), torch.arange(2), 0)


def test_parameters_without_a_gradient_are_left_alone():
    module = nn.Sequential(nn.Flatten(), nn.Linear(12, 4))
    module.unused = nn.Parameter(torch.ones(2))
    module[1].bias.requires_grad = False
    server = ParameterServer(given(module), given(module)()[1].optimizer(module).state_dict(), 0)
    gradient, _ = GradientWorker(given(module)).gradient(server.version(), torch.ones(2, 3, 2, 2), torch.arange(2), 0)
    server.update(gradient, 0.1)
    for name, value in server.module.named_parameters():
        assert torch.equal(value, module.get_parameter(name)) == (name != "1.weight"), name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"asynchronous": -1}, "asynchronous is -1, expected a whole number of at least 0"),
        ({"asynchronous": 1.5}, "asynchronous is 1.5, expected a whole number of at least 0"),
        ({"asynchronous": True}, "asynchronous is True, expected a whole number of at least 0"),
        ({"asynchronous": "4"}, "asynchronous is '4', expected a whole number of at least 0"),
        ({"asynchronous": 2, "staleness": -1}, "staleness is -1, expected a whole number of at least 0"),
        ({"asynchronous": 2, "staleness": "all"}, "staleness is 'all', expected a whole number of at least 0"),
        ({"staleness": 3}, "staleness is 3 where asynchronous is 0, expected a number of workers there, or no staleness"),
        ({"asynchronous": 2, "accumulate": 2}, "accumulate is 2 where asynchronous is 2, expected 1 beside it"),
        ({"asynchronous": 2, "compile": True}, "compile is True where asynchronous is 2, expected false beside it"),
        ({"asynchronous": 2, "device": "cuda"}, "device is 'cuda' where asynchronous is 2, expected auto or cpu beside it"),
    ],
)
def test_bad_parameters(options, message):
    with pytest.raises(InputError, match=message):
        NetworkClassifier("mlp-1x8", **options).fit(TRAIN)


def test_without_ray_and_under_torchrun(monkeypatch):
    model = NetworkClassifier("mlp-1x8", asynchronous=4)
    with monkeypatch.context() as patch:
        patch.setattr(cluster, "find_spec", lambda name: None)
        with pytest.raises(InputError, match=r'asynchronous is 4, which needs the package ray, .*: pip install "shattering\[ray\]"'):
            model.fit(TRAIN)
    monkeypatch.setattr(Ranks, "current", classmethod(lambda cls: cls(0, 2)))
    with pytest.raises(InputError, match="asynchronous is 4 in a training by 2 processes, expected 0 there"), asynchronous.opened(4, None):
        pass


def test_it_identifies_a_run_where_it_is_set():
    spec = RunSpec("digits", params={"epochs": 2})
    assert RunSpec("digits", params={"epochs": 2, "asynchronous": 0, "staleness": None}).run_id == spec.run_id
    ids = {RunSpec("digits", params={"epochs": 2, "asynchronous": 4, **more}).run_id for more in ({}, {"staleness": 1}, {"staleness": 2})}
    assert len(ids | {spec.run_id}) == 4
