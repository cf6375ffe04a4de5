"""What is done on a GPU, with one that is pretended: see `tests.pretended`."""

from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from shattering import (
    InputError,
    KernelInterpolatorClassifier,
    NetworkClassifier,
    NetworkRegressor,
    RunSpec,
    Split,
    Store,
    load_dataset,
    run,
    seeds,
)
from shattering.diagnose.diagnose import diagnose
from shattering.experiments import reproduce
from shattering.experiments.scales import SCALES
from shattering.learners.devices import resolve_device
from shattering.learners.factories import Given, Reinitialized
from shattering.learners.random_conv import RandomConvClassifier
from shattering.learners.random_conv_kernel import RandomConvKernelClassifier
from shattering.learners.train import ranks
from shattering.learners.train.evaluation import compute_logits
from shattering.measures.catalog import MEASURES
from shattering.measures.measure import measure
from shattering.networks import build_network
from tests.pretended import pretended

DATA = load_dataset("digits", n_train=64, n_test=30)
_NOT_PRETENDED = ("fisher_rao", "log_path_norm", "path_norm_over_margin")  # which look below the tensors


class Unmoved(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear, self.shift = nn.Linear(64, 10), torch.ones(64)

    def forward(self, images):
        return self.linear(images.flatten(1) + self.shift)


@pytest.mark.parametrize("where", ["cuda", "mps"])
@pytest.mark.parametrize(
    "params",
    [
        {"track_examples": True, "evaluate_train": True, "accumulate": 3, "optimizer": "adamw", "label_smoothing": 0.1},
        {"network": "small-cnn-4", "augment": ["crop", "flip", "rotation", "contrast", "resized-crop"]},
        {"loss": nn.MultiMarginLoss(weight=torch.ones(10)), "precision": "bfloat16", "stop_at_loss": 0.01},
    ],
)
def test_training_and_prediction_are_those_of_the_cpu(where, params, tmp_path):
    params: dict[str, Any] = {"network": "mlp-1x8", "epochs": 2, "learning_rate": 0.1, **params}
    cpu = NetworkClassifier(**params | {"precision": "float32", "device": "cpu"}).fit(DATA.train, test=DATA.test)
    with pretended(where):
        gpu = NetworkClassifier(**params).fit(DATA.train, test=DATA.test)
        assert gpu.device_.type == where
        np.testing.assert_allclose(gpu.predict_proba(DATA.test), cpu.predict_proba(DATA.test), rtol=1e-4)
        gpu.save(tmp_path / "model.safetensors")
        assert gpu.score(DATA.test) == NetworkClassifier(**params).load(tmp_path / "model.safetensors").score(DATA.test)
    columns = [column for column in cpu.history_ if column != "seconds"]
    np.testing.assert_allclose(gpu.history_[columns], cpu.history_[columns], rtol=1e-4)
    if cpu.examples_ is not None and gpu.examples_ is not None:
        np.testing.assert_allclose(gpu.examples_["mean_loss"], cpu.examples_["mean_loss"], rtol=1e-4)


@pytest.mark.parametrize("where", ["cuda", "mps"])
def test_regressions_are_those_of_the_cpu(where):
    X = np.random.default_rng(0).normal(size=(40, 5))
    cpu = NetworkRegressor("mlp-1x8", epochs=3, device="cpu").fit(X, X[:, 0])
    with pretended(where):
        gpu = NetworkRegressor("mlp-1x8", epochs=3).fit(X, X[:, 0])
        np.testing.assert_allclose(gpu.predict(X), cpu.predict(X), rtol=1e-4)


@pytest.mark.parametrize(("before", "after"), [("cuda", None), (None, "cuda"), ("cuda", "cuda"), ("mps", "cuda")])
def test_a_checkpoint_is_resumed_on_another_device(before, after, tmp_path):
    def fit(where, **given):
        with pretended(where) if where else nullcontext():
            params: dict[str, Any] = {"epochs": 3, "batch_size": 16, "track_examples": True, "checkpoint_every": 0.0}
            return NetworkClassifier("mlp-1x8", optimizer="adamw", **params).fit(DATA.train, **given)

    def stop(row):
        if row["epoch"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(before, checkpoint=tmp_path / "c.pt", on_epoch=stop)
    resumed, whole = fit(after, checkpoint=tmp_path / "c.pt"), fit(None)
    np.testing.assert_allclose(resumed.history_["train_loss"], whole.history_["train_loss"], rtol=1e-5)


@pytest.mark.parametrize("where", ["cuda", "mps"])
def test_measures_are_those_of_the_cpu(where):
    data = load_dataset("digits", n_train=20, n_test=10)
    names = [name for name in MEASURES if name not in _NOT_PRETENDED]

    def measured():
        return measure(NetworkClassifier("mlp-1x4", epochs=2, track_examples=True).fit(data.train), data, names)

    cpu = measured()
    with pretended(where):
        gpu = measured()
    assert gpu["reason"].tolist() == cpu["reason"].tolist()
    np.testing.assert_allclose(gpu["value"], cpu["value"], rtol=1e-3, atol=1e-6)


def test_measures_on_a_gpu_are_computed_without_tf32():
    convolutions = torch.backends.cudnn.conv  # type: ignore[attr-defined]  # the stub lacks it
    before, seen = convolutions.fp32_precision, []

    def precision(fitted):
        seen.append((convolutions.fp32_precision, torch.backends.cudnn.allow_tf32))
        return 0.0

    with pretended():
        measure(NetworkClassifier("mlp-1x4", epochs=1).fit(DATA.train), DATA, {"precision": precision})
    assert (seen, convolutions.fp32_precision) == ([("ieee", False)], before)


@pytest.mark.parametrize("where", ["cuda", "mps"])
def test_the_diagnosis_of_a_network_that_does_not_move(where, tmp_path):
    spec = RunSpec("digits", n_train=64, n_test=30, params={"network": "mlp-1x8", "epochs": 2, "learning_rate": 1e-7, "weight_decay": 0.1})
    with pretended(where):
        found = run(spec, Store(tmp_path))
        assert found.provenance["device"] == ("a pretended GPU" if where == "cuda" else "mps")
        assert "learning rate too low" in [finding.cause for finding in diagnose(found)]


@pytest.mark.parametrize(
    "model",
    [
        KernelInterpolatorClassifier(),
        KernelInterpolatorClassifier(solver="cg", precision="float64"),
        KernelInterpolatorClassifier(kernel="linear"),
        RandomConvClassifier(40, patch=3, recipe="b"),
        RandomConvKernelClassifier(40, patch=3),
    ],
)
@pytest.mark.filterwarnings("ignore:the relative residual")
def test_kernels_are_those_of_the_cpu_and_say_where_they_were_solved(model):
    cpu = model.set_params(device="cpu").fit(DATA.train.X, DATA.train.y).decision_function(DATA.test.X)
    with pretended():
        model.set_params(device="auto").fit(DATA.train.X, DATA.train.y)
        np.testing.assert_allclose(model.decision_function(DATA.test.X), cpu, atol=1e-4)
        assert model.record().device.type == "cuda"


def test_a_gpu_that_is_not_used_is_left_alone(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: pytest.fail("the GPU was used"))
    with seeds.everywhere(0):
        torch.rand(1)


def test_the_generators_of_a_gpu_are_seeded_and_put_back(monkeypatch):
    kept, seeded = [], []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: device)
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, device: kept.append((state, device)))
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    build_network("mlp-1x4", (1, 2, 2), 2, 7)
    assert (seeded, kept) == ([7], [(0, 0), (1, 1)])


