"""Inception V3 for ImageNet (Szegedy et al., CVPR 2016), with the names of torchvision's state dict."""

import torch
from torch import nn
from torch.nn import functional as F

from shattering.errors import InputError

SMALLEST = 75  # pixels a side: the last map is then 1x1; 8x8 for 299

# A branch is a chain of stages; a stage is one convolution, or several side by side, each (filters, kernel) at stride 1
# with the size kept, or (filters, kernel, 2) at stride 2 without padding.
_Layer = tuple
_Branches = dict[str, list[list[_Layer]]]


def _a() -> _Branches:
    """Build figure 5 of Szegedy et al., its 5x5 kept in one of the branches as in the published weights."""
    return {"branch1x1": [[(64, 1)]], "branch5x5": [[(48, 1)], [(64, 5)]], "branch3x3dbl": [[(64, 1)], [(96, 3)], [(96, 3)]]}


def _b() -> _Branches:
    """Build the reduction 35x35 → 17x17."""
    return {"branch3x3": [[(384, 3, 2)]], "branch3x3dbl": [[(64, 1)], [(96, 3)], [(96, 3, 2)]]}


def _c(width: int) -> _Branches:
    """Build figure 6: 7x7 as 1x7 and 7x1."""
    row, column = [(width, (1, 7))], [(width, (7, 1))]
    last_row, last_column = [(192, (1, 7))], [(192, (7, 1))]
    chains = [[(width, 1)], row, last_column], [[(width, 1)], column, row, column, last_row]
    return {"branch1x1": [[(192, 1)]], "branch7x7": chains[0], "branch7x7dbl": chains[1]}


def _d() -> _Branches:
    """Build the reduction 17x17 → 8x8."""
    square = [[(192, 1)], [(192, (1, 7))], [(192, (7, 1))], [(192, 3, 2)]]
    return {"branch3x3": [[(192, 1)], [(320, 3, 2)]], "branch7x7x3": square}


def _e() -> _Branches:
    """Build figure 7: 1x3 and 3x1 side by side."""
    beside = [(384, (1, 3)), (384, (3, 1))]
    return {"branch1x1": [[(320, 1)]], "branch3x3": [[(384, 1)], beside], "branch3x3dbl": [[(448, 1)], [(384, 3)], beside]}


_MODULES: dict[str, tuple[_Branches, int]] = {  # name → branches; filters behind the average pool, 0: a max pool at stride 2
    "Mixed_5b": (_a(), 32),
    "Mixed_5c": (_a(), 64),
    "Mixed_5d": (_a(), 64),
    "Mixed_6a": (_b(), 0),
    "Mixed_6b": (_c(128), 192),
    "Mixed_6c": (_c(160), 192),
    "Mixed_6d": (_c(160), 192),
    "Mixed_6e": (_c(192), 192),
    "Mixed_7a": (_d(), 0),
    "Mixed_7b": (_e(), 192),
    "Mixed_7c": (_e(), 192),
}


