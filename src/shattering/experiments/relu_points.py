"""The points with random labels of theorem 1 and corollary 1: images of a dataset, or images of random bytes."""

import numpy as np

from shattering import seeds
from shattering.data.load import load_dataset
from shattering.errors import InputError
from shattering.relu.points import Points, distinct, survey
from shattering.runs.study import NOISE

_HINGES = 4_000_000_000  # how many hidden units may be evaluated, over all points where a network's error is measured


class NoiseImages:
    """n rows of d uniform random bytes. A row is made from (seed, its number) when it is read, so n may exceed the memory."""

    def __init__(self, n: int, d: int, seed: int):
        if d % 32:
            raise InputError(f"d is {d}, expected a multiple of 32")
        self.shape, self.dtype, self.seed = (n, d), np.dtype(np.uint8), seed
        self._blocks = d // 32  # per row; a block is four 64-bit words, one step of the generator's counter

    def __getitem__(self, index) -> np.ndarray:
        if isinstance(index, slice):
            return self._run(index.start or 0, min(index.stop, self.shape[0]))
        return np.concatenate([self._run(int(i), int(i) + 1) for i in np.atleast_1d(index)])

    def _run(self, start: int, stop: int) -> np.ndarray:
        bits = seeds.philox(self.seed, "noise images", start * self._blocks)
        return bits.random_raw((stop - start) * self._blocks * 4).view(np.uint8).reshape(stop - start, self.shape[1])


def random_labels(seed: int, dataset: str, n: int | None, d: int, classes: int) -> tuple[Points, np.ndarray, dict]:
    """Return rows (n, d) of bytes, random labels (n,) as float64, and a description of the data. Arguments: see theorem 1's study."""
    if dataset == NOISE:
        if n is None:
            raise InputError("dataset 'noise' needs n")
        rows: Points = NoiseImages(n, d, seed)
        about = {"data": f"{n:,} images of {d:,} random bytes"}
    else:
        data = load_dataset(dataset, n, None, seed)
        rows = data.train.inputs.flatten(1).numpy()
        about = {"data": f"{data.variant}, n = {len(rows):,}", "dataset_fingerprint": data.fingerprint()}
    return rows, seeds.generator(seed, "random labels").integers(0, classes, rows.shape[0]).astype(np.float64), about


def survey_distinct(dataset: str, rows: Points, targets: np.ndarray) -> float | None:
    """Return the largest absolute value of whole-numbered points, see `survey`. Raises InputError where points have duplicates."""
    hashes, largest = survey(rows)
    kept = distinct(rows, targets, hashes)
    if len(kept) < len(targets):
        raise InputError(f"dataset {dataset!r} has {len(targets) - len(kept)} duplicates of images, expected distinct ones")
    return largest


def to_check(n: int, seed: int) -> np.ndarray:
    """Choose the positions of n knots at which to measure the error: all if that is affordable, else the last and random others."""
    affordable = max(500, _HINGES // n)
    generator = seeds.generator(seed, "checked")
    return generator.permutation(n) if n <= affordable else np.append(generator.choice(n - 1, affordable - 1, replace=False), n - 1)
