"""Norms and margins against brute force, closed forms and their invariances."""

import itertools
import math
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from shattering import MEASURES
from shattering.measures import margins, norms
from shattering.measures.fitted import Fitted, NotComputable
from shattering.measures.fitting import as_fitted
from tests.measures.networks import NETWORKS, Tokens, fitted, of_module, small_data, small_relu

RESCALED = [name for name, entry in MEASURES.items() if "r" in entry.invariance and entry.at.split(":")[0] in ("norms", "margins")]
SCALED = [name for name, entry in MEASURES.items() if "s" in entry.invariance and entry.at.split(":")[0] in ("norms", "margins")]


def small(seed=0, **known) -> Fitted:
    """A 3-4-3 network that classifies all of its examples as labelled."""
    module, (inputs, _) = small_relu(seed), small_data(seed)
    return of_module(module, inputs, module(inputs).argmax(1), initial=small_relu(seed + 100), **known)


@pytest.mark.parametrize("seed", range(3))
def test_norms_are_numpys(seed):
    made = small(seed)
    W = [layer.weight.detach().numpy() for layer in (made.module[0], made.module[2])]
    W0 = [layer.weight.detach().numpy() for layer in (made.initial[0], made.initial[2])]
    D = [now - then for now, then in zip(W, W0, strict=True)]
    spectral, gamma = [np.linalg.norm(w, 2) for w in W], np.sort(made.margins.numpy())[2]  # of 30, the third
    assert norms.parameter_norm(made) == pytest.approx(sum((w**2).sum() for w in W))
    assert norms.distance(made) == pytest.approx(sum((d**2).sum() for d in D))
    angles = [w / np.linalg.norm(w) - v / np.linalg.norm(v) for w, v in zip(W, W0, strict=True)]
    assert norms.angular_distance(made) == pytest.approx(sum((a**2).sum() for a in angles))
    frobenius = sum(np.log((w**2).sum()) for w in W)
    assert norms.log_frobenius_product(made) == pytest.approx(frobenius)
    assert norms.log_spectral_product(made) == pytest.approx(2 * np.log(spectral).sum())
    assert norms.stable_rank(made) == pytest.approx(sum((w**2).sum() / s**2 for w, s in zip(W, spectral, strict=True)))
    assert margins.inverse_margin(made) == pytest.approx(gamma**-2)
    assert margins.spectral_over_margin(made) == pytest.approx(2 * np.log(spectral).sum() - 2 * np.log(gamma))
    assert margins.frobenius_over_margin(made) == pytest.approx(frobenius - 2 * np.log(gamma))
    main = np.log(sum((d**2).sum() / s**2 for d, s in zip(D, spectral, strict=True)))
    assert margins.spectral_init_main(made) == pytest.approx(margins.spectral_over_margin(made) + main)
    rows = sum((np.linalg.norm(d, axis=1).sum() / s) ** (2 / 3) for d, s in zip(D, spectral, strict=True)) ** 1.5
    size = np.linalg.norm(small_data(seed)[0].numpy())
    assert margins.spectral_complexity(made) == pytest.approx(np.log(np.prod(spectral) * rows * size / (30 * gamma)))


def test_at_initialization_there_is_no_distance():
    module, data = small_relu(), small_data()
    made = of_module(module, *data, initial=module)
    assert norms.distance(made) == norms.angular_distance(made) == 0
    for network in NETWORKS:
        assert norms.distance(fitted(network)) > 0
    with pytest.raises(NotComputable, match="the initial weights are not known"):
        norms.distance(of_module(module, *data))


def test_the_complexity_of_a_linear_classifier_by_hand():
    """R = ‖(W − W⁰)ᵀ‖_{2,1}: rows of norms 5 and 2, on inputs of norm 1 and margins 1."""
    linear, zero = nn.Linear(2, 2, bias=False).double(), nn.Linear(2, 2, bias=False).double()
    linear.weight.data, zero.weight.data = torch.tensor([[3.0, 4.0], [0.0, 2.0]]).double(), torch.zeros(2, 2).double()
    inputs = torch.tensor([[1.0, 0.0]]).double().repeat(10, 1)
    made = of_module(linear, inputs, torch.zeros(10, dtype=torch.int64), initial=zero)
    assert margins.spectral_complexity(made) == pytest.approx(math.log(7 * math.sqrt(10) / (10 * 3)))


