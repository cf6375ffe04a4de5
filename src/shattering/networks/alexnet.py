"""Small AlexNet (ICLR 2017, appendix A) and a smaller convolutional network for small images."""

from torch import nn

from shattering.networks.mlp import mlp


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
            nn.LocalResponseNorm(9, alpha=0.001, beta=0.75, k=1.0),  # torch divides alpha by the size, 9
        ]
    return nn.Sequential(*layers, mlp((64, _halved(height, 2), _halved(width, 2)), n_classes, (384, 192)))


def small_cnn(image_shape: tuple[int, ...], n_classes: int) -> nn.Module:
    """Two conv 3x3 of 32 channels, max-pool 3x3/2, conv 3x3 of 64, max-pool 3x3/2; then 128-classes. Not in the papers."""
    channels, height, width = image_shape
    return nn.Sequential(
        nn.Conv2d(channels, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, padding=1),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, padding=1),
        mlp((64, _halved(height, 2), _halved(width, 2)), n_classes, (128,)),
    )
