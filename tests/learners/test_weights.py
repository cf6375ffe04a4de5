import pickle
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from shattering import InputError, NetworkClassifier, RunSpec
from shattering.learners.weights import read_weights, start_from
from shattering.networks import build_network
from tests.conftest import make_split

RECIPE = {"epochs": 1, "learning_rate": 0.0, "device": "cpu"}


def state(n_classes=4, seed=1, **kwargs):
    return dict(build_network("small-cnn", (3, 8, 8), n_classes, seed, **kwargs).state_dict())


def save(tensors, path):
    (safetensors.torch.save_file if path.suffix == ".safetensors" else torch.save)(tensors, path)
    return str(path)


def start(path, n_classes=4):
    split = make_split(n=12, shape=(3, 8, 8), n_classes=n_classes)
    return NetworkClassifier("small-cnn", weights=path, **RECIPE).fit(split).module_.state_dict()


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_training_starts_from_the_weights_of_a_file(tmp_path, name):
    expected = state()
    found = start(save(expected, tmp_path / name))
    assert all(torch.equal(found[key], tensor) for key, tensor in expected.items())
    assert not torch.equal(start(None)["0.weight"], expected["0.weight"])


def test_a_fitted_network_that_was_saved_can_be_started_from(tmp_path):
    split = make_split(n=12, shape=(3, 8, 8))
    first = NetworkClassifier("small-cnn", epochs=2, standardize="feature", device="cpu").fit(split)
    first.save(tmp_path / "m.safetensors")
    found = start(str(tmp_path / "m.safetensors"))
    assert all(torch.equal(found[key], tensor) for key, tensor in first.module_.state_dict().items())


def test_the_last_layer_of_another_number_of_classes_stays_as_it_was_initialized(tmp_path):
    path = save(state(n_classes=9), tmp_path / "w.pth")
    found, fresh, other = start(path), start(None), state(n_classes=9)
    last = {"8.3.weight", "8.3.bias"}
    assert last <= set(found)
    for name, tensor in found.items():
        assert torch.equal(tensor, fresh[name] if name in last else other[name])


def test_a_layer_that_keeps_its_initialization_is_noted(tmp_path):
    split = make_split(n=12, shape=(3, 8, 8))
    noted = [NetworkClassifier("small-cnn", weights=save(state(k), tmp_path / f"{k}.pth"), **RECIPE).fit(split).notes_ for k in (4, 9)]
    assert noted == [(), ("The layer '8.3' keeps its initialization: the weights have 9 outputs there, not 4.",)]


class Gated(nn.Module):
    """What follows the hidden layer takes any number of its units."""

    def __init__(self, units, n_classes=4):
        super().__init__()
        self.gate, self.last = nn.Linear(192, units), nn.Linear(192, n_classes)


def test_a_hidden_layer_with_as_many_units_as_classes_is_not_kept(tmp_path):
    path = save(dict(Gated(5).state_dict()), tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"'gate.weight' of weights .* has shape \(5, 192\), expected \(4, 192\)"):
        start_from(Gated(4), path, 4)
    assert start_from(Gated(5, 7), path, 7) == "The layer 'last' keeps its initialization: the weights have 4 outputs there, not 7."
    assert start_from(Gated(5), path, 4) == ""


def test_published_weights_fit_with_and_without_the_auxiliary_classifier(tmp_path):
    """As torchvision's: with the auxiliary classifier; in half precision here, and without counters of batches as in its first version."""
    plain, whole = (build_network("inception-v3", (3, 75, 75), 10, seed, auxiliary=seed == 1) for seed in (0, 1))
    counters = [name for name in whole.state_dict() if name.endswith("num_batches_tracked")]
    tensors = OrderedDict((name, tensor.half() + 0.5) for name, tensor in whole.state_dict().items() if name not in counters)
    path = save(tensors, tmp_path / "inception_v3_google.pth")
    for module in (plain, whole):
        start_from(module, path, 10)
        found = module.state_dict()
        assert all(torch.equal(found[name], tensors[name].float()) for name in found if name not in counters)
    whole.load_state_dict(tensors, strict=True)
    path = save({name: tensor for name, tensor in tensors.items() if not name.startswith("Aux")}, tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"lack tensor 'AuxLogits\.conv0\.conv\.weight', expected the 580 tensors of the network"):
        start_from(whole, path, 10)


def test_a_run_is_identified_by_the_content_of_its_weights(tmp_path):
    (tmp_path / "there").mkdir()
    one, moved = save(state(), tmp_path / "a.safetensors"), save(state(), tmp_path / "there" / "b.safetensors")
    other = save(state(seed=2), tmp_path / "c.safetensors")
    base = RunSpec("digits", params={"network": "small-cnn"})
    ids = [replace(base, params={**base.params, "weights": path}).run_id for path in (None, one, moved, other)]
    assert ids[0] == base.run_id
    assert ids[1] == ids[2]
    assert len(set(ids)) == 3
    with pytest.raises(InputError, match=r"weights 'gone\.pth' is no file"):
        _ = RunSpec(params={"weights": "gone.pth"}).run_id


def test_a_checkpoint_does_not_know_other_weights(tmp_path):
    split, checkpoint = make_split(n=12, shape=(3, 8, 8)), tmp_path / "c.pt"
    one, other = save(state(), tmp_path / "a.pth"), save(state(seed=2), tmp_path / "b.pth")
    NetworkClassifier("small-cnn", weights=one, checkpoint_every=0, **RECIPE).fit(split, checkpoint=checkpoint)
    with pytest.raises(InputError, match="belongs to other data or parameters"):
        NetworkClassifier("small-cnn", weights=other, checkpoint_every=0, **RECIPE).fit(split, checkpoint=checkpoint)


