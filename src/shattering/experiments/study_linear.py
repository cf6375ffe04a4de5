"""Linear models (ICLR 2017, section 5): which of all interpolating solutions descent finds, and what curvature says of them."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import torch

from shattering import seeds
from shattering.errors import InputError

METHODS = ("gradient descent", "SGD")


def _problem(seed: int, n: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of independent Gaussians with variance 1/d, and targets of variance 1. Raises InputError unless n < d."""
    if not 1 <= n < d:
        raise InputError(f"n is {n} and d is {d}, expected more features than points, for there to be many solutions")
    generator = seeds.generator(seed, "linear")
    return generator.normal(size=(n, d)) / np.sqrt(d), generator.normal(size=n)


def _descend(X: np.ndarray, y: np.ndarray, w: np.ndarray, method: str, seed: int) -> Iterator[np.ndarray]:
    """The weights before every pass over the points, on half of the squared error: a step a pass, or a step a point."""
    w, order = w.copy(), seeds.generator(seed, "order")
    rate = 1 / float(np.linalg.eigvalsh(X @ X.T)[-1]) if method == "gradient descent" else 1 / float((X**2).sum(1).max())
    while True:
        yield w
        if method == "gradient descent":
            w = w - rate * X.T @ (X @ w - y)
        else:
            for i in order.permutation(len(X)):
                w = w - rate * (X[i] @ w - y[i]) * X[i]


def gradient_descent(seed: int, *, n: int = 100, d: int = 400, passes: int = 400, offset: float = 0.5) -> tuple[dict, pd.DataFrame]:
    """Gradient descent and SGD on n Gaussian points with d features, from zero and from elsewhere.

    The other start is at random, `offset` times as far from zero as the minimum-norm solution X'(XX')^-1 y.

    Table: method, start, passes (over the points), distance (from that solution, in units of its norm) and loss (mean
    squared error). Numbers: the last distances, and start_outside: what of the other start is outside the span of the
    points, where no step leads, in the same units.
    """
    X, y = _problem(seed, n, d)
    best = X.T @ np.linalg.solve(X @ X.T, y)
    norm = float(np.linalg.norm(best))
    span = np.linalg.qr(X.T)[0]
    start = seeds.generator(seed, "start").normal(size=d)
    start *= offset * norm / np.linalg.norm(start)
    rows, last = [], {}
    for method in METHODS:
        for name, first in (("zero", np.zeros(d)), ("elsewhere", start)):
            for done, w in zip(range(passes + 1), _descend(X, y, first, method, seed), strict=False):
                last[f"{method}, from {name}"] = distance = float(np.linalg.norm(w - best)) / norm
                rows.append(
                    {"method": method, "start": name, "passes": done, "distance": distance, "loss": float(((X @ w - y) ** 2).mean())}
                )
    outside = float(np.linalg.norm(start - span @ (span.T @ start))) / norm
    return {"data": f"{n} Gaussian points in {d} dimensions", "norm": norm, "start_outside": outside, **last}, pd.DataFrame(rows)


def hessian(seed: int, *, n: int = 40, d: int = 120) -> tuple[dict, pd.DataFrame]:
    """The Hessian of the mean squared error at three interpolating solutions, by automatic differentiation.

    At the minimum-norm one, at one that gradient descent finds from far away, and at one that fits wrong targets on as
    many other points as there is room for. Table: solution, index (from 0, of the eigenvalues in descending order),
    eigenvalue. Numbers, by solution: error (on new points, from the same plane as the targets), norm, loss; and rank,
    d, and difference (the largest between entries of any two of the Hessians).
    """
    X, _ = _problem(seed, n, d)
    generator = seeds.generator(seed, "plane")
    plane = generator.normal(size=d)
    y = X @ plane
    new = generator.normal(size=(1000, d)) / np.sqrt(d)
    rest = generator.normal(size=(d - n, d)) / np.sqrt(d)
    far = 10 * generator.normal(size=d)
    pseudo = np.linalg.pinv(X)
    both = np.vstack([X, rest])
    solutions = {
        "minimum norm": pseudo @ y,
        "from far away": far + pseudo @ (y - X @ far),
        "wrong elsewhere": np.linalg.solve(both, np.concatenate([y, -rest @ plane])),
    }
    points, targets = torch.from_numpy(X), torch.from_numpy(y)
    numbers: dict = {"data": f"{n} Gaussian points in {d} dimensions", "d": d}
    rows, found = [], []
    for name, w in solutions.items():
        matrix = np.asarray(torch.autograd.functional.hessian(lambda v: ((points @ v - targets) ** 2).mean(), torch.from_numpy(w)))
        found.append(matrix)
        values = np.linalg.eigvalsh(matrix)[::-1]
        rows += [{"solution": name, "index": i, "eigenvalue": float(v)} for i, v in enumerate(values)]
        numbers |= {f"{name}, error": float(((new @ (w - plane)) ** 2).mean() / ((new @ plane) ** 2).mean())}
        numbers |= {f"{name}, norm": float(np.linalg.norm(w)), f"{name}, loss": float(((X @ w - y) ** 2).mean())}
        numbers[f"{name}, rank"] = int((values > 1e-10 * values[0]).sum())
    numbers["difference"] = max(float(abs(a - b).max()) for a in found for b in found)
    return numbers, pd.DataFrame(rows)
