import pytest
import torch
from torch import nn
from torch.nn import functional as F

from shattering.errors import InputError
from shattering.networks import IMAGENET_SHAPE, add_dropout, build_network, count_parameters
from shattering.networks.inception_v3 import InceptionV3

# (name, channels in, 0 for the module's own, filters, kernel) of the published state dict, module by module.
STEM = [("1a_3x3", 3, 32, (3, 3)), ("2a_3x3", 32, 32, (3, 3)), ("2b_3x3", 32, 64, (3, 3)), ("3b_1x1", 64, 80, (1, 1))]
STEM += [("4a_3x3", 80, 192, (3, 3))]
DOUBLE = [("branch3x3dbl_1", 0, 64, (1, 1)), ("branch3x3dbl_2", 64, 96, (3, 3)), ("branch3x3dbl_3", 96, 96, (3, 3))]
A = [("branch1x1", 0, 64, (1, 1)), ("branch5x5_1", 0, 48, (1, 1)), ("branch5x5_2", 48, 64, (5, 5)), *DOUBLE]
B = [("branch3x3", 0, 384, (3, 3)), *DOUBLE]
D = [("branch3x3_1", 0, 192, (1, 1)), ("branch3x3_2", 192, 320, (3, 3)), ("branch7x7x3_1", 0, 192, (1, 1))]
D += [("branch7x7x3_2", 192, 192, (1, 7)), ("branch7x7x3_3", 192, 192, (7, 1)), ("branch7x7x3_4", 192, 192, (3, 3))]
E = [("branch1x1", 0, 320, (1, 1)), ("branch3x3_1", 0, 384, (1, 1)), ("branch3x3_2a", 384, 384, (1, 3))]
E += [("branch3x3_2b", 384, 384, (3, 1)), ("branch3x3dbl_1", 0, 448, (1, 1)), ("branch3x3dbl_2", 448, 384, (3, 3))]
E += [("branch3x3dbl_3a", 384, 384, (1, 3)), ("branch3x3dbl_3b", 384, 384, (3, 1)), ("branch_pool", 0, 192, (1, 1))]
HEAD = [("conv0", 768, 128, (1, 1)), ("conv1", 128, 768, (5, 5))]


def c(width):
    single = [("branch7x7_1", 0, width, (1, 1)), ("branch7x7_2", width, width, (1, 7)), ("branch7x7_3", width, 192, (7, 1))]
    kernels = [(7, 1), (1, 7), (7, 1)]
    double = [("branch7x7dbl_1", 0, width, (1, 1)), *((f"branch7x7dbl_{i}", width, width, k) for i, k in enumerate(kernels, 2))]
    double += [("branch7x7dbl_5", width, 192, (1, 7))]
    return [("branch1x1", 0, 192, (1, 1)), *single, *double, ("branch_pool", 0, 192, (1, 1))]


def pool(filters):
    return [("branch_pool", 0, filters, (1, 1))]


MODULES = {
    "5b": (192, A + pool(32)),
    "5c": (256, A + pool(64)),
    "5d": (288, A + pool(64)),
    "6a": (288, B),
    "6b": (768, c(128)),
    "6c": (768, c(160)),
    "6d": (768, c(160)),
    "6e": (768, c(192)),
    "7a": (768, D),
    "7b": (1280, E),
    "7c": (2048, E),
}


def published(n_classes=1000, auxiliary=True):
    """Name → shape of every tensor of torchvision's `inception_v3_google`."""
    convs = [(f"Conv2d_{name}", fan_in, filters, kernel) for name, fan_in, filters, kernel in STEM]
    for name, (width, layers) in MODULES.items():
        convs += [(f"Mixed_{name}.{layer}", fan_in or width, filters, kernel) for layer, fan_in, filters, kernel in layers]
    convs += [(f"AuxLogits.{name}", fan_in, filters, kernel) for name, fan_in, filters, kernel in HEAD if auxiliary]
    shapes = {"fc.weight": (n_classes, 2048), "fc.bias": (n_classes,)}
    shapes |= {"AuxLogits.fc.weight": (n_classes, 768), "AuxLogits.fc.bias": (n_classes,)} if auxiliary else {}
    for name, fan_in, filters, kernel in convs:
        shapes[f"{name}.conv.weight"] = (filters, fan_in, *kernel)
        shapes |= {f"{name}.bn.{part}": (filters,) for part in ("weight", "bias", "running_mean", "running_var")}
        shapes[f"{name}.bn.num_batches_tracked"] = ()
    return shapes