class Evil:
    def __reduce__(self):
        return (open, ("ran", "w"))


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_no_code_of_a_file_is_run(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(pickle.dumps({"0.weight": Evil()}, protocol=2))
    with pytest.raises(InputError, match=f"weights '{name}' are neither safetensors nor a torch state dict"):
        read_weights(name)
    torch.save({"0.weight": Evil()}, "zip.pth")
    with pytest.raises(InputError, match=r"weights 'zip\.pth' are neither"):
        read_weights("zip.pth")
    torch.save(nn.Linear(1, 1), "module.pth")
    for file in ("zip.pth", "module.pth"):
        with pytest.raises(InputError, match=r"holds other objects than tensors and plain values, whose code is not run") as refused:
            read_weights(file)
        assert "weights_only" not in str(refused.value)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_damaged_weights_are_one_sentence(tmp_path, suffix):
    path = save(state(), tmp_path / f"w{suffix}")
    whole = Path(path).read_bytes()
    for damaged in (b"", whole[:7], whole[:100], whole[: len(whole) // 2], whole[:-1], b"x" * 500, b"\x80\x02", b"PK\x03\x04" + b"0" * 90):
        Path(path).write_bytes(damaged)
        with pytest.raises(InputError, match=r"are neither safetensors nor a torch state dict: .") as refused:
            read_weights(path)
        assert "weights_only" not in str(refused.value)
        assert "\n" not in str(refused.value)


def test_damaged_models_are_one_sentence(tmp_path):
    split, path = make_split(n=12, shape=(1, 8, 8)), tmp_path / "m.safetensors"
    fitted = NetworkClassifier("mlp-1x16", epochs=1).fit(split)
    fitted.save(path)
    (tmp_path / "usual").touch()
    assert path.stat().st_mode == (tmp_path / "usual").stat().st_mode
    with pytest.raises(InputError, match=r"m.safetensors is not of this network"):
        NetworkClassifier("mlp-1x32", epochs=1).load(path)
    whole = path.read_bytes()
    for damaged in (b"", whole[:100], whole[:-10], b"x" * 500):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"m.safetensors is not a model that `save` wrote: ."):
            NetworkClassifier("mlp-1x16", epochs=1).load(path)
    with pytest.raises(InputError, match="is no file, expected a model that `save` wrote"):
        NetworkClassifier("mlp-1x16", epochs=1).load(tmp_path)


def test_a_full_disk_is_an_error_of_the_system(tmp_path, monkeypatch):
    def full(*_):
        raise safetensors.SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    fitted = NetworkClassifier("mlp-1x16", epochs=1).fit(make_split(n=12, shape=(1, 8, 8)))
    monkeypatch.setattr(safetensors.torch, "save_file", full)
    with pytest.raises(OSError, match=r"no space left to write .*m.safetensors"):
        fitted.save(tmp_path / "m.safetensors")
    assert list(tmp_path.iterdir()) == []


def without(tensors, name):
    return {key: tensor for key, tensor in tensors.items() if key != name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: without(w, "0.bias"), "lack tensor '0.bias', expected the 10 tensors of the network"),
        (lambda w: {**w, "9.bias": torch.zeros(1)}, "have tensor '9.bias', expected the 10 tensors"),
        (
            lambda w: {**w, "0.weight": torch.zeros(32, 1, 3, 3)},
            r"'0.weight' of weights .* has shape \(32, 1, 3, 3\), expected \(32, 3, 3, 3\)",
        ),
        (lambda w: {**w, "8.3.weight": torch.zeros(4, 5)}, r"'8.3.weight' of weights .* has shape \(4, 5\), expected \(4, 128\)"),
        (lambda w: {**w, "0.bias": torch.full((32,), torch.nan)}, "tensor '0.bias' of weights .* has values that are not finite"),
        (lambda w: {"state_dict": w, "epoch": 3}, "have a dict at 'state_dict', expected a tensor"),
        (lambda w: [w], "hold a list, expected names and tensors"),
        (lambda w: {}, "hold a dict, expected names and tensors"),
    ],
)
def test_weights_that_do_not_fit(tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        start(save(change(state()), tmp_path / "w.pth"))


def test_a_mismatch_leaves_the_module_as_it_was(tmp_path):
    module = build_network("small-cnn", (3, 8, 8), 4, 0)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    with pytest.raises(InputError):
        start_from(module, save(without(state(), "8.3.bias"), tmp_path / "w.pth"), 4)
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


def test_files_that_are_no_weights(tmp_path):
    with pytest.raises(InputError, match=r"weights '.*none' is no file, expected a safetensors file or a torch state dict"):
        start(str(tmp_path / "none"))
    cut = tmp_path / "cut.pth"
    torch.save(state(), cut)
    cut.write_bytes(cut.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"weights '.*cut.pth' are neither"):
        start(str(cut))
    with pytest.raises(InputError, match="weights is 3, expected a text, a path or none"):
        NetworkClassifier(weights=3).fit(make_split())


def test_a_layer_in_the_middle_is_never_kept_silently(tmp_path):
    """A hidden layer as wide as there are classes, in a file where it is not."""
    other = nn.Sequential(nn.Flatten(), nn.Linear(192, 5), nn.ReLU(), nn.Linear(5, 4))
    path = save(dict(other.state_dict()), tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"'1.weight' of weights .* has shape \(5, 192\), expected \(4, 192\)"):
        start_from(nn.Sequential(nn.Flatten(), nn.Linear(192, 4), nn.ReLU(), nn.Linear(4, 4)), path, 4)
