"""Small AlexNet (ICLR 2017, appendix A) and a smaller convolutional network for small images."""

import torch
from torch import nn
from torch.nn import functional as F

from shattering.networks.mlp import mlp


class LocalResponseNorm(nn.Module):
    """x / (k + alpha Σ x²)^0.75, the sum over the `radius` channels on either side and the channel itself.

    The same function as torch.nn.LocalResponseNorm(2 radius + 1, alpha (2 radius + 1), 0.75, k), which sums by a
    three-dimensional pooling; a product with a banded matrix is faster.
    """

    def __init__(self, channels: int, radius: int = 4, alpha: float = 0.001 / 9, k: float = 1.0):
        super().__init__()
        self.k = k
        distance = (torch.arange(channels)[:, None] - torch.arange(channels)).abs()
        self.register_buffer("band", alpha * (distance <= radius).float()[:, :, None, None], persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        scale = (F.conv2d(images.square(), self.band) + self.k).rsqrt()  # type: ignore[arg-type]  # a buffer is a tensor
        return images * (scale * scale.sqrt())


def _halved(size: int, times: int) -> int:
    for _ in range(times):
        size = (size + 1) // 2
    return size


def alexnet(image_shape: tuple[int, ...], n_classes: int) -> nn.Module:
    """Small AlexNet: two modules of conv 5x5, max-pool 3x3/2, local response normalization; then 384-192-classes.

    1,387,786 parameters on 28x28x3 images of 10 classes. The normalization's constants, which the paper does not
    give, are those of the TensorFlow tutorial of its time: radius 4, bias 1, alpha 0.001/9, beta 0.75.
    """
    channels, height, width = image_shape
    layers: list[nn.Module] = []
    for fan_in in (channels, 64):
        layers += [
            nn.Conv2d(fan_in, 64, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, padding=1),
            LocalResponseNorm(64),
        ]
    return nn.Sequential(*layers, mlp((64, _halved(height, 2), _halved(width, 2)), n_classes, (384, 192)))


def small_cnn(image_shape: tuple[int, ...], n_classes: int, width: int = 32) -> nn.Module:
    """Two conv 3x3 of 32 channels, max-pool 3x3/2, conv 3x3 of 64, max-pool 3x3/2; then 128-classes. Not in the papers.

    width: the channels of the first two convolutions, in place of 32; the third has twice as many, the layer before the classes four times.
    """
    channels, height, width_in = image_shape
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, padding=1),
        nn.Conv2d(width, 2 * width, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, padding=1),
        mlp((2 * width, _halved(height, 2), _halved(width_in, 2)), n_classes, (4 * width,)),
    )