@pytest.mark.parametrize("factory", [Reinitialized, Given])
def test_a_module_on_a_gpu_starts_from_weights_on_the_cpu(factory):
    with pretended():
        module = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).to("cuda")
        made = build_network(factory(module), (1, 8, 8), 10, 3)
        assert {parameter.device.type for parameter in made.parameters()} == {"cpu"}
        assert {parameter.device.type for parameter in module.parameters()} == {"cuda"}


@pytest.mark.parametrize(("accumulate", "mode"), [(1, "reduce-overhead"), (2, "default")])
def test_gradients_are_not_accumulated_in_the_memory_of_cuda_graphs(monkeypatch, accumulate, mode):
    modes = []
    monkeypatch.setattr(torch, "compile", lambda module, mode, dynamic: modes.append(mode) or module)
    with pretended():
        NetworkClassifier("mlp-1x4", epochs=1, compile=True, accumulate=accumulate).fit(DATA.train)
    assert modes == [mode]


def test_large_examples_are_evaluated_a_few_at_a_time():
    sizes: list[int] = []

    def forward(network, inputs):
        sizes.append(len(inputs))
        return inputs.flatten(1)[:, :2]

    with pretended():
        small, large = (Split(torch.zeros(2000, *shape), torch.zeros(2000, dtype=torch.int64), ("a", "b")) for shape in ((9,), (10_001,)))
        for split in (small, large):
            net = NetworkClassifier(lambda shape, k: nn.Linear(shape[0], k), epochs=1, batch_size=2000).fit(split)
            compute_logits(net.module_, net.prepared(split), forward)  # type: ignore[arg-type]  # it is called as one
    assert sizes == [1024, 976, *7 * [256], 208]