def test_the_rows_of_a_transposed_convolution_are_its_outputs():
    """W is (2 inputs, 1 output, 1, 2): the one output has the norm 5; a norm for each input would be 3 and 4."""
    module = nn.Sequential(nn.ConvTranspose2d(2, 1, (1, 2), bias=False), nn.Flatten(), nn.Linear(2, 2, bias=False)).double()
    zero = deepcopy(module)
    zero[0].weight.data.zero_()
    module[0].weight.data = torch.tensor([[[[3.0, 0.0]]], [[[0.0, 4.0]]]]).double()
    module[2].weight.data = zero[2].weight.data = torch.tensor([[1.0, 0.0], [0.0, 0.0]]).double()
    inputs = torch.tensor([1.0, 0.0]).double().view(1, 2, 1, 1).repeat(10, 1, 1, 1)
    made = of_module(module, inputs, torch.zeros(10, dtype=torch.int64), initial=zero)
    # the operator (x, y) ↦ (3x, 4y) has norm 4 and the head 1; the first layer changed by a row of norm 5, and the margin is 3
    assert margins.spectral_complexity(made) == pytest.approx(math.log(4 * (5 / 4) * math.sqrt(10) / (10 * 3)))


def test_stable_ranks_of_rank_one_and_of_the_identity():
    for weight, rank in [(torch.outer(torch.arange(1.0, 5), torch.arange(1.0, 5)), 1), (torch.eye(4), 4)]:
        linear = nn.Linear(4, 4)
        linear.weight.data = weight
        assert norms.stable_rank(of_module(linear, torch.zeros(4, 4), torch.arange(4))) == pytest.approx(rank)


def paths(module: nn.Sequential) -> float:
    """The sum over all paths from an input or a bias to an output of the product of squared weights, path by path."""
    W = [layer.weight.detach().numpy() ** 2 for layer in module if isinstance(layer, nn.Linear)]
    b = [layer.bias.detach().numpy() ** 2 for layer in module if isinstance(layer, nn.Linear)]
    total = 0.0
    for start in range(-1, len(W)):  # -1: from the inputs; l: from the bias of layer l
        sizes = [range(W[0].shape[1])] if start < 0 else [range(len(b[start]))]
        sizes += [range(w.shape[0]) for w in W[start + 1 :]]
        for units in itertools.product(*sizes):
            product = 1.0 if start < 0 else b[start][units[0]]
            for weight, (i, j) in zip(W[start + 1 :], itertools.pairwise(units), strict=True):
                product *= weight[j, i]
            total += product
    return total


def test_the_path_norm_is_the_sum_over_all_paths():
    """Appendix A3: a bias is a path that starts there."""
    module = small_relu(sizes=(6, 8, 7, 3))
    made = of_module(module, torch.randn(9, 6).double(), torch.arange(9) % 3)
    assert norms.log_path_norm(made) == pytest.approx(math.log(paths(module)), rel=1e-12)


def dense_paths(layers: list[nn.Module], shape: tuple[int, ...]) -> float:
    """Σ over paths through linear maps without bias, by their dense matrices with every entry squared."""
    eye = torch.eye(math.prod(shape)).double().view(-1, *shape)
    x, size = torch.ones(math.prod(shape)).double(), shape
    for layer in layers:
        out = layer(eye)
        x, size = out.flatten(1).T.square() @ x, tuple(out.shape[1:])
        eye = torch.eye(math.prod(size)).double().view(-1, *size)
    return float(x.sum())


@pytest.mark.parametrize(
    "pool",
    [
        nn.AvgPool2d(2),
        nn.AvgPool2d(3, 2, padding=1),
        nn.AvgPool2d(3, 2, padding=1, count_include_pad=False, ceil_mode=True),
        nn.AdaptiveAvgPool2d((2, 3)),
        nn.AdaptiveAvgPool2d(1),
    ],
)
def test_the_weights_of_average_pooling_are_squared(pool):
    """Appendix A3."""
    conv, last = nn.Conv2d(1, 2, 3, bias=False).double(), nn.LazyLinear(3, bias=False)
    module = nn.Sequential(conv, nn.ReLU(), pool, nn.Flatten(), last)
    module.double()(torch.zeros(1, 1, 7, 8).double())
    made = of_module(module, torch.randn(6, 1, 7, 8).double(), torch.arange(6) % 3)
    with torch.no_grad():
        expected = dense_paths([conv, pool, nn.Sequential(nn.Flatten(), last)], (1, 7, 8))
    assert norms.log_path_norm(made) == pytest.approx(math.log(expected), rel=1e-10)


