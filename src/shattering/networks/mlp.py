"""Multi-layer perceptrons (ICLR 2017, appendix A)."""

from itertools import pairwise
from math import prod

from torch import nn


def mlp(image_shape: tuple[int, ...], n_classes: int, hidden: tuple[int, ...]) -> nn.Module:
    """Build fully connected layers with ReLU after each hidden one; images are flattened."""
    widths = [prod(image_shape), *hidden]
    layers: list[nn.Module] = [nn.Flatten()]
    for fan_in, fan_out in pairwise(widths):
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], n_classes))


def mlp_1x512(image_shape: tuple[int, ...], n_classes: int) -> nn.Module:
    """One hidden layer of 512 units: 1,209,866 parameters on 28x28x3 images of 10 classes."""
    return mlp(image_shape, n_classes, (512,))


def mlp_3x512(image_shape: tuple[int, ...], n_classes: int) -> nn.Module:
    """Three hidden layers of 512 units: 1,735,178 parameters on 28x28x3 images of 10 classes."""
    return mlp(image_shape, n_classes, (512, 512, 512))
