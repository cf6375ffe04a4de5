import numpy as np
import pytest
import torch
from torch import nn

from shattering.errors import InputError
from shattering.networks import CIFAR_SHAPE, NETWORKS, build_network, count_parameters, find_network, initial_learning_rate
from shattering.networks.alexnet import LocalResponseNorm
from shattering.networks.inception import inception

PAPER = {"inception": 1_649_402, "inception-no-bn": 1_649_402, "alexnet": 1_387_786, "mlp-3x512": 1_735_178, "mlp-1x512": 1_209_866}


@pytest.mark.parametrize(("name", "count"), PAPER.items())
def test_parameter_counts_are_the_papers(name, count):
    assert count_parameters(build_network(name, CIFAR_SHAPE, 10, 0)) == count


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "inception-v3"])
@pytest.mark.parametrize("shape", [(3, 28, 28), (1, 8, 8), (3, 32, 32), (4, 13, 17), (1, 28, 28)])
def test_networks_adapt_to_images_and_classes(name, shape):
    module = build_network(name, shape, 7, 0).eval()
    assert module(torch.zeros(2, *shape)).shape == (2, 7)


def test_inception_maps_are_28_14_7_and_336_wide():
    module = build_network("inception", CIFAR_SHAPE, 10, 0).eval()
    sizes = []
    for part in module[:-3]:
        part.register_forward_hook(lambda _, __, out: sizes.append(tuple(out.shape[1:])))
    module(torch.zeros(1, *CIFAR_SHAPE))
    assert [h for _, h, _ in sizes] == [28] * 3 + [14] * 5 + [7] * 3
    assert [c for c, _, _ in sizes] == [96, 64, 80, 160, 160, 160, 160, 144, 240, 336, 336]


def test_without_batch_norm_there_is_none_and_with_it_there_is_no_scale():
    norms = [m for m in build_network("inception", CIFAR_SHAPE, 10, 0).modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms
    assert all([name for name, _ in norm.named_parameters()] == ["bias"] for norm in norms)
    plain = build_network("inception-no-bn", CIFAR_SHAPE, 10, 0)
    assert not [m for m in plain.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert all(m.bias is not None for m in plain.modules() if isinstance(m, nn.Conv2d))


def test_without_batch_norm_images_are_told_apart_at_initialization():
    images = torch.randn(50, *CIFAR_SHAPE, generator=torch.Generator().manual_seed(0))
    default = build_network(lambda shape, k: inception(shape, k, batch_norm=False), CIFAR_SHAPE, 10, 0)
    ours = build_network("inception-no-bn", CIFAR_SHAPE, 10, 0)
    with torch.no_grad():
        spread = [network[:-1](images).std(0).mean().item() for network in (default, ours)]
    assert spread[1] > 0.02
    assert spread[1] > 50 * spread[0]


def test_alexnet_pools_then_normalizes():
    kinds = [type(m) for m in build_network("alexnet", CIFAR_SHAPE, 10, 0).children()]
    assert kinds[:4] == [nn.Conv2d, nn.ReLU, nn.MaxPool2d, LocalResponseNorm]


def test_local_response_normalization_is_torchs():
    images = 3 * torch.randn(2, 64, 5, 4, generator=torch.Generator().manual_seed(0))
    expected = nn.LocalResponseNorm(9, alpha=0.001, beta=0.75, k=1.0)(images)  # torch divides alpha by the size
    torch.testing.assert_close(LocalResponseNorm(64)(images), expected)


def test_initialization_depends_on_the_seed_alone_and_leaves_the_global_generator():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, two, other = (build_network("small-cnn", (1, 8, 8), 10, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    weights = [np.concatenate([p.detach().flatten() for p in m.parameters()]) for m in (one, two, other)]
    assert (weights[0] == weights[1]).all()
    assert (weights[0] != weights[2]).any()


def test_any_factory_works_and_bad_input_is_named():
    assert build_network(lambda shape, k: nn.Sequential(nn.Flatten(), nn.Linear(12, k)), (3, 2, 2), 5, 0)(
        torch.zeros(1, 3, 2, 2)
    ).shape == (1, 5)
    with pytest.raises(InputError, match="unknown network 'alexnets'; did you mean 'alexnet'"):
        build_network("alexnets", CIFAR_SHAPE, 10, 0)
    with pytest.raises(InputError, match=r"network 'alexnet' got examples of shape \(20,\), expected images"):
        build_network("alexnet", (20,), 10, 0)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (nn.Linear(4, 2), "network is a module, Linear; expected a factory"),
        (lambda: nn.Flatten(), r"<lambda> cannot be called with an image shape and a number of classes \(too many positional arguments\)"),
        (nn.Linear, r"^Linear raised '.*' for the image shape \(1, 2, 2\) and 2 classes, .* lambda image_shape, n_classes: Linear\(…\)$"),
        (lambda a, b, c: nn.Flatten(), r"missing a required argument: 'c'.*; expected a factory"),
    ],
)
def test_what_is_no_factory_is_named(network, message):
    with pytest.raises(InputError, match=message):
        build_network(network, (1, 2, 2), 2, 0)


def test_a_small_cnn_has_any_width():
    usual, same, narrow = (build_network(name, (3, 8, 8), 10, 0) for name in ("small-cnn", "small-cnn-32", "small-cnn-4"))
    assert all(torch.equal(a, b) for a, b in zip(usual.parameters(), same.parameters(), strict=True))
    assert [m.out_channels for m in narrow.modules() if isinstance(m, nn.Conv2d)] == [4, 4, 8]
    assert [m.out_features for m in narrow.modules() if isinstance(m, nn.Linear)] == [16, 10]
    with pytest.raises(InputError, match=r"network 'small-cnn-4' got examples of shape \(20,\), expected images"):
        build_network("small-cnn-4", (20,), 10, 0)
    with pytest.raises(InputError, match="unknown network 'small-cnn-0'"):
        build_network("small-cnn-0", (3, 8, 8), 10, 0)


def test_learning_rates():
    assert [initial_learning_rate(n) for n in ("inception", "inception-no-bn", "alexnet", "mlp-1x512")] == [0.1, 0.1, 0.01, 0.01]
    assert initial_learning_rate("inception-v3") == 0.045


@pytest.mark.parametrize(("name", "hidden"), [("mlp-1x7", (7,)), ("mlp-4x33", (33,) * 4)])
def test_perceptrons_of_any_size_by_name(name, hidden):
    module = build_network(name, (3, 4, 5), 6, seed=0)
    linear = [m for m in module.modules() if isinstance(m, nn.Linear)]
    assert [m.out_features for m in linear] == [*hidden, 6]


@pytest.mark.parametrize("name", ["mlp-0x3", "mlp-1x0", "mlp-x5", "mlp-3", "mlp-1x5x5", "resnet"])
def test_names_that_are_no_network(name):
    with pytest.raises(InputError, match=f"unknown network '{name}'; did you mean"):
        find_network(name)
