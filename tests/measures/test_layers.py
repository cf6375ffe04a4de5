"""Operators of layers against their dense matrices, and batch normalization folded into them."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from shattering.measures import layers, norms
from shattering.measures.fitted import NotComputable
from tests.measures.networks import fitted, of_module, small_data, trained


def dense(layer: nn.Module, shape: tuple[int, ...]) -> np.ndarray:
    """The matrix of x ↦ layer(x) − layer(0), column by column."""
    layer = layer.double()
    size = int(np.prod(shape))
    with torch.no_grad():
        columns = layer(torch.eye(size, dtype=torch.float64).view(size, *shape)) - layer(torch.zeros(1, *shape, dtype=torch.float64))
    return columns.flatten(1).T.numpy()


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv2d(2, 5, 3, stride=stride, padding=padding, dilation=dilation), (2, 8, 7))
        for stride, padding, dilation in itertools.product((1, 2), (0, 1), (1, 2))
    ]
    + [
        (nn.Linear(5, 7), (5,)),
        (nn.Linear(70, 3), (70,)),
        (nn.Conv2d(4, 4, 3, groups=2, padding=1), (4, 6, 6)),
        (nn.Conv2d(3, 2, 3, padding=1, padding_mode="circular"), (3, 6, 6)),
        (nn.Conv2d(2, 2, 3, padding="same", padding_mode="reflect"), (2, 7, 7)),
        (nn.Conv1d(3, 4, 3, stride=2), (3, 30)),
        (nn.ConvTranspose2d(3, 2, 3, stride=2, output_padding=1), (3, 5, 5)),
        (nn.Conv2d(1, 1, 2), (1, 2, 2)),
    ],
)
def test_operator_norms_are_those_of_the_dense_matrix(layer, shape):
    layer.register_forward_pre_hook(lambda module, inputs: (2 * inputs[0],))  # not a part of the operator
    norm = layers.operator_norm(layer, layer.weight, shape)
    expected = np.linalg.svd(dense(layer, shape) / 2, compute_uv=False)[0]
    assert norm == pytest.approx(expected, rel=1e-8)


def test_a_convolution_lies_between_bounds_of_its_reshaped_kernel_and_below_the_circular_one():
    """Appendix A4: the FFT norm at another size and without the stride is another number."""
    torch.manual_seed(0)
    kernel = torch.randn(4, 3, 3, 3, dtype=torch.float64)
    reshaped = layers.spectral_norm(kernel.flatten(1))
    padded = np.linalg.svd(np.fft.fft2(kernel.numpy().transpose(2, 3, 1, 0), (10, 10), axes=(0, 1)), compute_uv=False).max()
    found = {}
    for stride in (1, 2):
        conv = nn.Conv2d(3, 4, 3, stride=stride, padding=1)
        found[stride] = layers.operator_norm(conv, kernel, (3, 8, 8))
        assert found[stride] <= 3 * reshaped
    assert reshaped < found[1] <= padded
    assert found[2] < found[1]


def test_a_layer_of_zeros_has_norm_zero():
    assert layers.operator_norm(nn.Conv2d(2, 2, 3), torch.zeros(2, 2, 3, 3), (2, 9, 9)) == 0


@pytest.mark.parametrize("name", ["mlp", "alexnet", "inception", "inception-no-bn", "branches"])
def test_layers_are_found_and_folding_leaves_the_function(name):
    made = fitted(name)
    counts = {"mlp": 3, "alexnet": 5, "inception": 20, "inception-no-bn": 20, "branches": 4}
    assert len(made.layers) == counts[name]
    inputs = made.inputs(torch.arange(10))
    torch.testing.assert_close(made.folded(inputs), made.module(inputs), rtol=1e-5, atol=1e-5)
    assert not any(isinstance(module, layers.BATCH_NORMS) for module in made.folded.modules())
    assert [layer.name for layer in made.folded_layers] == [layer.name for layer in made.layers]
    if name == "inception":
        assert any(isinstance(module, layers.BATCH_NORMS) for module in made.module.modules())
        assert not torch.equal(made.weights()[0], made.layers[0].weight)


class OutOfOrder(nn.Module):
    """Normalizations that are registered before, and elsewhere than, the layers that they follow; one layer has no bias."""

    def __init__(self):
        super().__init__()
        self.norms = nn.ModuleList([nn.BatchNorm1d(4), nn.BatchNorm2d(3, affine=False)])
        self.last = nn.Linear(4, 3)
        self.dense = nn.Linear(3 * 16, 4)
        self.conv = nn.Conv2d(1, 3, 3, padding=1, bias=False)

    def forward(self, images):
        h = torch.relu(self.norms[1](self.conv(images)))
        return self.last(torch.relu(self.norms[0](self.dense(h.flatten(1)))))


def with_statistics(module: nn.Module) -> nn.Module:
    """Give its batch normalizations statistics, scales and offsets that are not those of the initialization."""
    generator = torch.Generator().manual_seed(3)
    for norm in module.modules():
        if isinstance(norm, layers.BATCH_NORMS):
            norm.running_mean.normal_(generator=generator)
            norm.running_var.uniform_(0.5, 2, generator=generator)
            if norm.affine:
                norm.weight.data.uniform_(0.5, 2, generator=generator)
                norm.bias.data.normal_(generator=generator)
    return module


def test_folding_goes_by_the_data_not_by_the_order_of_registration():
    """Appendix A6."""
    module = with_statistics(OutOfOrder())
    inputs, labels = torch.randn(12, 1, 4, 4, dtype=torch.float64), torch.arange(12) % 3
    made = of_module(module, inputs, labels)
    torch.testing.assert_close(made.folded(inputs), made.module(inputs), rtol=1e-10, atol=1e-10)
    assert [layer.name for layer in made.folded_layers] == ["conv", "dense", "last"]
    norm, conv = made.module.norms[1], made.module.conv
    expected = conv.weight / (norm.running_var + norm.eps).sqrt()[:, None, None, None]  # nothing of epsilon is left behind
    torch.testing.assert_close(made.weights()[0], expected.detach(), rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.BatchNorm1d(4), nn.Linear(4, 3)), "batch normalization 2 does not follow"),
        (nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 3)), "batch normalization 0 does not follow a linear layer or convolution"),
    ],
)
def test_normalization_elsewhere_is_a_reason(module, reason):
    made = of_module(module, *small_data())
    with pytest.raises(NotComputable, match=reason):
        _ = made.folded
    assert len(made.layers) == len([m for m in module if isinstance(m, nn.Linear)])


def test_a_layer_with_two_readers_is_not_folded():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.norm, self.last = nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(8, 3)

        def forward(self, x):
            h = self.linear(x)
            return self.last(torch.cat([h, self.norm(h)], 1))

    with pytest.raises(NotComputable, match="the logits change"):
        _ = of_module(with_statistics(Twice()), *small_data()).folded


def test_parametrized_weights_are_their_values():
    module = nn.Sequential(weight_norm(nn.Linear(3, 4)), nn.ReLU(), nn.Linear(4, 3)).double()
    made = of_module(module, *small_data())
    torch.testing.assert_close(made.weights()[0], module[0].weight.detach())
    torch.testing.assert_close(made.layers[0].weight, module[0].weight.detach())
    assert "0.parametrizations.weight.original0" in made.parameters


def test_weights_of_other_kinds_are_a_reason():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Parameter(torch.ones(3, 3))
            self.linear = nn.Linear(3, 3)

        def forward(self, x):
            return self.linear(x @ self.table)

    made = of_module(Scaled(), *small_data())
    with pytest.raises(NotComputable, match="weight table is not that of a linear layer, a convolution or a normalization"):
        made.weights()


def test_the_order_is_that_of_the_computation():
    class Backwards(nn.Module):
        def __init__(self):
            super().__init__()
            self.second, self.unused, self.first = nn.Linear(4, 3), nn.Linear(9, 9), nn.Linear(3, 4)

        def forward(self, x):
            return self.second(torch.relu(self.first(x)))

    made = of_module(Backwards(), *small_data())
    assert [layer.name for layer in made.layers] == ["first", "second"]


def test_dropout_hooks_do_not_reach_the_operator():
    model = trained("branches")
    assert fitted("branches").layers[0].norm == pytest.approx(
        layers.operator_norm(model.module_.stem, model.module_.stem.weight, (1, 8, 8))
    )


def test_batch_normalization_without_parameters_is_folded_into_a_linear_layer():
    module = with_statistics(nn.Sequential(nn.Linear(3, 4, bias=False), nn.BatchNorm1d(4, affine=False), nn.ReLU(), nn.Linear(4, 3)))
    norm = module[1]
    made = of_module(module, *small_data())
    torch.testing.assert_close(made.weights()[0], made.layers[0].weight / (norm.running_var + norm.eps).sqrt()[:, None].double())


def test_a_grouped_transposed_convolution_has_a_row_for_each_output_and_takes_a_normalization():
    layer = nn.ConvTranspose2d(2, 6, 3, groups=2, bias=False)
    module = with_statistics(nn.Sequential(layer, nn.BatchNorm2d(6), nn.Flatten(), nn.Linear(6 * 25, 3)))
    inputs = torch.randn(6, 2, 3, 3, generator=torch.Generator().manual_seed(0)).double()
    made = of_module(module, inputs, torch.arange(6) % 3)
    torch.testing.assert_close(made.folded(inputs), made.module(inputs))
    matrix = layers.by_output(layer, layer.weight)
    assert matrix.shape == (6, 9)
    torch.testing.assert_close(matrix[3:], layer.weight[1].flatten(1))


def test_a_normalization_of_another_axis_is_a_reason():
    module = nn.Sequential(nn.Unflatten(1, (3, 1)), nn.Linear(1, 4), nn.BatchNorm1d(3), nn.Flatten(), nn.Linear(12, 3))
    with pytest.raises(NotComputable, match="batch normalization 2 does not normalize the outputs of the layer before it"):
        of_module(with_statistics(module), *small_data()).weights()


def test_a_weight_that_is_used_without_its_layer_is_a_reason():
    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last, self.unused = nn.Linear(3, 4), nn.Linear(4, 3), nn.Linear(9, 9)

        def forward(self, x):
            return self.last(torch.relu(nn.functional.linear(x, self.first.weight)))

    with pytest.raises(NotComputable, match=r"weight first\.weight is used without a call of its layer"):
        of_module(Functional(), *small_data()).weights()
    assert len(of_module(nn.Sequential(nn.Linear(3, 3)), *small_data()).weights()) == 1


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated")
@pytest.mark.parametrize("form", [nn.utils.weight_norm, nn.utils.spectral_norm])
def test_older_forms_of_normalized_weights_are_copied_after_training_and_are_their_values(form):
    """A hook computes their weights, which are no leaves of the graph, so that torch does not copy them."""
    torch.manual_seed(0)
    inputs, labels = torch.randn(12, 3), torch.arange(12) % 2
    module = nn.Sequential(form(nn.Linear(3, 4)), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))
    F.cross_entropy(module(inputs), labels).backward()
    plain = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))
    module.eval()(inputs)
    weights = module.state_dict() | {"0.weight": module[0].weight.detach()}
    plain.load_state_dict({name: weights[name] for name in plain.state_dict()})
    for measured in (norms.parameter_norm, norms.log_spectral_product, norms.log_path_norm, parameter_norm_of_a_copy):
        assert measured(of_module(module, inputs, labels)) == pytest.approx(measured(of_module(plain, inputs, labels)), rel=1e-5)


def parameter_norm_of_a_copy(made):
    """After an evaluation with gradients the private copy has a weight with a graph, too."""
    made.module(made.inputs(torch.arange(2)))
    return norms.parameter_norm(made.copy())


class Thrice(nn.Linear):
    """A linear layer that scales its weights, as those of an equalized learning rate do."""

    def forward(self, x):
        return F.linear(x, 3 * self.weight, self.bias)


def test_the_operator_of_a_layer_of_ones_own_is_what_it_computes():
    plain, own = nn.Linear(5, 4), Thrice(5, 4)
    own.load_state_dict(plain.state_dict())
    expected = 3 * layers.operator_norm(plain, plain.weight, (5,))
    assert layers.operator_norm(own, own.weight, (5,)) == pytest.approx(expected)
