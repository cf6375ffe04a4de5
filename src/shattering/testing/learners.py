"""What users pass as a learner → a scikit-learn estimator that a run can use."""

import inspect
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any, Literal, get_args

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from torch import nn

from shattering import seeds
from shattering.data.channels import A_SPLIT
from shattering.data.dataset import Split
from shattering.data.preprocess import to_float
from shattering.data.sources import as_images
from shattering.errors import InputError, unknown
from shattering.learners import LEARNERS
from shattering.learners.network import NetworkClassifier
from shattering.learners.settings import settled
from shattering.networks import NETWORKS, find_network
from shattering.testing.targets import import_target, is_target

Inputs = Literal["auto", "table", "images"]


def as_learner(what: Any, recipe: Mapping[str, object] | None = None, inputs: Inputs = "auto") -> tuple[str, BaseEstimator | None, dict]:
    """(name, estimator, params): an estimator that was given, or None and the params of the learner of that name.

    Args:
        what: a name in `LEARNERS` or `NETWORKS`; "module:name" or "file.py:name"; a scikit-learn classifier, its class, or a
            pipeline; a skorch net; a torch module as a class, a factory (image_shape, n_classes) → module (or without
            arguments), or an instance, which is initialized anew for every fit; a training function with a parameter
            `seed`, (split, seed) → predict, where predict takes a `Split` and returns classes (n,) or scores (n, k); or a
            function without parameters that returns one of these.
        recipe: parameters of the estimator; for torch modules those of `NetworkClassifier`, which trains them.
        inputs: what scikit-learn's and skorch's estimators are given: "table" (n, features), "images" (n, c, h, w)
            float32 in 0…1; "auto": images for skorch, a table for others.

    Raises:
        InputError: for anything else.
    """
    if inputs not in get_args(Inputs):
        raise unknown("inputs", inputs, get_args(Inputs))
    recipe = dict(recipe or {})
    if isinstance(what, str):
        if is_target(what):
            return as_learner(import_target(what), recipe, inputs)
        return _named(what, recipe)
    if isinstance(what, type) and issubclass(what, BaseEstimator):
        return as_learner(_with(what(), recipe), {}, inputs)
    if isinstance(what, BaseEstimator) or (hasattr(what, "fit") and hasattr(what, "predict") and hasattr(what, "get_params")):
        return _estimator(_with(what, recipe), inputs)
    if isinstance(what, nn.Module):
        return _network(type(what).__name__, Reinitialized(what), recipe)
    if isinstance(what, type) and issubclass(what, nn.Module):
        return _network(what.__name__, ModuleFactory(what), recipe)
    if callable(what):
        return _function(what, recipe, inputs)
    raise InputError(f"learner is a {type(what).__name__}, expected an estimator, a torch module, a training function or a name")


def tracked(name: str, estimator: BaseEstimator | None, params: dict) -> tuple[str, BaseEstimator | None, dict]:
    """The same learner; a network records what becomes of each example."""
    if isinstance(estimator, NetworkClassifier):
        return name, clone(estimator).set_params(track_examples=True), params  # type: ignore[union-attr]
    return name, estimator, {"track_examples": True, **params} if name == "network" and estimator is None else params


def _named(name: str, recipe: dict) -> tuple[str, None, dict]:
    if name in LEARNERS:
        return name, None, settled(LEARNERS[name](), recipe, f"learner {name!r}")
    try:
        find_network(name)
    except InputError:
        raise unknown("learner", name, [*LEARNERS, *NETWORKS, "mlp-LxU", "module:name", "file.py:name"]) from None
    return "network", None, {"network": name, **settled(NetworkClassifier(), recipe, f"network {name!r}")}


def _with(estimator: Any, recipe: dict) -> Any:
    return estimator.set_params(**settled(estimator, recipe, type(estimator).__name__)) if recipe else estimator


def _estimator(estimator: Any, inputs: Inputs) -> tuple[str, BaseEstimator, dict]:
    if not hasattr(estimator, "predict"):
        raise InputError(f"learner {type(estimator).__name__} has no predict, expected a classifier")
    is_skorch = any(cls.__module__.startswith("skorch.") for cls in type(estimator).__mro__)
    name = type(estimator).__name__
    if getattr(estimator, "takes_splits", False):
        return name, estimator, {}
    if is_skorch or inputs == "images":
        estimator = OnImages(estimator, inputs != "table")
    return name, estimator, {}


def _network(name: str, factory: Callable, recipe: dict) -> tuple[str, BaseEstimator, dict]:
    learner = _with(NetworkClassifier(factory), recipe)  # type: ignore[arg-type]
    learner.check_params()
    return name, learner, {}


def _function(function: Callable, recipe: dict, inputs: Inputs) -> tuple[str, BaseEstimator | None, dict]:
    name = getattr(function, "__name__", type(function).__name__)
    parameters = _required(function)
    if "seed" in inspect.signature(function).parameters:
        if recipe:
            raise InputError(f"recipe is {recipe}, expected none beside a training function, which has its own")
        return name, TrainingFunction(function), {}
    if not parameters:
        made = function()
        if isinstance(made, nn.Module):
            return _network(name, ModuleFactory(function), recipe)
        if callable(made) and not hasattr(made, "fit") and not isinstance(made, type) and not _required(made):
            raise InputError(f"{name}() returned a function without parameters, expected a learner")
        return as_learner(made, recipe, inputs)
    if len(parameters) == 2:
        return _network(name, function, recipe)
    raise InputError(
        f"function {name} takes {', '.join(parameters)}; expected (split, seed) for a training function, "
        "(image_shape, n_classes) or nothing for a factory of modules"
    )