def test_a_path_goes_through_any_input_of_a_max_pooling():
    conv, last = nn.Conv2d(1, 2, 3, bias=False).double(), nn.Linear(2 * 3 * 4, 3, bias=False).double()
    module = nn.Sequential(conv, nn.ReLU(), nn.MaxPool2d(3, 2, padding=1), nn.Flatten(), last)
    made = of_module(module, torch.randn(6, 1, 7, 9).double(), torch.arange(6) % 3)

    class Sum(nn.Module):
        def forward(self, x):
            return F.avg_pool2d(x, 3, 2, padding=1, divisor_override=1)

    with torch.no_grad():
        expected = dense_paths([conv, Sum(), nn.Sequential(nn.Flatten(), last)], (1, 7, 9))
    assert norms.log_path_norm(made) == pytest.approx(math.log(expected), rel=1e-10)


def test_branches_that_are_added_and_concatenated_have_the_paths_of_both():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(3, 3), nn.Linear(3, 2), nn.Linear(5, 3)

        def forward(self, x):
            return self.c(torch.cat([torch.relu(self.a(x)) + x, F.relu(self.b(x))], 1))

    module = Both().double()
    a, b, c = ({"w": m.weight.detach().square(), "b": m.bias.detach().square()} for m in (module.a, module.b, module.c))
    ones = torch.ones(3).double()
    h = torch.cat([a["w"] @ ones + a["b"] + ones, b["w"] @ ones + b["b"]])
    expected = math.log((c["w"] @ h + c["b"]).sum())
    assert norms.log_path_norm(of_module(module, *small_data())) == pytest.approx(expected)


@pytest.mark.parametrize("activation", [nn.Tanh(), nn.GELU(), nn.Softplus()])
def test_other_operations_are_a_reason(activation):
    module = nn.Sequential(nn.Linear(3, 4), activation, nn.Linear(4, 3))
    with pytest.raises(NotComputable, match=r"whose paths are not known|so that it has no path norm"):
        norms.log_path_norm(of_module(module, *small_data()))


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_has_a_path_norm(name):
    assert math.isfinite(norms.log_path_norm(fitted(name)))


@pytest.mark.parametrize(("depth", "bias"), [(2, True), (2, False), (4, False)])
def test_fisher_rao_is_brute_force_and_its_identity(depth, bias):
    """Without biases: L² times the mean of ⟨p − e_y, z⟩² (Liang et al. 2019, theorem 3.1)."""
    inputs, labels = small_data()
    made = of_module(small_relu(1, bias, (3, *[5] * (depth - 1), 3)), inputs, labels, block=7)
    total = 0.0
    for x, y in zip(inputs, labels, strict=True):
        loss = F.cross_entropy(made.module(x[None]), y[None])
        gradients = torch.autograd.grad(loss, list(made.module.parameters()))
        total += sum((g * p.detach()).sum() for g, p in zip(gradients, made.module.parameters(), strict=True)) ** 2
    value = norms.fisher_rao(made)
    assert value == pytest.approx(float(total) / 30, rel=1e-10)
    if not bias:
        z = made.logits
        products = ((z.softmax(1) - F.one_hot(labels, 3)) * z).sum(1)
        assert value == pytest.approx(depth**2 * float(products.square().mean()), rel=1e-10)


class Attention(nn.Module):
    """A transformer over the values of an example as tokens; torch computes its attention by fused operations where it can."""

    def __init__(self):
        super().__init__()
        self.embed, self.head = nn.Linear(1, 4), nn.Linear(4, 3)
        self.encoder = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True)

    def forward(self, inputs):
        return self.head(self.encoder(self.embed(inputs[:, :, None])).mean(1))


def test_fisher_rao_of_a_transformer_is_brute_force():
    inputs, labels = small_data()
    torch.manual_seed(0)
    made = of_module(Attention().to(inputs.dtype), inputs, labels)
    total = 0.0
    for x, y in zip(inputs, labels, strict=True):
        gradients = torch.autograd.grad(F.cross_entropy(made.module(x[None]), y[None]), list(made.module.parameters()))
        total += float(sum((g * p.detach()).sum() for g, p in zip(gradients, made.module.parameters(), strict=True)) ** 2)
    assert norms.fisher_rao(made) == pytest.approx(total / len(labels), rel=1e-8)
    assert torch.backends.mha.get_fastpath_enabled(), "as it was before"


