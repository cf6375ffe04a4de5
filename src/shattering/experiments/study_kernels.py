"""Interpolation that does not generalize (ICLR 2017, section 5), and double descent (CACM 2021's survey)."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from shattering import seeds
from shattering.data.dataset import Dataset, Split
from shattering.data.load import load_dataset
from shattering.data.preprocess import to_float
from shattering.linalg.gram import Gaussian
from shattering.randomization import Randomization, randomize


def interpolators(
    seed: int, *, dataset: str = "digits", n: int = 1000, n_test: int = 500, gamma: float = 0.05
) -> tuple[dict, pd.DataFrame]:
    """Four functions of the Gaussian kernel that interpolate training images, and how they do on test images.

    "minimum norm": the one of least norm. "random labels": of least norm on random labels. "random centres": the
    expansion around as many points drawn from a Gaussian with the training images' moments by pixel.
    "forced on the test points": of least norm that interpolates the test images as well, with random labels. One-hot
    targets. Table: function, train_accuracy, test_accuracy, norm (in the kernel's Hilbert space, over all classes) and
    residual (relative, on what was to be interpolated).
    """
    data = load_dataset(dataset, n, n_test, seed)
    X, test = _points(data.train), _points(data.test)
    k, n_classes = Gaussian(gamma), data.train.n_classes
    random = Randomization(1.0)
    labels = {name: random.corrupt(split, seed, name) for name, split in (("train", data.train), ("test", data.test))}
    everything = torch.cat([X, test])
    centers = X.mean(0) + X.std(0) * torch.from_numpy(seeds.generator(seed, "centers").normal(size=tuple(X.shape)))
    tasks = {
        "minimum norm": (X, data.train.true_labels, X),
        "random labels": (X, labels["train"], X),
        "random centres": (X, data.train.true_labels, centers),
        "forced on the test points": (everything, torch.cat([data.train.true_labels, labels["test"]]), everything),
    }
    rows = []
    for name, (points, wanted, around) in tasks.items():
        targets = torch.nn.functional.one_hot(wanted, n_classes).double()
        system = k(points, around)
        coefficients = torch.linalg.lstsq(system, targets, driver="gelsd").solution
        norm = float((coefficients * (k(around, around) @ coefficients)).sum().clamp(min=0).sqrt())
        residual = float((system @ coefficients - targets).norm() / targets.norm())
        fitted = (system @ coefficients)[: len(X)].argmax(1) == wanted[: len(X)]
        right = (k(test, around) @ coefficients).argmax(1) == data.test.true_labels
        accuracies = {"train_accuracy": float(fitted.double().mean()), "test_accuracy": float(right.double().mean())}
        rows.append({"function": name, **accuracies, "norm": norm, "residual": residual})
    return {**_about(data), "classes": n_classes}, pd.DataFrame(rows)


def double_descent(
    seed: int, *, dataset: str = "digits", n: int = 500, n_test: int = 500, labels: float = 0.0, widths: Sequence[int] = ()
) -> tuple[dict, pd.DataFrame]:
    """Test error over the number of random features, through the interpolation threshold at n; minimum norm throughout.

    Features are relu(<w, x>) with Gaussian w, the same for fewer and for more; images are standardized by pixel, with a
    constant. Least squares of least norm on one-hot targets, with a share of label corruption on the training images.
    Without widths, a grid from n/16 to 16 n, closer around n. Table: width, train_error, test_error (of labels as
    trained on, and of true ones), test_loss (mean squared error a class) and norm (of the weights). Numbers: n, labels.
    """
    data = randomize(load_dataset(dataset, n, n_test, seed), Randomization(labels), seed)
    n = len(data.train)
    X, test = _points(data.train), _points(data.test)
    deviation, mean = torch.std_mean(X, 0, correction=0)
    scale = torch.where(deviation > 0, deviation, 1.0) * X.shape[1] ** 0.5
    X, test = (torch.cat([(x - mean) / scale, torch.full((len(x), 1), 0.1)], 1) for x in (X, test))
    ratios = [*(2.0 ** np.arange(-4, 0)), 0.7, 0.8, 0.9, 0.95, 1.0, 1.05, 1.1, 1.25, 1.5, *(2.0 ** np.arange(1, 5))]
    grid = list(widths) or sorted({round(n * ratio) for ratio in ratios})
    directions = torch.from_numpy(seeds.generator(seed, "features").normal(size=(max(grid), X.shape[1])))
    targets, truth = (torch.nn.functional.one_hot(y, data.train.n_classes).double() for y in (data.train.labels, data.test.true_labels))
    rows = []
    for width in grid:
        features, new = (torch.relu(x @ directions[:width].T) for x in (X, test))
        weights = torch.linalg.lstsq(features, targets, driver="gelsd").solution
        fitted, values = features @ weights, new @ weights
        rows.append(
            {
                "width": width,
                "train_error": float((fitted.argmax(1) != data.train.labels).double().mean()),
                "test_error": float((values.argmax(1) != data.test.true_labels).double().mean()),
                "test_loss": float((values - truth).square().mean()),
                "norm": float(weights.norm()),
            }
        )
    return {**_about(data), "n": n, "labels": float(labels)}, pd.DataFrame(rows)


def _points(split: Split) -> Tensor:
    """(n, d) float64 in 0…1."""
    return to_float(split.images).flatten(1).double()


def _about(data: Dataset) -> dict:
    return {"data": f"{data.variant}, n = {len(data.train):,}", "n_test": len(data.test), "dataset_fingerprint": data.fingerprint()}