def _required(function: Callable) -> list[str]:
    """The names of the parameters that have to be given."""
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in inspect.signature(function).parameters.values() if p.default is p.empty and p.kind not in kinds]


class ModuleFactory:
    """A factory (image_shape, n_classes) → module from a class or function that may take no arguments."""

    def __init__(self, make: Callable):
        self.make = make
        required = _required(make)
        if len(required) not in (0, 2):
            raise InputError(
                f"{_name(make)} takes {', '.join(required)}; expected (image_shape, n_classes), or nothing that has to be given"
            )
        self.takes_sizes = len(required) == 2
        self.__qualname__ = _name(make)

    def __call__(self, image_shape: tuple[int, ...], n_classes: int) -> nn.Module:
        return self.make(image_shape, n_classes) if self.takes_sizes else self.make()


class Reinitialized:
    """A factory that copies a module and initializes the copy anew, layer by layer.

    Raises InputError for a layer with parameters of its own and no `reset_parameters`.
    """

    def __init__(self, module: nn.Module):
        for name, layer in module.named_modules():
            own = [*layer.parameters(recurse=False), *layer.buffers(recurse=False)]
            if own and not hasattr(layer, "reset_parameters"):
                raise InputError(
                    f"layer {name or 'itself'} ({type(layer).__name__}) of the module has no reset_parameters, so it cannot be "
                    "initialized anew; expected the module's class, or a function that makes it"
                )
        self.module = module
        self.__qualname__ = type(module).__name__

    def content(self) -> list:
        """What identifies it: its layers, with the shapes of their parameters but not the values, which are drawn anew."""
        return [
            (
                name,
                type(layer),
                {k: v for k, v in vars(layer).items() if not k.startswith("_")},
                [tuple(p.shape) for p in layer.parameters()],
            )
            for name, layer in self.module.named_modules()
        ]

    def __call__(self, image_shape: tuple[int, ...], n_classes: int) -> nn.Module:
        copy = deepcopy(self.module)
        for layer in copy.modules():
            if hasattr(layer, "reset_parameters"):
                layer.reset_parameters()  # type: ignore[operator]
        return copy


def _name(thing: Any) -> str:
    return getattr(thing, "__qualname__", type(thing).__name__)


class TrainingFunction(ClassifierMixin, BaseEstimator):
    """A user's `train(split, seed) → predict` as a classifier. Global generators are seeded for it, and put back."""

    takes_splits = True

    def __init__(self, train=None, random_state=0):
        self.train = train
        self.random_state = random_state

    def fit(self, split: Split, **_):
        self.classes_ = np.arange(split.n_classes)
        self._like = split
        with seeds.everywhere(self.random_state):
            self.predict_ = self.train(split, self.random_state)  # type: ignore[misc]
        if not callable(self.predict_):
            raise InputError(
                f"{_name(self.train)} returned a {type(self.predict_).__name__}, expected a function: predict(split) → classes"
            )  # type: ignore[arg-type]
        return self

    def _scores(self, X) -> np.ndarray:
        split = X if isinstance(X, Split) else _unlabelled(X, self._like)
        with torch.no_grad():
            out = self.predict_(split)
        out = out.detach().cpu().numpy() if isinstance(out, torch.Tensor) else np.asarray(out)
        if out.ndim not in (1, 2) or len(out) != len(split) or (out.ndim == 2 and out.shape[1] < len(self.classes_)):
            expected = f"({len(split)},) classes or ({len(split)}, {len(self.classes_)}) scores"
            raise InputError(f"predict returned shape {out.shape}, expected {expected}")
        return out

    def predict(self, X) -> np.ndarray:
        out = self._scores(X)
        return out.argmax(1) if out.ndim == 2 else out


def _unlabelled(X, like: Split) -> Split:
    images = as_images(X, like=like.image_shape, remedy=A_SPLIT) if np.ndim(X) > 2 else torch.as_tensor(np.asarray(X))
    return Split(images, torch.zeros(len(images), dtype=torch.int64), like.classes)


class OnImages(ClassifierMixin, BaseEstimator):
    """An estimator that is given images (n, c, h, w), or a table, float32 in 0…1, and labels as int64: skorch nets want this.

    Global generators are seeded for it, and put back.
    """

    takes_splits = True

    def __init__(self, estimator=None, images=True, random_state=0):
        self.estimator = estimator
        self.images = images
        self.random_state = random_state

    def fit(self, split: Split, **_):
        self.classes_ = np.arange(split.n_classes)
        with seeds.everywhere(self.random_state):
            self.estimator_ = clone(self.estimator)
            self.estimator_.fit(self._arrays(split), split.labels.numpy())  # type: ignore[union-attr]
        return self

    def _arrays(self, X) -> np.ndarray:
        images = X.images if isinstance(X, Split) else torch.as_tensor(np.asarray(X))
        values = to_float(images)
        return (values if self.images else values.flatten(1)).numpy()

    def predict(self, X) -> np.ndarray:
        return self.estimator_.predict(self._arrays(X))  # type: ignore[union-attr]

    def predict_proba(self, X) -> np.ndarray:
        return self.estimator_.predict_proba(self._arrays(X))  # type: ignore[union-attr]