def test_what_a_gpu_does_not_hold_is_refused(monkeypatch):
    with pretended():
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device=None: (1000, 8 * 10**9))
        remedy = (
            "keeping 64 examples on cuda needs about 16 kB of memory, and 1 kB are available: use fewer or smaller ones, or device='cpu'"
        )
        with pytest.raises(InputError, match=remedy):
            NetworkClassifier("mlp-1x4", epochs=1).fit(DATA.train)


def test_tensors_that_do_not_follow_the_network_are_named():
    wanted = "expected tensors that are on cuda:0 as its inputs are: .* kept tensors by register_buffer"
    with pretended(), pytest.raises(InputError, match=wanted):
        NetworkClassifier(lambda shape, k: Unmoved(), epochs=1).fit(DATA.train)


def test_splits_on_a_gpu_and_another_default_device_are_refused():
    with pretended():
        with pytest.raises(InputError, match=r"labels are on cuda:0, expected them on the CPU \(.cpu\(\)\)"):
            Split(torch.zeros(2, 3), torch.arange(2).cuda(), ("a", "b"))
        with torch.device("cuda"):
            assert len(DATA.train.subset(torch.tensor([1, 3]))) == 2
            assert Split(DATA.test.inputs, DATA.test.labels, DATA.test.classes).ids.device.type == "cpu"
            for call in (lambda: NetworkClassifier().fit(DATA.train), lambda: measure(nn.Linear(64, 10), DATA)):
                with pytest.raises(InputError, match=r"torch's default device is 'cuda:?0?', expected 'cpu'"):
                    call()


def test_devices_that_cannot_be_used():
    with pytest.raises(InputError, match=r"device 'cuda:9' is not available: .*; expected 'cpu'"):
        resolve_device("cuda:9")
    with pretended():
        assert resolve_device("auto").type == resolve_device("cuda").type == "cuda"
        with pytest.raises(InputError, match=r"expected 'cpu' or 'cuda'$"):
            resolve_device("abacus")


def test_more_processes_than_gpus_find_out_when_they_train(monkeypatch):
    class Joined(Exception):
        pass

    def rendezvous(*_, **__):
        raise Joined

    for name, value in {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(ranks, "rendezvous", rendezvous)
    with pretended():
        monkeypatch.setattr(torch.cuda, "set_device", lambda index: pytest.fail(f"GPU {index} is not there"))
        with pytest.raises(Joined), ranks.joined():
            pass


@pytest.mark.parametrize(("triton", "compiler", "compiled"), [(True, True, True), (False, True, False), (True, False, False)])
def test_the_papers_networks_are_compiled_where_that_is_possible(monkeypatch, triton, compiler, compiled):
    monkeypatch.setattr(reproduce, "find_spec", lambda name: triton or None)
    monkeypatch.setattr(reproduce.shutil, "which", lambda name: compiler)
    specs = reproduce.experiment_specs(["figure2b"], SCALES["demo"])
    with pretended():
        found = reproduce.for_this_machine(specs)
    assert [spec.run_id for spec in found] == [spec.run_id for spec in specs]
    assert {spec.params.get("compile", False) for spec in found if isinstance(spec, RunSpec)} == {compiled}


def test_a_run_that_names_a_gpu_is_read_without_one(tmp_path):
    spec = RunSpec("digits", n_train=64, n_test=30, params={"network": "mlp-1x8", "epochs": 1, "device": "cuda"})
    with pretended():
        made = run(spec, Store(tmp_path))
        there = made.model()
    read = Store(tmp_path).of(spec)
    assert (there.device_.type, read.model().device_.type) == ("cuda", "cpu")
    assert read.model().score(DATA.test) == made.result["test_accuracy"]
    assert measure(read, measures=["n_parameters"])["value"].item() == 610
    assert diagnose(read)