class _Conv(nn.Module):
    """Convolution without bias, batch normalization (epsilon 0.001), ReLU; truncated normal weights (two standard deviations)."""

    def __init__(self, fan_in: int, filters: int, kernel: int | tuple[int, int], stride: int = 1, *, pad: bool = True, std: float = 0.1):
        super().__init__()
        height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (height // 2, width // 2) if pad and stride == 1 else 0
        self.conv = nn.Conv2d(fan_in, filters, (height, width), stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(filters, eps=0.001)
        _truncated_normal(self.conv.weight, std)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return F.relu(self.bn(self.conv(images)), inplace=True)


class _Mixed(nn.Module):
    """Branches on the same input, one of them behind a pool, concatenated over channels; `width` in all."""

    def __init__(self, fan_in: int, branches: _Branches, behind_pool: int):
        super().__init__()
        self.chains = [self._chain(fan_in, name, stages) for name, stages in branches.items()]
        self.halves = not behind_pool
        if behind_pool:
            self.branch_pool = _Conv(fan_in, behind_pool, 1)
        self.width = sum(layer[0] for stages in branches.values() for layer in stages[-1]) + (behind_pool or fan_in)

    def _chain(self, width: int, name: str, stages: list[list[_Layer]]) -> list[list[str]]:
        """Add the layers of a branch; gives their names, stage by stage: NAME, or NAME_1, NAME_2, …, side by side NAME_3a, NAME_3b."""
        names = []
        for i, stage in enumerate(stages, 1):
            number = f"_{i}" if len(stages) > 1 else ""
            names.append([f"{name}{number}{letter}" for letter, _ in zip("ab" if len(stage) > 1 else [""], stage, strict=True)])
            for layer_name, layer in zip(names[-1], stage, strict=True):
                self.add_module(layer_name, _Conv(width, *layer))
            width = sum(layer[0] for layer in stage)
        return names

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        outputs = []
        for chain in self.chains:
            out = images
            for names in chain:
                parts = [getattr(self, name)(out) for name in names]
                out = parts[0] if len(parts) == 1 else torch.cat(parts, 1)
            outputs.append(out)
        pooled = F.max_pool2d(images, 3, 2) if self.halves else self.branch_pool(F.avg_pool2d(images, 3, 1, padding=1))
        return torch.cat([*outputs, pooled], 1)


class _Auxiliary(nn.Module):
    """The auxiliary classifier: average pool to 5x5 (5x5/3 on a 17x17 map), conv 1x1 of 128, conv 5x5 of 768, linear."""

    def __init__(self, fan_in: int, n_classes: int):
        super().__init__()
        self.conv0 = _Conv(fan_in, 128, 1)
        self.conv1 = _Conv(128, 768, 5, pad=False, std=0.01)
        self.fc = _linear(768, n_classes, 0.001)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        pooled = F.avg_pool2d(maps, 5, 3) if min(maps.shape[2:]) >= 17 else F.adaptive_avg_pool2d(maps, 5)
        return self.fc(self.conv1(self.conv0(pooled)).mean((2, 3)))


class InceptionV3(nn.Module):
    """See `inception_v3`. With an auxiliary classifier, the output in training mode is (logits, its logits), each (b, n_classes)."""

    def __init__(self, channels: int, n_classes: int, auxiliary: bool):
        super().__init__()
        self.Conv2d_1a_3x3 = _Conv(channels, 32, 3, 2)
        self.Conv2d_2a_3x3 = _Conv(32, 32, 3, pad=False)
        self.Conv2d_2b_3x3 = _Conv(32, 64, 3)
        self.maxpool1 = nn.MaxPool2d(3, 2)
        self.Conv2d_3b_1x1 = _Conv(64, 80, 1)
        self.Conv2d_4a_3x3 = _Conv(80, 192, 3, pad=False)
        self.maxpool2 = nn.MaxPool2d(3, 2)
        self.until_17x17 = [name for name, _ in self.named_children()]
        self.until_8x8 = []
        width = 192
        for name, (branches, behind_pool) in _MODULES.items():
            module = _Mixed(width, branches, behind_pool)
            self.add_module(name, module)
            width = module.width
            (self.until_8x8 if name.startswith("Mixed_7") else self.until_17x17).append(name)
        self.AuxLogits = _Auxiliary(768, n_classes) if auxiliary else None
        self.fc = _linear(width, n_classes, 0.01)

    def forward(self, images: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        for name in self.until_17x17:
            images = getattr(self, name)(images)
        auxiliary = self.AuxLogits(images) if self.AuxLogits is not None and self.training else None
        for name in self.until_8x8:
            images = getattr(self, name)(images)
        logits = self.fc(images.mean((2, 3)))
        return logits if auxiliary is None else (logits, auxiliary)


def inception_v3(image_shape: tuple[int, ...], n_classes: int, auxiliary: bool = False) -> nn.Module:
    """Inception V3 (ImageNet): 23,834,568 parameters on 3 channels and 1,000 classes, 27,161,264 with its auxiliary classifier.

    Names and shapes are those of torchvision's state dict. Initial weights as in TensorFlow's Inception package: normal
    with standard deviation 0.1 (convolutions), 0.01 (the last layer and the auxiliary 5x5) and 0.001 (the auxiliary last
    layer), truncated at two standard deviations.

    image_shape: (channels, height, width), at least 75x75. auxiliary: whether it has the auxiliary classifier, used in training
    mode alone; where images are smaller than 299x299, an adaptive pool gives it its 5x5 map. Raises InputError for smaller images.

    Example:
        >>> with torch.device("meta"):  # shapes only
        ...     network = inception_v3((3, 75, 75), 1000)
        >>> sum(p.numel() for p in network.parameters())
        23834568
    """
    channels, height, width = image_shape
    if min(height, width) < SMALLEST:
        raise InputError(f"network 'inception-v3' got images of {width}x{height} pixels, expected at least {SMALLEST}x{SMALLEST}")
    return InceptionV3(channels, n_classes, auxiliary)


def _linear(fan_in: int, fan_out: int, std: float) -> nn.Linear:
    layer = nn.Linear(fan_in, fan_out)
    _truncated_normal(layer.weight, std)
    nn.init.zeros_(layer.bias)
    return layer


def _truncated_normal(weight: torch.Tensor, std: float) -> None:
    nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)
