"""Find parameters of scikit-learn's estimators that prevent a fit of random labels, by a literal table."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from numbers import Integral
from typing import Any, NamedTuple

from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline

from shattering.diagnose.finding import Finding, Likelihood

TREES = ("DecisionTreeClassifier", "ExtraTreeClassifier", "RandomForestClassifier", "ExtraTreesClassifier")
FORESTS = ("RandomForestClassifier", "ExtraTreesClassifier", "BaggingClassifier")
BOOSTED = ("GradientBoostingClassifier", "HistGradientBoostingClassifier", "AdaBoostClassifier")
LINEAR = ("LogisticRegression", "LinearSVC", "SGDClassifier", "Perceptron", "RidgeClassifier", "LinearDiscriminantAnalysis")
NEIGHBORS = ("KNeighborsClassifier", "RadiusNeighborsClassifier")
KERNELS = ("KernelInterpolatorClassifier", "RandomConvClassifier", "RandomConvKernelClassifier")
ITERATIVE = ("LogisticRegression", "LinearSVC", "SGDClassifier", "Perceptron", "MLPClassifier", "HistGradientBoostingClassifier")
_WRITTEN_OUT = 63  # largest depth of a tree whose number of leaves is written out
_LIBRARIES = ("sklearn", "skorch", "shattering")
SCALERS = ("StandardScaler", "MinMaxScaler", "MaxAbsScaler", "RobustScaler")  # steps that keep the number of features


@dataclass(frozen=True)
class Fit:
    """An estimator, and the data that it was fitted to.

    Args:
        estimator: itself, or one inside the model.
        n: the number of examples.
        d: the number of features; None if the steps before it may have changed it.
        k: the number of classes.
        searched: parameters that a search around it has chosen; the values chosen are not stored.
    """

    estimator: BaseEstimator
    n: int
    d: int | None
    k: int
    searched: frozenset[str] = frozenset()

    def param(self, name: str) -> Any:
        return self.estimator.get_params(deep=False).get(name)


class Restriction(NamedTuple):
    """A parameter that limits what an estimator fits.

    Args:
        classes: names of the estimators.
        parameter: its name.
        acts: (value, fit) → the likelihood that it limits the fit, or None.
        says: (value, fit) → the evidence, which follows "name = value: ".
        remedy: a value to try.
    """

    classes: tuple[str, ...]
    parameter: str
    acts: Callable[[Any, Fit], Likelihood | None]
    says: Callable[[Any, Fit], str]
    remedy: str


def _if(condition: bool, likelihood: Likelihood = "likely") -> Likelihood | None:
    return likelihood if condition else None


def _few(number: float, fit: Fit) -> Likelihood:
    return "likely" if number < fit.n else "possible"


def _share(value: Any, fit: Fit) -> float:
    """Return a parameter as a number of examples; a float is a fraction of them."""
    return math.ceil(value * fit.n) if isinstance(value, float) else value


def _leaves(depth: int) -> str:
    """Return the most leaves of a tree, in words."""
    return f"{2**depth:,}" if depth <= _WRITTEN_OUT else f"2^{depth:,}"


def _seen(fit: Fit) -> str:
    """Return the share of the resamples of an ensemble that an example is in, in percent."""
    drawn = fit.param("max_samples")
    return f"{100 * (1 - math.exp(-(fit.n if drawn is None else _share(drawn, fit)) / fit.n)):.2g}%"


def _is_penalized(fit: Fit) -> bool:
    """Return whether an estimator penalizes its weights at all: some have a `penalty`, which may be None."""
    return fit.estimator.get_params(deep=False).get("penalty", "l2") is not None


def _early(value: Any, fit: Fit) -> bool:
    return value is True or (value == "auto" and fit.n > 10_000)  # "auto": HistGradientBoostingClassifier's


LIMITS = (
    Restriction(("DummyClassifier",), "strategy", lambda v, f: "certain", lambda v, f: "it ignores the inputs", "any other"),
    Restriction(
        TREES,
        "max_depth",
        lambda v, f: v and _few(2 ** min(v, _WRITTEN_OUT), f),
        lambda v, f: f"a tree has at most {_leaves(v)} leaves for {f.n:,} examples",
        "None",
    ),
    Restriction(BOOSTED, "max_depth", lambda v, f: v and "possible", lambda v, f: f"a tree has at most {_leaves(v)} leaves", "None"),
    Restriction(
        TREES,
        "min_samples_leaf",
        lambda v, f: _if(_share(v, f) > 1),
        lambda v, f: f"a leaf gives one answer to at least {_share(v, f)} examples",
        "1",
    ),
    Restriction(
        BOOSTED,
        "min_samples_leaf",
        lambda v, f: _if(_share(v, f) > 1, "possible"),
        lambda v, f: f"a leaf moves at least {_share(v, f)} examples together",
        "1",
    ),
    Restriction(
        TREES,
        "min_samples_split",
        lambda v, f: _if(_share(v, f) > 2),
        lambda v, f: f"nodes of fewer than {_share(v, f)} examples are not split",
        "2",
    ),
    Restriction(
        (*TREES, "GradientBoostingClassifier"),
        "max_leaf_nodes",
        lambda v, f: v and _few(v, f),
        lambda v, f: f"a tree has at most {v:,} leaves for {f.n:,} examples",
        "None",
    ),
    Restriction(TREES, "ccp_alpha", lambda v, f: _if(v > 0), lambda v, f: "branches that fit little are pruned", "0"),
    Restriction(TREES, "min_impurity_decrease", lambda v, f: _if(v > 0), lambda v, f: "splits that gain less are not made", "0"),
    Restriction(
        FORESTS,
        "max_samples",
        lambda v, f: _if(v < (1 if isinstance(v, float) else f.n)),
        lambda v, f: f"each member is fitted to {f'{v:.0%}' if isinstance(v, float) else v} of the {f.n:,} examples",
        "None (or 1.0)",
    ),
    Restriction(
        FORESTS,
        "bootstrap",
        lambda v, f: _if(v, "possible"),
        lambda v, f: f"each example is in about {_seen(f)} of the resamples of the {f.param('n_estimators')} members, which vote",
        "False",
    ),
    Restriction(
        NEIGHBORS,
        "n_neighbors",
        lambda v, f: _if(v > 1 and f.param("weights") == "uniform"),
        lambda v, f: f"an example's own label is one of {v} votes on it",
        "1, or weights='distance'",
    ),
    Restriction(
        ("LogisticRegression", "LinearSVC"),
        "C",
        lambda v, f: _if(math.isfinite(v) and _is_penalized(f), "possible" if f.d is None or f.d + 1 < f.n else "likely"),
        lambda v, f: "the weights are penalized, more so for smaller C",
        "a thousand times as much",
    ),
    Restriction(
        ("SVC",),
        "C",
        lambda v, f: _if(math.isfinite(v)),
        lambda v, f: "no example's weight exceeds C, which leaves margins violated",
        "inf",
    ),
    Restriction(
        ("RidgeClassifier", "SGDClassifier", "MLPClassifier"),
        "alpha",
        lambda v, f: _if(v > 0 and _is_penalized(f), "likely" if v >= 0.01 else "possible"),
        lambda v, f: "the weights are penalized",
        "0",
    ),
    Restriction(KERNELS, "ridge", lambda v, f: _if(v > 0), lambda v, f: "it is added to the kernel's diagonal, and residuals stay", "0"),
    Restriction(("HistGradientBoostingClassifier",), "l2_regularization", lambda v, f: _if(v > 0), lambda v, f: "leaves are shrunk", "0"),
    Restriction(
        ("LinearDiscriminantAnalysis",), "shrinkage", lambda v, f: _if(v is not None), lambda v, f: "the covariance is shrunk", "None"
    ),
    Restriction(
        ("QuadraticDiscriminantAnalysis",), "reg_param", lambda v, f: _if(v > 0), lambda v, f: "the covariances are regularized", "0"
    ),
    Restriction(
        ("MLPClassifier", "SGDClassifier", "Perceptron", "HistGradientBoostingClassifier"),
        "early_stopping",
        lambda v, f: _if(_early(v, f)),
        lambda v, f: "it stops when a held-out part of the examples, which cannot be predicted, is not predicted better",
        "False",
    ),
    Restriction(BOOSTED, "n_estimators", lambda v, f: "possible", lambda v, f: f"it adds up at most {v:,} stages", "more"),
    Restriction(
        ITERATIVE,
        "max_iter",
        lambda v, f: "possible",
        lambda v, f: "whether that many iterations were used up is not stored",
        "more",
    ),
    Restriction(("NeuralNet",), "max_epochs", lambda v, f: "possible", lambda v, f: "its history is not stored", "more"),
    Restriction(
        ("NeuralNet",), "optimizer__weight_decay", lambda v, f: _if(v > 0, "possible"), lambda v, f: "the weights are penalized", "0"
    ),
)


def limits(model: BaseEstimator, result: dict) -> Iterator[Finding]:
    """Report every row of the table that applies to the estimator or to one inside it."""
    searched = frozenset(_searched(model))
    for estimator, d in _estimators(model, math.prod(result["image_shape"])):
        fit = Fit(estimator, result["n_train"], d, result["n_classes"], searched)
        yield from _capacity(fit)
        yield from _limits(fit)


def _limits(fit: Fit) -> Iterator[Finding]:
    name, values, known = type(fit.estimator).__name__, fit.estimator.get_params(deep=False), _known(fit.estimator)
    for limit in LIMITS:
        value = None if limit.parameter in fit.searched else values.get(limit.parameter)
        likelihood = limit.acts(value, fit) if known & set(limit.classes) and value is not None else None
        if likelihood:
            evidence = f"{name} has {limit.parameter} = {_shown(value)}: {limit.says(value, fit)}."
            yield Finding(f"{limit.parameter} of {name}", evidence, f"Try {limit.parameter} = {limit.remedy}.", likelihood)


def _capacity(fit: Fit) -> Iterator[Finding]:
    """Report linear models with n > d + 1, for which some labels are not separable (Cover 1965), and MLPs with few parameters."""
    name, known = type(fit.estimator).__name__, _known(fit.estimator)
    if fit.d is None or fit.searched & {"kernel", "hidden_layer_sizes"}:
        return
    if known & set(LINEAR) or ("SVC" in known and fit.param("kernel") == "linear"):
        if fit.d + 1 < fit.n:
            evidence = (
                f"{name} is linear in {fit.d:,} features; some labels of more than d + 1 = {fit.d + 1:,} examples are not "
                f"separable, and n = {fit.n:,}."
            )
            yield Finding("more examples than a linear model can shatter", evidence, "Add features, or take a nonlinear model.", "likely")
    elif "MLPClassifier" in known:
        hidden = fit.param("hidden_layer_sizes")
        sizes = [fit.d, *([hidden] if isinstance(hidden, Integral) else hidden), 1 if fit.k == 2 else fit.k]
        p = sum((a + 1) * b for a, b in pairwise(sizes))
        if p < fit.n:
            evidence = f"{name} with hidden_layer_sizes = {hidden} has {p:,} parameters for n = {fit.n:,} examples."
            yield Finding("too few parameters", evidence, "Make the layers wider.", "likely")


def _searched(model: Any) -> Iterator[str]:
    """Yield the names, without the steps they belong to, of the parameters that a search such as GridSearchCV chooses."""
    for estimator, _ in _estimators(model, None):
        for name in ("param_grid", "param_distributions"):
            grids = estimator.get_params(deep=False).get(name) or ()
            for grid in [grids] if isinstance(grids, Mapping) else grids:
                yield from (parameter.rpartition("__")[2] for parameter in grid)


def _estimators(model: Any, d: int | None) -> Iterator[tuple[BaseEstimator, int | None]]:
    """Yield an estimator and those inside it, each with its number of features, or None if that is unknown."""
    if isinstance(model, Pipeline):
        *before, (_, last) = model.steps
        keeps = all(step in (None, "passthrough") or type(step).__name__ in SCALERS for _, step in before)
        yield from _estimators(last, d if keeps else None)
        return
    yield model, d
    inner = model.get_params(deep=False).get("estimator")
    if hasattr(inner, "get_params") and not isinstance(inner, type):
        yield from _estimators(inner, d)


def _known(estimator: Any) -> set[str]:
    """Return the names of an estimator's classes that are from known libraries; a user's class may have the same name by chance."""
    return {cls.__name__ for cls in type(estimator).__mro__ if cls.__module__.partition(".")[0] in _LIBRARIES}


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else repr(value)