def on_meta(**kwargs):
    with torch.device("meta"):
        return build_network("inception-v3", IMAGENET_SHAPE, 1000, 0, **kwargs)


@pytest.fixture(scope="module")
def module() -> InceptionV3:
    """On 7 classes, with an auxiliary classifier, and batch normalization as if it had been trained."""
    built = build_network("inception-v3", (3, 75, 75), 7, 0, auxiliary=True)
    generator = torch.Generator().manual_seed(1)
    for layer in built.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for tensor, low in ((layer.weight.data, 0.5), (layer.bias.data, -0.5), (layer.running_var, 0.5), (layer.running_mean, -0.5)):
                tensor.uniform_(low, low + 1, generator=generator)  # type: ignore[union-attr]  # values of a state are tensors
    return built.eval()  # type: ignore[return-value]  # eval returns the module itself


@pytest.mark.parametrize(("auxiliary", "count", "tensors"), [(False, 23_834_568, 284), (True, 27_161_264, 292)])
def test_size_and_names_are_the_published_ones(auxiliary, count, tensors):
    network = on_meta(auxiliary=auxiliary)
    assert count_parameters(network) == count
    assert len(list(network.parameters())) == tensors
    assert {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()} == published(auxiliary=auxiliary)


def test_maps_are_35_17_8_as_published(module):
    sizes = {}
    keep = lambda name: lambda _, __, out: sizes.__setitem__(name, tuple(out.shape[1:]))  # noqa: E731
    hooks = [part.register_forward_hook(keep(name)) for name, part in module.named_children()]
    with torch.no_grad():
        assert module(torch.zeros(1, *IMAGENET_SHAPE)).shape == (1, 7)
    for hook in hooks:
        hook.remove()
    assert [sizes[name][1] for name in ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "maxpool1", "Conv2d_4a_3x3", "maxpool2")] == [
        149,
        147,
        73,
        71,
        35,
    ]
    assert {sizes[f"Mixed_{name}"] for name in ("5c", "5d")} == {(288, 35, 35)}
    assert {sizes[f"Mixed_{name}"] for name in ("6a", "6b", "6e")} == {(768, 17, 17)}
    assert [sizes[f"Mixed_{name}"] for name in ("7a", "7b", "7c")] == [(1280, 8, 8), (2048, 8, 8), (2048, 8, 8)]


