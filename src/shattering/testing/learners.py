"""What users pass as a learner → a scikit-learn estimator that a run can use."""

import inspect
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any, Literal, get_args

from sklearn.base import BaseEstimator, clone
from torch import nn

from shattering.errors import InputError, reason, unknown
from shattering.learners import LEARNERS
from shattering.learners.network import NetworkClassifier
from shattering.learners.own import traits
from shattering.learners.predictions import check_classifier
from shattering.learners.settings import settled
from shattering.networks import NETWORKS, find_network
from shattering.testing.targets import import_target, is_target
from shattering.testing.wrapped import TrainingFunction, Wrapped, is_skorch, wants_codes

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
    if isinstance(what, type) and _is_estimator(what):
        return as_learner(_instance(what), recipe, inputs)
    if not isinstance(what, type) and _is_estimator(what):
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


def _is_estimator(what: Any) -> bool:
    """Whether it is an estimator, or the class of one; some have `predict` only once they are fitted."""
    base = isinstance(what, BaseEstimator) or (isinstance(what, type) and issubclass(what, BaseEstimator))
    return base or (hasattr(what, "fit") and hasattr(what, "get_params"))


def _instance(cls: type) -> Any:
    try:
        return cls()
    except TypeError as error:
        raise InputError(f"learner is the class {cls.__name__}, which cannot be made without arguments: {reason(error)}") from None


def _with(estimator: Any, recipe: dict) -> Any:
    return clone(estimator).set_params(**settled(estimator, recipe, type(estimator).__name__)) if recipe else estimator  # type: ignore[union-attr]


def _estimator(estimator: Any, inputs: Inputs) -> tuple[str, BaseEstimator, dict]:
    name = type(estimator).__name__
    check_classifier(estimator, name)
    if traits(estimator).takes_splits:
        return name, estimator, {}
    if inputs == "images" or is_skorch(estimator) or wants_codes(estimator):
        estimator = Wrapped(estimator, inputs == "images" or (inputs == "auto" and is_skorch(estimator)))
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
