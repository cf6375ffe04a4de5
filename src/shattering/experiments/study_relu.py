"""The interpolating ReLU network by numbers (ICLR 2017, theorem 1 and corollary 1): what its builds are worth in float64."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from shattering import seeds
from shattering.data.load import load_dataset
from shattering.errors import InputError
from shattering.relu.direction import CANDIDATES, Projection, best_of, turned
from shattering.relu.hinges import interpolate, midway, smallest_eigenvalue, weight_bound
from shattering.relu.networks import DeepReluNetwork, ReluNetwork, forward_in_blocks, n_parameters, summation_order
from shattering.relu.rows import Rows, distinct, survey

BUILDS = (
    "random direction, thresholds midway",
    "thresholds at the previous point",
    "the best of 16 directions",
    "the direction turned",
    "hidden units ordered",
)
_HINGES = 4_000_000_000  # at points where a network's error is measured
_TERMS = 10_000_000  # of exact sums


class NoiseImages:
    """n rows of d uniform random bytes, each made when it is asked for from (seed, its number): more images than memory holds."""

    def __init__(self, n: int, d: int, seed: int):
        if d % 32:
            raise InputError(f"d is {d}, expected a multiple of 32")
        self.shape, self.dtype, self.seed = (n, d), np.dtype(np.uint8), seed
        self._blocks = d // 32  # of four 64-bit words, a counter step of the generator

    def __getitem__(self, index) -> np.ndarray:
        if isinstance(index, slice):
            return self._run(index.start or 0, min(index.stop, self.shape[0]))
        return np.concatenate([self._run(int(i), int(i) + 1) for i in np.atleast_1d(index)])

    def _run(self, start: int, stop: int) -> np.ndarray:
        bits = seeds.philox(self.seed, "noise images", start * self._blocks)
        return bits.random_raw((stop - start) * self._blocks * 4).view(np.uint8).reshape(stop - start, self.shape[1])


def theorem1(seed: int, *, dataset: str = "digits", n: int | None = None, d: int = 3072, classes: int = 10) -> tuple[dict, pd.DataFrame]:
    """The network of 2n + d weights for random labels 0, 1, …, built in `BUILDS`, each with what the ones before have.

    dataset: whose training images, as bytes; "noise": n images of d random bytes, made as they are read. n: how many; None: all.
    classes: of the random labels.

    Table: build, smallest_gap (of the range), steepness (see `shattering.relu.direction.steepness`), largest_weight, weight_bound
    and eigenvalue (lemma 1's), max_error (of the plain float64 forward pass at n_checked points), exact_error (of exact
    sums of the same float64 terms, at the first of these points) and labels_right (share of the points). Numbers: n, d,
    n_parameters.
    """
    rows, targets, about = _random_labels(seed, dataset, n, d, classes)
    hashes, largest = survey(rows)
    kept = distinct(rows, targets, hashes)
    if len(kept) < len(targets):
        raise InputError(f"dataset {dataset!r} has {len(targets) - len(kept)} duplicates of images, expected distinct ones")
    draws = seeds.generator(seed, "direction")
    one = best_of(rows, targets, largest, draws, 1)
    best = best_of(rows, targets, largest, draws, CANDIDATES)
    found = [one, one, best, turned(rows, targets, best, largest)]
    table = [_build(name, p, targets, seed) for name, p in zip(BUILDS, [*found, found[-1]], strict=True)]
    numbers = {"n": len(targets), "d": rows.shape[1], "classes": classes, "n_parameters": n_parameters(len(targets), rows.shape[1], 2)}
    return {**about, **numbers, "exact_projections": largest is not None}, pd.DataFrame(table)


def _build(name: str, projection: Projection, targets: np.ndarray, seed: int) -> dict:
    order = np.argsort(projection.points, kind="stable")
    knots, values = projection.points[order], targets[order]
    h = interpolate(knots, values)
    thresholds, weights = midway(knots, values) if name == BUILDS[0] else (h.thresholds, h.weights)
    if name == BUILDS[-1]:
        thresholds, weights = (a[summation_order(len(a))] for a in (thresholds, weights))
    checked = _to_check(len(knots), seed)
    outputs = forward_in_blocks(ReluNetwork(projection.direction, thresholds, weights), knots[checked])
    few = checked[: max(1, _TERMS // len(knots))]
    exact = np.array([math.fsum((np.maximum(z - thresholds, 0.0) * weights).tolist()) for z in knots[few]])
    scale = float(np.ptp(knots)) or 1.0
    return {
        "build": name,
        "smallest_gap": float(np.diff(knots).min(initial=scale) / scale),
        "steepness": projection.steepness,
        "largest_weight": float(np.abs(weights).max()),
        "weight_bound": weight_bound(knots, values, h.thresholds),
        "eigenvalue": smallest_eigenvalue(np.sort(knots), np.sort(thresholds)),
        "max_error": float(np.abs(outputs - values[checked]).max()),
        "n_checked": len(checked),
        "exact_error": float(np.abs(exact - values[few]).max()),
        "labels_right": float((np.rint(outputs) == values[checked]).mean()),
    }


def corollary1(
    seed: int,
    *,
    dataset: str = "digits",
    n: int | None = None,
    d: int = 3072,
    classes: int = 10,
    depths: Sequence[int] = (2, 3, 4, 8, 16, 64),
) -> tuple[dict, pd.DataFrame]:
    """The same labels by networks of several depths. Arguments as of `theorem1`.

    Table: depth, width, n_parameters, layers (linear ones, counted), max_error, n_checked, labels_right.
    """
    rows, targets, about = _random_labels(seed, dataset, n, d, classes)
    _, largest = survey(rows)
    best = turned(rows, targets, best_of(rows, targets, largest, seeds.generator(seed, "direction"), CANDIDATES), largest)
    order = np.argsort(best.points, kind="stable")
    knots, values = best.points[order], targets[order]
    checked, table = _to_check(len(knots), seed), []
    for depth in depths:
        if depth == 2:
            h, shuffled = interpolate(knots, values), summation_order(len(knots))
            network = ReluNetwork(best.direction, h.thresholds[shuffled], h.weights[shuffled])
        else:
            network = DeepReluNetwork(best.direction, knots, values, 0.0, depth)
        outputs = forward_in_blocks(network, knots[checked])
        table.append(
            {
                "depth": depth,
                "width": network.width,
                "n_parameters": sum(p.numel() for p in network.parameters()),
                "max_error": float(np.abs(outputs - values[checked]).max()),
                "n_checked": len(checked),
                "labels_right": float((np.rint(outputs) == values[checked]).mean()),
            }
        )
    return {**about, "n": len(targets), "d": rows.shape[1], "steepness": best.steepness}, pd.DataFrame(table)


def _random_labels(seed: int, dataset: str, n: int | None, d: int, classes: int) -> tuple[Rows, np.ndarray, dict]:
    """Rows of bytes, random labels (n,) as float64, and what to say of them."""
    if dataset == "noise":
        if n is None:
            raise InputError("dataset 'noise' needs n")
        rows: Rows = NoiseImages(n, d, seed)
        about = {"data": f"{n:,} images of {d:,} random bytes"}
    else:
        data = load_dataset(dataset, n, None, seed)
        rows = data.train.images.flatten(1).numpy()
        about = {"data": f"{data.variant}, n = {len(rows):,}", "dataset_fingerprint": data.fingerprint()}
    return rows, seeds.generator(seed, "random labels").integers(0, classes, rows.shape[0]).astype(np.float64), about


def _to_check(n: int, seed: int) -> np.ndarray:
    """Positions of knots: all, or the last and a random rest."""
    affordable = max(500, _HINGES // n)
    generator = seeds.generator(seed, "checked")
    return generator.permutation(n) if n <= affordable else np.append(generator.choice(n - 1, affordable - 1, replace=False), n - 1)
