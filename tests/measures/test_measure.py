"""The table of all measures: what every measure must keep to, whatever it computes."""

import json
import math
import random

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from shattering import MEASURES, InputError, NetworkClassifier, RunSpec, Split, Store, measure, run
from shattering.cli import main
from shattering.measures.curvature import hessian_trace, weighted_trace
from shattering.measures.fitted import NotComputable
from shattering.measures.fitting import as_fitted
from shattering.measures.learning_coefficient import local_learning_coefficient
from shattering.measures.sensitivity import critical_sample_ratio
from shattering.measures.spectra import fit_tail
from tests.measures.networks import ALL, NETWORKS, data, fitted, small_data, small_relu, trained


def state_of(module: nn.Module) -> dict:
    """All that a measure might change in a module."""
    tensors = {name: value.clone() for name, value in module.state_dict().items()}
    grads = {name: None if p.grad is None else p.grad.clone() for name, p in module.named_parameters()}
    hooks = {name: (len(m._forward_hooks), len(m._forward_pre_hooks)) for name, m in module.named_modules()}
    return {
        "tensors": tensors,
        "grads": grads,
        "hooks": hooks,
        "modes": {name: m.training for name, m in module.named_modules()},
        "trainable": {name: p.requires_grad for name, p in module.named_parameters()},
    }


def generators() -> tuple:
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002


@pytest.mark.parametrize("name", NETWORKS)
def test_the_model_is_left_as_it_was(name):
    """Property (d): parameters, buffers, mode, gradients, hooks, global generators."""
    module = trained(name).module_
    module.train()
    next(module.parameters()).grad = torch.ones_like(next(module.parameters()))
    before, drawn = state_of(module), generators()
    cheap = {key: entry for key, entry in MEASURES.items() if entry.cost in ("1", "P", "E", "B")}
    table = measure(trained(name), data(), ALL if name in ("mlp", "branches") else cheap)
    after = state_of(module)
    assert before.pop("hooks") == after.pop("hooks")
    assert before.pop("modes") == after.pop("modes")
    assert before.pop("trainable") == after.pop("trainable")
    torch.testing.assert_close(after, before, rtol=0, atol=0)
    assert generators() == drawn
    assert set(table.columns) == {"value", "reason", "seconds"}
    assert (table["value"].isna() == (table["reason"] != "")).all()
    assert (table["seconds"] >= 0).all()
    module.zero_grad()


class Centred(nn.Module):
    """Shifts its inputs, in place or not, as networks with a normalization of their own do."""

    def __init__(self, in_place: bool):
        super().__init__()
        self.in_place, self.scale, self.layers = in_place, nn.Parameter(torch.ones(3)), small_relu().float()

    def forward(self, x):
        x = x.sub_(0.5) if self.in_place else x - 0.5
        return self.layers(x * self.scale)


def test_networks_that_change_their_inputs_in_place_are_measured_as_the_others():
    inputs, labels = small_data()
    known = {"initial": Centred(True), "unlabelled": small_data(1)[0].float(), "history": pd.DataFrame({"learning_rate": [0.1]})}
    in_place, plain = (measure(Centred(kind), (inputs.float(), labels), progress=False, **known)["value"] for kind in (True, False))
    assert in_place.notna().sum() > 40
    pd.testing.assert_series_equal(in_place, plain, rtol=1e-5)


@pytest.mark.parametrize("name", ["mlp", "branches"])
def test_neither_blocks_nor_the_order_of_examples_matter(name):
    """Property (c)."""
    rows = torch.randperm(len(data().train), generator=torch.Generator().manual_seed(0))
    whole = measure(fitted(name, torch.float64), measures=ALL)["value"]
    parts = measure(fitted(name, torch.float64, block=20), measures=ALL)["value"]
    shuffled = measure(fitted(name, torch.float64, rows=rows), measures=ALL)["value"]
    for measured in MEASURES:
        assert parts[measured] == pytest.approx(whole[measured], rel=1e-6, nan_ok=True), measured
        assert shuffled[measured] == pytest.approx(whole[measured], rel=1e-6, nan_ok=True), measured


def test_the_same_network_has_the_same_values_wherever_it_is_measured():
    """Inference mode, no gradients, autocast and seeds of the caller change nothing."""
    expected = measure(trained("mlp"), data(), ALL)["value"]
    torch.manual_seed(7)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        found = measure(trained("mlp"), data(), ALL)["value"]
    assert found.to_numpy() == pytest.approx(expected.to_numpy(), rel=1e-12, nan_ok=True)


