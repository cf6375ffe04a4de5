"""Gradients of single examples against plain backward passes, one example at a time, through layers of every kind."""

import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from shattering.measures import per_example
from shattering.measures.fitted import Fitted
from shattering.measures.layers import record
from tests.measures.networks import fitted, of_module, small_data, small_relu

TAPPED = ["conv", "same", "sequence", "again", "other", "computed", "head"]  # of other and computed, whose weights are another's, the bias


class Everything(nn.Module):
    """Convolutions of several kinds, a layer that is called twice, and weights that are shared, used elsewhere or computed."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4)
        self.same = nn.Conv2d(4, 4, 3, padding="same", dilation=2, padding_mode="reflect", bias=False)
        self.grouped, self.sequence = nn.Conv2d(4, 4, 1, groups=2), nn.Conv1d(4, 3, 2)
        self.again, self.tied, self.other = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3)
        self.other.weight = self.tied.weight
        self.elsewhere, self.computed = nn.Linear(3, 3, bias=False), weight_norm(nn.Linear(3, 3))
        self.unused, self.head = nn.Linear(3, 3), nn.Linear(3 * 15, 3)

    def forward(self, images):
        h = F.relu_(self.norm(self.conv(images)))
        h = self.sequence(self.grouped(self.same(h)).flatten(2)).transpose(1, 2)
        h = self.again(torch.tanh(self.again(h)))
        h = self.computed(self.other(torch.tanh(self.tied(h))))
        return self.head((self.elsewhere(h) + torch.tanh(h @ self.elsewhere.weight)).flatten(1))


def everything(dtype: torch.dtype = torch.float64) -> Fitted:
    generator = torch.Generator().manual_seed(0)
    module = Everything()
    for parameter in module.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) / 2
    images = torch.randn(7, 1, 8, 8, generator=generator)
    return of_module(module.to(dtype), images.to(dtype), torch.arange(7) % 3)


def slow(made: Fitted) -> dict[str, torch.Tensor]:
    """Gradients of the cross-entropies by name, (n, p) float64."""
    own = {name: p for name, p in made.module.named_parameters() if p.requires_grad}
    rows = []
    for i in range(made.n):
        value = F.cross_entropy(made.module(made.inputs(torch.tensor([i]))), made.labels[i : i + 1])
        rows.append(torch.autograd.grad(value, list(own.values()), materialize_grads=True))
    return {name: torch.stack([row[j].flatten() for row in rows]).double() for j, name in enumerate(own)}


def losses(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(logits, labels, reduction="none")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_layers_of_every_kind(dtype):
    made = everything(dtype)
    assert list(per_example.evaluate(made, made.inputs(torch.arange(2))).layers) == TAPPED
    expected, tolerance = slow(made), {"rtol": 1e-3, "atol": 1e-6} if dtype == torch.float32 else {"rtol": 1e-10, "atol": 1e-13}
    found = per_example.evaluate(made, made.inputs(torch.arange(7))).gradients(losses, made.labels)
    assert list(found) == list(expected)
    for name, g in expected.items():
        torch.testing.assert_close(found[name].squares(), g.square().sum(1), **tolerance, msg=name)
        torch.testing.assert_close(found[name].sums(), g.sum(0), **tolerance, msg=name)
        torch.testing.assert_close(found[name].sums(2), g.square().sum(0), **tolerance, msg=name)
        torch.testing.assert_close(found[name].products(found[name]), g @ g.T, **tolerance, msg=name)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["alexnet", "inception", "inception-no-bn"])
def test_networks_of_the_paper(name, dtype):
    made = fitted(name, dtype)
    x, y = made.inputs(torch.arange(2)), made.labels[:2]
    found = per_example.evaluate(made, x)
    assert list(found.layers) == [layer.name for layer in record(made.module, x)]  # every one
    gradients, tolerance = found.gradients(losses, y), 1e-3 if dtype == torch.float32 else 1e-9
    for i in range(2):
        plain = torch.autograd.grad(losses(made.module(x[i : i + 1]), y[i : i + 1])[0], list(made.module.parameters()))
        squares = [float(g.double().square().sum()) for g in plain]
        assert [float(g.squares()[i]) for g in gradients.values()] == pytest.approx(squares, rel=tolerance, abs=1e-12)


def test_gradients_of_linear_layers_are_not_written_out():
    made = of_module(small_relu(), *small_data())
    found = per_example.evaluate(made, small_data()[0]).gradients(losses, made.labels)
    assert {name: (part.slopes.shape[1], part.inputs.shape[1]) for name, part in found.items()} == {
        "0.weight": (4, 3),
        "0.bias": (4, 1),
        "2.weight": (3, 4),
        "2.bias": (3, 1),
    }
    for name, g in slow(made).items():
        torch.testing.assert_close(found[name].products(found[name]), g @ g.T)


def test_a_fitted_network_whose_gradients_vanish_does_not_hide_a_shared_weight():
    """What is an outer product is decided by a mixture of logits, never by the loss, whose gradient may be 0."""
    made = everything()
    with torch.no_grad():
        made.module.head.bias += torch.tensor([1e6, 0, 0])
    assert "tied" not in per_example.evaluate(made, made.inputs(torch.arange(2))).layers


def test_frozen_parameters_have_no_gradients():
    module = small_relu()
    module[0].requires_grad_(False)
    made = of_module(module, *small_data())
    found = per_example.evaluate(made, small_data()[0]).gradients(losses, made.labels)
    assert list(found) == ["2.weight", "2.bias"]


class Scales(nn.Module):
    """A parameter that is a single number, as a learnable temperature is, and a layer without units."""

    def __init__(self):
        super().__init__()
        self.none, self.more = nn.Linear(3, 0), nn.Linear(0, 4)
        self.first, self.scale, self.last = nn.Linear(3, 4), nn.Parameter(torch.tensor(0.5)), nn.Linear(4, 3)

    def forward(self, x):
        return self.last(torch.relu(self.first(x) + self.more(self.none(x)))) * self.scale


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_parameters_of_a_single_number_and_of_none():
    made = of_module(Scales(), *small_data())
    expected = slow(made)
    found = per_example.evaluate(made, made.inputs(torch.arange(made.n))).gradients(losses, made.labels)
    assert {name: part.sums().shape for name, part in found.items()} == {name: g.shape[1:] for name, g in expected.items()}
    for name, g in expected.items():
        torch.testing.assert_close(found[name].sums(2), g.square().sum(0), msg=name)


class Recurrent(nn.Module):
    """A recurrent layer, which has no rule for `vmap`."""

    def __init__(self):
        super().__init__()
        self.layer, self.last = nn.GRU(1, 4, batch_first=True), nn.Linear(4, 3)

    def forward(self, x):
        return self.last(self.layer(x[..., None])[0][:, -1])


def test_layers_without_a_rule_for_vmap_are_differentiated_one_by_one():
    torch.manual_seed(0)
    made = of_module(Recurrent(), *small_data(n=7))
    expected = slow(made)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = per_example.evaluate(made, made.inputs(torch.arange(made.n))).gradients(losses, made.labels)
    for name, g in expected.items():
        torch.testing.assert_close(found[name].sums(2), g.square().sum(0), rtol=1e-4, atol=1e-7, msg=name)
