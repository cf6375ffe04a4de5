"""Small Inception for CIFAR-10 (ICLR 2017, figure 3), with and without batch normalization."""

import torch
from torch import nn

# (a, b): an Inception module of a 1x1 and b 3x3 filters; c: a downsampling module of c 3x3/2 filters.
_STAGES = ((32, 32), (32, 48), 80, (112, 48), (96, 64), (80, 80), (48, 96), 96, (176, 160), (176, 160))


class OffsetBatchNorm2d(nn.BatchNorm2d):
    """Batch normalization with a learned offset and no learned scale: one parameter per channel."""

    def __init__(self, channels: int):
        super().__init__(channels)
        del self.weight
        self.register_buffer("weight", torch.ones(channels), persistent=False)

    def reset_parameters(self) -> None:
        self.reset_running_stats()
        nn.init.zeros_(self.bias)


def _conv(fan_in: int, fan_out: int, kernel: int, stride: int, batch_norm: bool) -> nn.Module:
    conv = nn.Conv2d(fan_in, fan_out, kernel, stride, padding=kernel // 2, bias=not batch_norm)
    return nn.Sequential(conv, OffsetBatchNorm2d(fan_out), nn.ReLU()) if batch_norm else nn.Sequential(conv, nn.ReLU())


class _Concat(nn.Module):
    """Branches on the same input, concatenated over channels."""

    def __init__(self, *branches: nn.Module):
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.cat([branch(images) for branch in self.branches], dim=1)


def inception(image_shape: tuple[int, ...], n_classes: int, batch_norm: bool = True) -> nn.Module:
    """Small Inception: 1,649,402 parameters on 28x28x3 images of 10 classes.

    The mean-pool before the linear layer covers the whole map: 7x7 for 28x28 images, as in the paper.
    """
    width = 96
    layers = [_conv(image_shape[0], width, 3, 1, batch_norm)]
    for stage in _STAGES:
        if isinstance(stage, tuple):
            a, b = stage
            layers.append(_Concat(_conv(width, a, 1, 1, batch_norm), _conv(width, b, 3, 1, batch_norm)))
            width = a + b
        else:
            layers.append(_Concat(_conv(width, stage, 3, 2, batch_norm), nn.MaxPool2d(3, 2, padding=1)))
            width += stage
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, n_classes))


def inception_without_batch_norm(image_shape: tuple[int, ...], n_classes: int) -> nn.Module:
    """Small Inception with every batch normalization removed and a bias in each convolution instead: 1,649,402 parameters.

    Its convolutions are initialized after He et al. (2015): with PyTorch's default, which suits one layer followed by
    batch normalization, the differences between images die on the way through twelve layers.
    """
    network = inception(image_shape, n_classes, batch_norm=False)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]  # the bias is there
    return network