def test_the_dictionary_is_whole():
    for name, entry in MEASURES.items():
        assert entry.at.endswith(f":{name}")
        assert all((entry.formula, entry.source, entry.needs, entry.cost)), name
        assert set(entry.needs.replace("W0", "W").replace("Hv", "H").split()) <= set("WXYgHTQRU"), name


def test_ones_own_measure_in_five_lines():
    def l1_norm(fitted):
        return float(sum(weight.abs().sum() for weight in fitted.weights()))

    found = measure(trained("mlp"), data(), {"l1_norm": l1_norm, "n_parameters": MEASURES["n_parameters"]})
    expected = sum(p.detach().abs().sum().item() for name, p in trained("mlp").module_.named_parameters() if "weight" in name)
    assert found.loc["l1_norm", "value"] == pytest.approx(expected, rel=1e-6)
    assert found.loc["n_parameters", "value"] == trained("mlp").n_parameters_


def test_a_measure_of_ones_own_may_change_the_network_without_an_effect_on_others():
    def spoils(fitted):
        fitted.logits.zero_()
        fitted.labels.zero_()
        fitted.module.train()
        for p in fitted.module.parameters():
            p.data.zero_()
        return 0.0

    names = ["parameter_norm", "inverse_margin", "average_confidence"]
    later = {name: MEASURES[name] for name in names}
    made = fitted("mlp")
    alone = measure(made.copy(), measures=names)
    together = measure(made, measures={"spoils": spoils, **later, "again": lambda fitted: float(fitted.logits.abs().sum())})
    pd.testing.assert_series_equal(together.loc[names, "value"], alone["value"])
    assert together.loc["again", "value"] == pytest.approx(float(made.logits.abs().sum()))


def test_reasons_and_faults():
    def without(fitted):
        raise NotComputable("there is no such thing")

    def nothing(fitted):
        return math.nan

    def forward_mode(fitted):
        raise NotImplementedError("Trying to use forward AD with x that does not support it\nmore")

    found = measure(small_relu(), small_data(), {"a": without, "b": nothing, "c": forward_mode})
    assert found["value"].isna().all()
    assert found["reason"].tolist() == [
        "there is no such thing",
        "the result is not a number",
        "Trying to use forward AD with x that does not support it",
    ]

    def broken(fitted):
        raise KeyError("oops")

    with pytest.raises(KeyError, match="oops"):  # a fault of the user's is no NaN (appendix A10)
        measure(small_relu(), small_data(), {"broken": broken})


def test_bad_names():
    with pytest.raises(InputError, match=r"unknown measure 'n_parameter'; did you mean 'n_parameters'\?"):
        measure(trained("mlp"), data(), ["n_parameter"])
    for measures, message in [
        ("steps", "measures is 'steps', expected a list of names or a mapping"),
        ([], r"measures is \[\], expected a list of names or a mapping"),
        (5, "measures is 5, expected a list of names or a mapping"),
        ({"mine": 5}, "measures has 5 as 'mine', expected a function of a Fitted"),
        ([[]], r"unknown measure \[\]"),
    ]:
        with pytest.raises(InputError, match=message):
            measure(trained("mlp"), data(), measures)


def test_nan_weights_give_reasons_not_numbers():
    module = small_relu()
    module[2].weight.data[0, 0] = math.nan
    found = measure(module, small_data(), ALL)
    numbers = found.index[found["value"].notna()].tolist()
    assert set(numbers) <= {"n_parameters", "vc_dimension"}


@pytest.mark.parametrize("k", [2, 3, 4])
def test_two_classes_and_a_class_without_examples(k):
    inputs, labels = small_data(k=min(k, 3))
    module = small_relu(sizes=(3, 4, k))
    found = measure(as_fitted(module, (inputs, labels)), measures=ALL)
    assert found.loc["n_parameters", "value"] == 16 + 5 * k


def test_a_module_without_linear_layers():
    class Scale(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(3, dtype=torch.float64))

        def forward(self, x):
            return x * self.scale

    found = measure(Scale(), small_data(), ALL)
    assert found.loc["vc_dimension", "reason"] == "the network has no linear layer and no convolution"
    assert found.loc["n_parameters", "value"] == 3


def test_an_untrained_and_a_diverged_network():
    untrained = NetworkClassifier("mlp-1x4", epochs=1, learning_rate=0.0).fit(data().train)
    assert measure(untrained, data(), ALL).loc["steps", "reason"].startswith("the history has no full_train_loss")
    diverged = NetworkClassifier("mlp-1x4", epochs=3, learning_rate=1e30).fit(data().train)
    assert diverged.diverged_
    found = measure(diverged, data(), ALL)
    assert "diverged" in found.loc["training_loss_area", "reason"]


