"""Small trained networks that the tests of measures share: each is fitted once per process."""

from copy import deepcopy
from functools import cache, partial
from itertools import pairwise

import torch
from torch import nn

from shattering import MEASURES, Dataset, NetworkClassifier, Randomization, load_dataset, randomize, seeds
from shattering.measures.curvature import hessian_trace, weighted_trace
from shattering.measures.fitted import Fitted
from shattering.measures.fitting import as_fitted
from shattering.measures.learning_coefficient import local_learning_coefficient


class Branches(nn.Module):
    """A user's network: branches that are added and concatenated, dropout, pooling, no batch normalization."""

    def __init__(self, image_shape, n_classes):
        super().__init__()
        self.stem = nn.Conv2d(image_shape[0], 6, 3, stride=2, padding=1)
        self.left, self.right = nn.Conv2d(6, 6, 3, padding=1), nn.Conv2d(6, 4, 1, bias=False)
        self.drop, self.pool = nn.Dropout(0.3), nn.AvgPool2d(2)
        self.head = nn.Linear(10 * (image_shape[1] // 4) * (image_shape[2] // 4), n_classes)

    def forward(self, images):
        h = torch.relu(self.stem(images))
        both = torch.cat([torch.relu(self.left(h)) + h, torch.relu(self.right(h))], 1)
        return self.head(self.drop(self.pool(both)).flatten(1))


NETWORKS = {
    "mlp": NetworkClassifier("mlp-2x12", epochs=60, batch_size=16, learning_rate=0.1, evaluate_train=True, track_examples=True),
    "alexnet": NetworkClassifier("alexnet", epochs=4, batch_size=12, learning_rate=0.02),
    "inception": NetworkClassifier("inception", epochs=1, batch_size=16, learning_rate=0.02),
    "inception-no-bn": NetworkClassifier("inception-no-bn", epochs=1, batch_size=16, learning_rate=0.002),
    "branches": NetworkClassifier(Branches, epochs=30, batch_size=12, learning_rate=0.1),
}


ALL = {  # every measure, the estimators with so few samples that all of them cost little
    **MEASURES,
    "hessian_trace": partial(hessian_trace, probes=8),
    "weighted_trace": partial(weighted_trace, probes=8),
    "local_learning_coefficient": partial(local_learning_coefficient, chains=2, steps=10),
}


@cache
def data() -> Dataset:
    """48 digits, a quarter of their labels random."""
    return randomize(load_dataset("digits", n_train=48, n_test=40), Randomization(0.25))


@cache
def trained(name: str) -> NetworkClassifier:
    """The network of a name in NETWORKS, trained."""
    model = NETWORKS[name]
    return NetworkClassifier(**model.get_params()).fit(data().train)


def fitted(name: str, dtype: torch.dtype = torch.float32, block: int | None = None, rows: torch.Tensor | None = None) -> Fitted:
    """The same as measures take it. rows: the order of the training examples."""
    made = _fitted(name, dtype)
    if block is None and rows is None:
        return made
    train = made.train if rows is None else trained(name).prepared(data().train.subset(rows))
    return Fitted(**{**parts(made), "train": train, "block": block})


def parts(made: Fitted) -> dict:
    """What a network as measures take it was made of."""
    return {name: value for name, value in vars(made).items() if name in Fitted.__dataclass_fields__ and name != "_kept"}


@cache
def _fitted(name: str, dtype: torch.dtype) -> Fitted:
    made = as_fitted(trained(name), data())
    return Fitted(**{**parts(made), "module": made.module.to(dtype)}) if dtype != torch.float32 else made


def of_module(module: nn.Module, inputs: torch.Tensor, labels: torch.Tensor, **known) -> Fitted:
    """A module with inputs and labels, in the type of the inputs."""
    return as_fitted(module.to(inputs.dtype), (inputs, labels), **known)


def small_relu(seed: int = 0, bias: bool = True, sizes: tuple[int, ...] = (3, 4, 3)) -> nn.Sequential:
    """A ReLU network with random float64 weights."""
    generator = torch.Generator().manual_seed(seed)
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(sizes):
        linear = nn.Linear(fan_in, fan_out, bias=bias).double()
        for parameter in linear.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def rescaled_relu(seed: int, factor: float) -> nn.Sequential:
    """The same network with its two layers rescaled, which leaves its function as it is."""
    module = small_relu(seed)
    with torch.no_grad():
        module[0].weight *= factor
        module[0].bias *= factor
        module[2].weight /= factor
    return module


def small_data(seed: int = 0, n: int = 30, d: int = 3, k: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Gaussian inputs (n, d) in float64, and labels of k classes."""
    generator = torch.Generator().manual_seed(1000 + seed)
    return torch.randn(n, d, generator=generator, dtype=torch.float64), torch.arange(n) % k


class Tokens(nn.Module):
    """Inputs that are whole numbers."""

    def __init__(self):
        super().__init__()
        self.table, self.last = nn.Embedding(5, 4), nn.Linear(4, 3)

    def forward(self, x):
        return self.last(self.table(x).mean(1))


class Normalized(nn.Module):
    """A small convolutional network with batch normalization, whose statistics are those of the digits."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 4, 3, stride=2, bias=False), nn.BatchNorm2d(4)
        self.pool, self.last = nn.MaxPool2d(3, 1), nn.Linear(4, 10)

    def forward(self, images):
        return self.last(self.pool(torch.relu(self.norm(self.conv(images)))).flatten(1))


@cache
def _normalized() -> Normalized:
    with seeds.everywhere(0):
        module = Normalized()
    module(data().train.inputs.float() / 255)
    return module


def tiny(name: str, dtype: torch.dtype = torch.float64) -> Fitted:
    """One of TINY: cheap enough for the slow, obvious version of a measure."""
    if name != "normalized":
        return fitted(name, dtype)
    images = data().train.inputs.float() / 255
    return of_module(deepcopy(_normalized()), images.to(dtype), data().train.labels, unlabelled=data().test.inputs.to(dtype) / 255)


TINY = ("mlp", "branches", "normalized")