class Slow:
    """The published network in evaluation mode, layer by layer from a state dict."""

    def __init__(self, state):
        self.state = state

    def conv(self, x, name, stride=1, pad=True):
        part = {key.removeprefix(f"{name}."): value for key, value in self.state.items() if key.startswith(f"{name}.")}
        kernel = part["conv.weight"].shape[2:]
        x = F.conv2d(x, part["conv.weight"], None, stride, [k // 2 for k in kernel] if pad and stride == 1 else 0)
        scale = part["bn.weight"] / (part["bn.running_var"] + 0.001).sqrt()
        return (x * scale[:, None, None] + (part["bn.bias"] - part["bn.running_mean"] * scale)[:, None, None]).clamp(min=0)

    def chain(self, x, name, *numbers, last=1):
        for number in numbers:
            x = self.conv(x, f"{name}_{number}", last if number == numbers[-1] else 1)
        return x

    def split(self, x, name, number):
        return torch.cat([self.conv(x, f"{name}_{number}a"), self.conv(x, f"{name}_{number}b")], 1)

    def mixed(self, x, name):
        m, kind = f"Mixed_{name}", {"6a": "B", "7a": "D"}.get(name, "ACE"[int(name[0]) - 5])
        pooled = F.max_pool2d(x, 3, 2) if kind in "BD" else self.conv(F.avg_pool2d(x, 3, 1, 1), f"{m}.branch_pool")
        first = [] if kind in "BD" else [self.conv(x, f"{m}.branch1x1")]
        if kind == "A":
            parts = [self.chain(x, f"{m}.branch5x5", 1, 2), self.chain(x, f"{m}.branch3x3dbl", 1, 2, 3)]
        elif kind == "B":
            parts = [self.conv(x, f"{m}.branch3x3", 2), self.chain(x, f"{m}.branch3x3dbl", 1, 2, 3, last=2)]
        elif kind == "C":
            parts = [self.chain(x, f"{m}.branch7x7", 1, 2, 3), self.chain(x, f"{m}.branch7x7dbl", 1, 2, 3, 4, 5)]
        elif kind == "D":
            parts = [self.chain(x, f"{m}.branch3x3", 1, 2, last=2), self.chain(x, f"{m}.branch7x7x3", 1, 2, 3, 4, last=2)]
        else:
            double = self.chain(x, f"{m}.branch3x3dbl", 1, 2)
            parts = [self.split(self.chain(x, f"{m}.branch3x3", 1), f"{m}.branch3x3", 2), self.split(double, f"{m}.branch3x3dbl", 3)]
        return torch.cat([*first, *parts, pooled], 1)

    def __call__(self, x):
        x = self.conv(x, "Conv2d_1a_3x3", 2)
        x = self.conv(self.conv(x, "Conv2d_2a_3x3", pad=False), "Conv2d_2b_3x3")
        x = self.conv(self.conv(F.max_pool2d(x, 3, 2), "Conv2d_3b_1x1"), "Conv2d_4a_3x3", pad=False)
        x = F.max_pool2d(x, 3, 2)
        for name in MODULES:
            x = self.mixed(x, name)
        return x.mean((2, 3)) @ self.state["fc.weight"].T + self.state["fc.bias"]


@pytest.mark.parametrize("side", [75, 110])
def test_it_computes_what_the_slow_version_does(module, side):
    images = torch.randn(2, 3, side, side + 7, generator=torch.Generator().manual_seed(side))
    with torch.no_grad():
        ours, slow = module(images), Slow(module.state_dict())(images)
    assert (ours[0] - ours[1]).abs().max() > 1e-3
    torch.testing.assert_close(ours, slow, atol=1e-4, rtol=1e-4)


def test_the_auxiliary_classifier_sees_a_5x5_map_of_the_17x17_stage(module):
    head = module.AuxLogits
    assert head is not None
    maps = torch.randn(2, 768, 17, 17, generator=torch.Generator().manual_seed(0))
    slow = Slow({f"x.{name}": value for name, value in head.state_dict().items()})
    with torch.no_grad():
        x = slow.conv(slow.conv(F.avg_pool2d(maps, 5, 3), "x.conv0"), "x.conv1", pad=False)
        assert x.shape == (2, 768, 1, 1)
        torch.testing.assert_close(head(maps), head.fc(x.flatten(1)))
        assert head(maps[:, :, :3, :3]).shape == (2, 7), "the map of a 75x75 image"


def test_forward_and_backward_on_a_tiny_batch_reach_every_parameter(module):
    network = build_network("inception-v3", (3, 75, 75), 7, 0, auxiliary=True)
    logits, auxiliary = network(torch.randn(3, 3, 75, 75, generator=torch.Generator().manual_seed(0)))
    (F.cross_entropy(logits, torch.arange(3)) + 0.4 * F.cross_entropy(auxiliary, torch.arange(3))).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())
    assert all(float(p.grad.abs().max()) > 0 for name, p in network.named_parameters() if name.endswith("fc.weight"))
    assert isinstance(module(torch.zeros(1, 3, 75, 75)), torch.Tensor), "in evaluation mode there are the logits alone"


def test_initial_weights_are_truncated_normal():
    network = build_network("inception-v3", (1, 75, 90), 300, 0, auxiliary=True)
    for name, std in (("Conv2d_4a_3x3.conv", 0.1), ("AuxLogits.conv1.conv", 0.01), ("AuxLogits.fc", 0.001), ("fc", 0.01)):
        weight = network.get_parameter(f"{name}.weight").detach()
        assert weight.abs().max() <= 2 * std * (1 + 1e-5)
        assert weight.std().item() == pytest.approx(0.8796 * std, rel=0.02), "of a normal cut at two deviations"
    assert network.get_parameter("Conv2d_1a_3x3.conv.weight").shape == (32, 1, 3, 3)
    norms = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum, norm.affine) for norm in norms} == {(0.001, 0.1, True)}
    assert len(norms) == 96


def test_dropout_is_before_the_last_layers():
    network = on_meta(auxiliary=True)
    add_dropout(network, 0.2)
    assert [name for name, layer in network.named_modules() if layer._forward_pre_hooks] == ["AuxLogits.fc", "fc"]


@pytest.mark.parametrize(("height", "width"), [(74, 75), (75, 74), (32, 32)])
def test_images_that_are_too_small(height, width):
    with pytest.raises(InputError, match=f"'inception-v3' got images of {width}x{height} pixels, expected at least 75x75"):
        build_network("inception-v3", (3, height, width), 10, 0)


def test_networks_without_an_auxiliary_classifier():
    with pytest.raises(
        InputError, match="auxiliary needs a network with an auxiliary classifier, found 'alexnet', expected 'inception-v3'"
    ):
        build_network("alexnet", (3, 28, 28), 10, 0, auxiliary=True)