def test_the_command(tmp_path, capsys):
    split = data().train
    assert isinstance(split, Split)
    done = run(RunSpec("digits", n_train=40, n_test=20, params={"network": "mlp-1x6", "epochs": 2}), Store(tmp_path))
    assert main(["measure", done.run_id, "--store", str(tmp_path), "--only", "n_parameters", "--only", "steps"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "n_parameters  460",
        "steps         not computable: the history has no full_train_loss: train with evaluate_train",
    ]
    assert main(["measure", done.run_id, "--store", str(tmp_path), "--json", "--only", "n_parameters"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "run": done.run_id,
        "measures": [{"name": "n_parameters", "value": 460.0, "reason": None}],
    }
    assert main(["measure", done.run_id, "--store", str(tmp_path), "--only", "nonsense"]) == 1
    assert "unknown measure 'nonsense'" in capsys.readouterr().err


def test_the_list(capsys):
    assert main(["list", "measures", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == list(MEASURES)
    assert set(rows[0]) == {"name", "formula", "source", "needs", "cost", "sign"}


@pytest.mark.parametrize(
    ("returned", "found"),
    [
        (None, "None"),
        (np.zeros(3), r"a ndarray of shape \(3,\)"),
        (torch.zeros(2), r"a Tensor of shape \(2,\)"),
        ("0.5", "'0.5'"),
        ([1], r"\[1\]"),
    ],
)
def test_what_a_measure_of_ones_own_returns_is_a_number(returned, found):
    with pytest.raises(InputError, match=f"measure mine returned {found}, expected a number"):
        measure(small_relu(), small_data(), {"mine": lambda fitted: returned})
    assert measure(small_relu(), small_data(), {"mine": lambda fitted: torch.ones(1)}).loc["mine", "value"] == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda made: hessian_trace(made, 0), "probes is 0, expected a whole number of at least 1"),
        (lambda made: weighted_trace(made, 2.5), "probes is 2.5, expected a whole number of at least 1"),
        (lambda made: local_learning_coefficient(made, chains=0), "chains is 0, expected a whole number of at least 1"),
        (lambda made: local_learning_coefficient(made, steps=0), "steps is 0, expected a whole number of at least 1"),
        (lambda made: critical_sample_ratio(made, -1), "radius is -1, expected a number of at least 0"),
        (lambda made: fit_tail(np.array([-1.0, 2.0])), "values is .*, expected positive numbers of shape"),
    ],
)
def test_parameters_of_measures_have_ranges(call, message):
    with pytest.raises(InputError, match=message):
        call(as_fitted(small_relu(), small_data()))


class Attention(nn.Module):
    """Attention as torch's fused kernels compute it, which have no second derivatives."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(1, 2), nn.Linear(2, 3)

    def forward(self, x):
        h = self.first(x[..., None])
        return self.last(nn.functional.scaled_dot_product_attention(h, h, h).mean(1))


def test_curvature_of_attention_is_that_of_its_formula():
    module, (x, y) = Attention().double(), small_data()
    top = measure(module, (x, y), ["hessian_top", "hessian_trace", "fisher_rao"], progress=False)["value"]
    parameters = {name: p.detach() for name, p in module.named_parameters()}
    flat = torch.cat([p.flatten() for p in parameters.values()])

    def loss(values):
        parts = values.split([p.numel() for p in parameters.values()])
        w, b, v, c = (part.view_as(p) for part, p in zip(parts, parameters.values(), strict=True))
        h = x[..., None] @ w.T + b
        h = torch.softmax(h @ h.transpose(1, 2) / 2**0.5, 2) @ h
        return nn.functional.cross_entropy(h.mean(1) @ v.T + c, y)

    H = torch.autograd.functional.hessian(loss, flat)
    assert top["hessian_top"] == pytest.approx(float(torch.linalg.eigvalsh(H)[-1]))
    assert top["hessian_trace"] == pytest.approx(float(H.trace()))
    assert math.isfinite(top["fisher_rao"])


def test_an_operation_without_the_derivative_is_a_reason():
    def refused(_):
        raise RuntimeError("derivative for aten::something_backward is not implemented")

    def broken(_):
        raise RuntimeError("another fault")

    table = measure(small_relu(), small_data(), {"refused": refused}, progress=False)
    assert table.loc["refused", "reason"] == "derivative for aten::something_backward is not implemented"
    with pytest.raises(RuntimeError, match="another fault"):
        measure(small_relu(), small_data(), {"broken": broken}, progress=False)