@settings(max_examples=6)
@given(st.floats(0.1, 10), st.integers(0, 5))
def test_rescaling_layers_of_a_relu_network_changes_nothing(scale, seed):
    made = small(seed)
    module = small_relu(seed)
    module[0].weight.data *= scale
    module[0].bias.data *= scale
    module[2].weight.data /= scale
    initial = small_relu(seed + 100)
    again = of_module(module, small_data(seed)[0], made.labels, initial=initial)
    for name in RESCALED:
        assert MEASURES[name](again) == pytest.approx(MEASURES[name](made), rel=1e-7), name


@settings(max_examples=6)
@given(st.floats(0.1, 10), st.integers(0, 5))
def test_scaling_all_logits_changes_nothing(scale, seed):
    made = small(seed)
    module, initial = small_relu(seed), small_relu(seed + 100)
    for network in (module, initial):  # W⁰ alike
        for parameter in network[2].parameters():
            parameter.data *= scale
    again = of_module(module, small_data(seed)[0], made.labels, initial=initial)
    for name in SCALED:
        if "W" in MEASURES[name].needs and MEASURES[name].at.endswith("path_norm_over_margin"):
            continue  # its bias of the last layer is scaled too, and so are its squared paths: checked above
        assert MEASURES[name](again) == pytest.approx(MEASURES[name](made), rel=1e-6, abs=1e-9), name


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(
    "measured", ["parameter_norm", "log_spectral_product", "log_path_norm", "fisher_rao", "input_margin", "hidden_margin"]
)
def test_float32_and_float64_agree(name, measured):
    if name.startswith("inception") and measured == "log_spectral_product":
        pytest.skip("twenty operators twice; those of the other networks tell")
    single, double = (MEASURES[measured](fitted(name, dtype)) for dtype in (torch.float32, torch.float64))
    assert single == pytest.approx(double, rel=2e-3)


def test_names_choose_no_weights():
    """Appendix A5: in a Sequential no name says that a parameter is a normalization's or a bias."""
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 3)).double()
    made = of_module(module, *small_data())
    factor = 1 / (1 + module[1].eps)
    expected = float(module[0].weight.detach().square().sum()) * factor + float(module[3].weight.detach().square().sum())
    assert norms.parameter_norm(made) == pytest.approx(expected)


def linear_classifier() -> Fitted:
    inputs, _ = small_data(3, n=25)
    linear = small_relu(3, sizes=(3, 3))
    return of_module(linear, inputs, linear(inputs).argmax(1))


def test_a_misclassified_tenth_is_infinite_not_its_absolute_value():
    """Appendix A2."""
    made = linear_classifier()
    wrong = of_module(made.module, small_data(3, n=25)[0], (made.labels + 1) % 3)
    assert margins.margin(wrong) < 0
    for function in (margins.inverse_margin, margins.spectral_over_margin, margins.frobenius_over_margin, margins.path_norm_over_margin):
        assert function(wrong) == math.inf
    untrained = replace(wrong, make_initial=lambda: made.module)
    assert margins.spectral_init_main(untrained) == margins.spectral_complexity(untrained) == math.inf  # though nothing has moved
    right = replace(made, make_initial=lambda: made.module)
    assert margins.spectral_init_main(right) == margins.spectral_complexity(right) == -math.inf


class Repeated(nn.Module):
    """A layer that is called twice, which is two factors of the network's Lipschitz constant."""

    def __init__(self):
        super().__init__()
        self.again, self.last = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)

    def forward(self, x):
        return self.last(self.again(self.again(x)))


def test_a_product_over_layers_has_none_that_is_called_twice():
    made = of_module(Repeated().double(), *small_data(), initial=Repeated().double())
    products = (norms.log_spectral_product, norms.log_frobenius_product, margins.spectral_over_margin, margins.spectral_complexity)
    for product in products:
        with pytest.raises(NotComputable, match="layer again is called more than once"):
            product(made)
    assert norms.parameter_norm(made) == pytest.approx(sum(float(p.detach().square().sum()) for p in made.module.parameters()))


def test_inputs_of_zeros_have_no_complexity():
    linear, zero = nn.Linear(2, 2).double(), nn.Linear(2, 2).double()
    made = of_module(linear, torch.zeros(10, 2).double(), torch.zeros(10, dtype=torch.int64), initial=zero)
    with torch.no_grad():
        made.module.bias.copy_(torch.tensor([1.0, 0.0]))
    assert margins.spectral_complexity(made) == -math.inf


