"""Models of old that cannot memorize: the 2018 blog post's polynomial, and the perceptron of 1958 (CACM 2021)."""

import numpy as np
import pandas as pd
from scipy.optimize import linprog
from sklearn.linear_model import LinearRegression, Perceptron
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import PolynomialFeatures
from sklearn.svm import SVC

from shattering import seeds
from shattering.data.load import load_dataset
from shattering.data.preprocess import to_float


def _polynomial(degree: int) -> Pipeline:
    return make_pipeline(PolynomialFeatures(degree), LinearRegression(tol=0))  # whose default cuts small singular values off


def polynomial(seed: int, *, n: int = 10, noise: float = 0.3, degrees: int = 9, n_holdout: int = 100) -> tuple[dict, pd.DataFrame]:
    """Bishop's polynomial (Pattern Recognition and Machine Learning, 1.1): n noisy points of a sine, degree by hold-out.

    Then polynomials of each degree on the same points with random targets: a permutation of their own. Table: kind
    ("fit", with degree, targets ("true" or "random"), train and holdout root mean squared errors; "point" and "curve",
    with targets, x and y: the curve is that of the chosen degree). Numbers: degree (chosen: least error on the
    hold-out of true targets), and its errors train_true, train_random, and holdout_true, with spread (of the targets).
    """
    generator = seeds.generator(seed, "polynomial")
    x = np.linspace(0, 1, n)[:, None]
    x_holdout = (np.arange(n_holdout)[:, None] + 0.5) / n_holdout
    y, y_holdout = (np.sin(2 * np.pi * t[:, 0]) + noise * generator.normal(size=len(t)) for t in (x, x_holdout))
    targets = {"true": y, "random": generator.permutation(y)}
    fits = {(degree, name): _polynomial(degree).fit(x, values) for degree in range(degrees + 1) for name, values in targets.items()}

    def error(degree: int, name: str, points: np.ndarray, values: np.ndarray) -> float:
        return float(np.sqrt(np.mean((fits[degree, name].predict(points) - values) ** 2)))

    rows: list[dict] = [
        {
            "kind": "fit",
            "degree": degree,
            "targets": name,
            "train": error(degree, name, x, targets[name]),
            "holdout": error(degree, name, x_holdout, y_holdout),
        }
        for degree, name in fits
    ]
    degree = min(range(degrees + 1), key=lambda m: error(m, "true", x_holdout, y_holdout))
    grid = np.linspace(0, 1, 101)[:, None]
    for name, values in targets.items():
        rows += [{"kind": "point", "targets": name, "x": float(a), "y": float(b)} for a, b in zip(x[:, 0], values, strict=True)]
        curve = fits[degree, name].predict(grid)
        rows += [{"kind": "curve", "targets": name, "x": float(a), "y": float(b)} for a, b in zip(grid[:, 0], curve, strict=True)]
    numbers = {"train_true": error(degree, "true", x, y), "train_random": error(degree, "random", x, targets["random"])}
    numbers |= {"holdout_true": error(degree, "true", x_holdout, y_holdout), "spread": float(y.std())}
    return {"data": f"{n} points of a sine with noise {noise:g}", "degree": degree, **numbers}, pd.DataFrame(rows)


def perceptron(seed: int, *, classes: tuple[int, int] = (0, 1), n: int = 300, passes: int = 150) -> tuple[dict, pd.DataFrame]:
    """The perceptron's mistakes on two classes of digits, and on random labels, against Novikoff's bound.

    The bound (R/margin)², R the largest norm of an example (with a constant feature of 1) and margin that of the best
    plane, holds where the classes can be separated; where they cannot, mistakes go on. Random labels also on as few
    images as there are features, where they can be separated again.

    Table: labels, n, passes, mistakes (so far). Numbers for each: n, separable, margin, bound, mistakes (in all), and
    last_pass (mistakes in the last one).
    """
    split = load_dataset("digits").train
    chosen = np.flatnonzero(np.isin(split.true_labels.numpy(), list(classes)))[:n]
    X = to_float(split.images[chosen]).flatten(1).numpy().astype(np.float64)
    X = np.hstack([X, np.ones((len(X), 1))])
    y = np.where(split.true_labels.numpy()[chosen] == classes[1], 1, -1)
    random = seeds.generator(seed, "labels").permutation(y)
    few = 40
    rows, numbers = [], {"data": f"digits {classes[0]} and {classes[1]}"}
    for name, points, labels in (("true", X, y), ("random", X, random), ("random, few images", X[:few], random[:few])):
        mistakes = _mistakes(points, labels, passes, seed)
        margin = _margin(points, labels)
        rows += [{"labels": name, "n": len(points), "passes": i + 1, "mistakes": m} for i, m in enumerate(mistakes)]
        bound = None if margin is None else float((points**2).sum(1).max() / margin**2)
        found = {"n": len(points), "separable": margin is not None, "margin": margin, "bound": bound, "mistakes": mistakes[-1]}
        found["last_pass"] = mistakes[-1] - mistakes[-2]
        numbers |= {f"{name}, {key}": value for key, value in found.items()}
    return numbers, pd.DataFrame(rows)


def _mistakes(X: np.ndarray, y: np.ndarray, passes: int, seed: int) -> list[int]:
    """Mistakes so far after every pass of scikit-learn's perceptron, example by example. X has a constant feature."""
    model = Perceptron(fit_intercept=False).partial_fit(X[:1], y[:1], classes=[-1, 1])  # from zero, every example is a mistake
    order, count, out = seeds.generator(seed, "order"), 1, []
    for _ in range(passes):
        for i in order.permutation(len(X)):
            if y[i] * (X[i] @ np.asarray(model.coef_)[0]) <= 0:  # elsewhere it does not learn
                model.partial_fit(X[i : i + 1], y[i : i + 1])
                count += 1
        out.append(count)
    return out


def _margin(X: np.ndarray, y: np.ndarray) -> float | None:
    """The largest distance from a plane through zero that separates the classes to the closest example; None if none does.

    Whether one does: by linear programming. Which: by a support vector machine on the examples and their mirror images,
    which puts the plane through zero.
    """
    if not linprog(np.zeros(X.shape[1]), A_ub=-y[:, None] * X, b_ub=-np.ones(len(X)), bounds=(None, None)).success:
        return None
    w = SVC(kernel="linear", C=1e8).fit(np.vstack([X, -X]), np.concatenate([y, -y])).coef_[0]
    return float((y * (X @ w)).min() / np.linalg.norm(w))
