"""The linear regression of two experiments: fewer points than features, so that many solutions interpolate."""

import numpy as np

from shattering import seeds
from shattering.errors import InputError


def linear_problem(seed: int, n: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw points (n, d) with independent Gaussian features of variance 1/d, and targets (n,) of variance 1.

    Raises:
        InputError: unless 1 <= n < d.
    """
    if not 1 <= n < d:
        raise InputError(f"n is {n} and d is {d}, expected more features than points, for there to be many solutions")
    generator = seeds.generator(seed, "linear")
    return generator.normal(size=(n, d)) / np.sqrt(d), generator.normal(size=n)