def test_the_input_margin_of_a_linear_classifier_is_the_distance_to_its_boundary():
    made, inputs = linear_classifier(), small_data(3, n=25)[0]
    W, b = made.module[0].weight.detach().numpy(), made.module[0].bias.detach().numpy()
    z = inputs.numpy() @ W.T + b
    distances = []
    for i, y in enumerate(made.labels.tolist()):
        j = max((c for c in range(3) if c != y), key=lambda c: z[i, c])
        distances.append((z[i, y] - z[i, j]) / np.linalg.norm(W[y] - W[j]))
    assert margins.input_margin(made) == pytest.approx(-np.median(distances))


def test_the_hidden_margin_is_that_of_the_inputs_where_the_first_layer_is_the_identity():
    made, inputs = linear_classifier(), small_data(3, n=25)[0]
    identity = nn.Linear(3, 3, bias=False).double()
    identity.weight.data = torch.eye(3).double()
    behind = of_module(nn.Sequential(identity, *made.module), inputs, made.labels)
    distances = margins._distances(made, hidden=False)[0].numpy()
    spread = np.sqrt(np.trace(np.cov(inputs.numpy().T, bias=True)))
    assert margins.hidden_margin(behind) == pytest.approx(-np.quantile(distances, (0.25, 0.5, 0.75)).mean() / spread)
    repeated = of_module(nn.Sequential(identity, *made.module), inputs.repeat(3, 1), made.labels.repeat(3))  # appendix A16: no n in it
    assert margins.hidden_margin(repeated) == pytest.approx(margins.hidden_margin(behind), rel=0.05)
    with pytest.raises(NotComputable, match="the network has no hidden layer"):
        margins.hidden_margin(made)


def test_transport_in_one_dimension_is_by_sorting():
    """Features of one dimension: W₁ of two halves is the mean difference of the sorted ones."""
    generator = np.random.default_rng(0)
    features = np.concatenate([generator.normal(size=(40, 1)), generator.normal(3, 2, size=(40, 1))])
    linear = nn.Linear(1, 2).double()
    linear.weight.data, linear.bias.data = torch.tensor([[0.0], [2.0]]).double(), torch.tensor([3.0, 0.0]).double()
    labels = torch.arange(80) // 40
    made = of_module(linear, torch.from_numpy(features), labels, seed=4)
    spread = 0.0
    for c in range(2):
        own = np.sort(features[40 * c : 40 * c + 40], axis=0)
        order = margins.seeds.generator(4, "measures/halves").permutation(40)
        spread += np.abs(np.sort(own[order[:20]], axis=0) - np.sort(own[order[20:]], axis=0)).mean() / 2
    assert margins.optimal_transport_margin(made) == pytest.approx(-float(np.median(made.margins)) / (2 * spread))


class Constant(nn.Module):
    """A network with a buffer that is added to a hidden layer, or multiplies its weights."""

    def __init__(self, values, added):
        super().__init__()
        self.first, self.last, self.added = nn.Linear(3, 4), nn.Linear(4, 3), added
        self.register_buffer("values", values)

    def forward(self, x):
        if self.added:
            return self.last(torch.relu(self.first(x) + self.values))
        return self.last(torch.relu(F.linear(x, self.first.weight * self.values, self.first.bias)))


def test_a_buffer_that_is_not_its_own_square_is_a_reason_for_no_path_norm():
    """A buffer would be added or multiplied as it is, where weights are squared."""
    for values, added in ((torch.tensor([0.5, -2, 3, 0]), True), (torch.full((4, 3), 0.5), False)):
        with pytest.raises(NotComputable, match="a tensor that is no parameter, such as a buffer"):
            norms.log_path_norm(of_module(Constant(values, added), *small_data()))
    module = Constant(torch.tensor([[1.0, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0]]), False).double()  # of a pruned network
    h = (module.first.weight.square() * module.values) @ torch.ones(3).double() + module.first.bias.square()
    expected = float((module.last.weight.square() @ h + module.last.bias.square()).sum().detach())
    assert norms.log_path_norm(of_module(module, *small_data())) == pytest.approx(math.log(expected))


def test_distances_leave_out_no_embedding():
    made = as_fitted(Tokens(), (torch.arange(24).view(6, 4) % 5, torch.arange(6) % 3), initial=Tokens())
    for function in (norms.parameter_norm, norms.distance, norms.angular_distance):
        with pytest.raises(NotComputable, match=r"weight table.weight is not that of a linear layer"):
            function(made)
