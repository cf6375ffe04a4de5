"""Turn anything that users pass as a model into a scikit-learn estimator that a run can use."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

from sklearn.base import BaseEstimator, clone
from sklearn.frozen import FrozenEstimator
from torch import nn

from shattering.errors import InputError, a_type, blamed, reason, shown, unknown
from shattering.identity.digest import identify
from shattering.learners import MODELS, build_model
from shattering.learners.factories import ModuleFactory, of_instance, required_parameters, size_of, takes_shape_and_classes
from shattering.learners.network import NetworkClassifier
from shattering.learners.others import check_callbacks, is_of, is_skorch, parts, wants_codes
from shattering.learners.own import traits
from shattering.learners.predictions import check_kind, kind_of_model
from shattering.learners.regressor import NetworkRegressor
from shattering.learners.settings import settled
from shattering.learners.targets import import_target, is_target
from shattering.learners.wrapped import TrainingFunction, Wrapped
from shattering.networks import NETWORKS, is_network

Inputs = Literal["auto", "table", "images"]


def as_model(
    what: Any, hyperparameters: Mapping[str, object] | None = None, inputs: Inputs = "auto", start: str | None = None
) -> tuple[str, BaseEstimator | None, dict]:
    """Return (name, estimator, params) of what a user gave: the estimator, or None and the parameters of the model of that name.

    Args:
        what: a name in `MODELS` or `NETWORKS`; "module:name" or "file.py:name"; a scikit-learn classifier, its class, or a
            pipeline; a skorch net; a torch module as a class, a factory (image_shape, n_classes) → module (or without
            arguments), or an instance, see `start`; a training function with a parameter `seed`, (split, seed) → predict, where
            predict takes a `Split` and returns classes (n,), as the numbers 0…k-1, or scores (n, k); or a function without
            parameters that returns one of these.
        hyperparameters: parameters of the estimator; for torch modules those of `NetworkClassifier`, which trains them.
        inputs: what scikit-learn's and skorch's estimators are given: "table" (n, features), "images" (n, c, h, w)
            float32 in 0…1; "auto": images for skorch, a table for others.
        start: what every fit of an instance of a torch module starts from: "reinitialized", the same module with weights that its
            layers draw anew; "given", the weights that it has. None: "reinitialized". For any
            other model it has to be None.

    Raises:
        InputError: for anything else.

    Example:
        >>> from sklearn.naive_bayes import GaussianNB
        >>> as_model(GaussianNB(), {"var_smoothing": 1e-3})
        ('GaussianNB', GaussianNB(var_smoothing=0.001), {})
        >>> as_model("mlp-1x512", {"epochs": 3})
        ('network', None, {'network': 'mlp-1x512', 'epochs': 3})
    """
    if inputs not in get_args(Inputs):
        raise unknown("inputs", inputs, get_args(Inputs))
    hyperparameters = dict(hyperparameters or {})
    if isinstance(what, str):
        if is_target(what):
            return as_model(import_target(what), hyperparameters, inputs, start)
        _check_no_start(start, f"the name {what!r}")
        return _named(what, hyperparameters)
    if isinstance(what, nn.Module):
        return _network(type(what).__name__, of_instance(what, start), hyperparameters)
    _check_no_start(start, a_type(what))
    if isinstance(what, type) and _is_estimator(what):
        return as_model(_instance(what), hyperparameters, inputs)
    if not isinstance(what, type) and _is_estimator(what):
        return _estimator(_with(what, hyperparameters), inputs)
    if isinstance(what, type) and issubclass(what, nn.Module):
        return _network(what.__name__, ModuleFactory(what), hyperparameters)
    if callable(what) and not hasattr(what, "fit"):
        return _function(what, hyperparameters, inputs)
    if hasattr(what, "fit"):
        name = what.__name__ if isinstance(what, type) else type(what).__name__
        raise InputError(f"model {name} has fit and no get_params, expected a class that extends sklearn.base.BaseEstimator")
    raise InputError(f"model is {shown(what)}, expected an estimator, a torch module, a training function or a name")


def _check_no_start(start: str | None, beside: str) -> None:
    if start is not None:
        raise InputError(
            f"start is {start!r} beside {beside}, expected it beside an instance of a torch module alone: every fit of another model "
            "starts from what its class or function makes"
        )


def tracked(name: str, estimator: BaseEstimator | None, params: dict) -> tuple[str, BaseEstimator | None, dict]:
    """Return the same model; a network is set to record its training examples."""
    if isinstance(estimator, NetworkClassifier):
        return name, clone(estimator).set_params(track_examples=True), params  # type: ignore[union-attr]  # the stub also covers containers
    return name, estimator, {"track_examples": True, **params} if name == "network" and estimator is None else params


def for_numbers(name: str, estimator: BaseEstimator | None, params: dict) -> tuple[str, BaseEstimator | None, dict]:
    """Return what `as_model` gave, for data whose labels are numbers: a network becomes a `NetworkRegressor`.

    Raises InputError for parameters that this does not have.
    """
    is_named = estimator is None and name == "network"
    if not is_named and type(estimator) is not NetworkClassifier:
        return name, estimator, params
    defaults = NetworkClassifier().get_params()
    chosen = params if estimator is None else {key: value for key, value in estimator.get_params().items() if value != defaults[key]}
    others = [key for key in chosen if key not in NetworkRegressor().get_params()]
    if others:
        raise InputError(f"{others[0]} is {shown(chosen[others[0]])} where the labels are numbers, expected it for classes alone")
    return ("network-regressor", None, chosen) if is_named else (name, NetworkRegressor(**chosen), params)


def _named(name: str, hyperparameters: dict) -> tuple[str, BaseEstimator | None, dict]:
    if name in MODELS:
        return _by_name(name, name, settled(MODELS[name], hyperparameters, f"model {name!r}"))
    if not is_network(name):
        raise unknown("model", name, [*MODELS, *NETWORKS, "mlp-LxU", "module:name", "file.py:name"])
    model, network = ("network-regressor", NetworkRegressor()) if _is_for_numbers(hyperparameters) else ("network", NetworkClassifier())
    return _by_name(model, name, {"network": name, **settled(network, hyperparameters, f"network {name!r}")})


def _is_for_numbers(hyperparameters: dict) -> bool:
    """Return whether one of them is a parameter of networks for regressions alone, such as scale_targets."""
    alone = NetworkRegressor().get_params().keys() - NetworkClassifier().get_params().keys()
    return not alone.isdisjoint(name.replace("-", "_") for name in hyperparameters)


def _by_name(model: str, name: str, params: dict) -> tuple[str, BaseEstimator | None, dict]:
    """Return a model and its parameters; the estimator itself where one of these is a function, such as a loss, which has no name."""
    named = {name: value for name, value in params.items() if not callable(value)}
    if named == params:
        return model, None, params
    build_model(model, named, seed=0)  # raises for what a named model does not take
    estimator: BaseEstimator = clone(MODELS[model])  # type: ignore[assignment]  # the stub also covers containers
    return name, estimator.set_params(**params), {}


def _is_estimator(what: Any) -> bool:
    """Return whether it is an estimator, or the class of one; some have `predict` only once they are fitted."""
    base = isinstance(what, BaseEstimator) or (isinstance(what, type) and issubclass(what, BaseEstimator))
    return base or (hasattr(what, "fit") and hasattr(what, "get_params"))


def _instance(cls: type) -> Any:
    needed = required_parameters(cls)
    if needed:
        raise InputError(
            f"model is the class {cls.__name__}, which needs {', '.join(needed)}; expected an instance, or a function that makes one"
        )
    with blamed(cls.__name__):
        return cls()


def _with(estimator: Any, hyperparameters: dict) -> Any:
    if not hyperparameters:
        return estimator
    copy = clone(estimator)
    return copy.set_params(**settled(estimator, hyperparameters, type(estimator).__name__))  # type: ignore[union-attr]  # as above


def _estimator(estimator: Any, inputs: Inputs) -> tuple[str, BaseEstimator, dict]:
    name = type(estimator).__name__
    if not hasattr(estimator, "fit"):
        raise InputError(f"model {name} has no fit, expected an estimator that has")
    _check_cloned(estimator, name)
    _check_not_frozen(estimator, name)
    check_callbacks(estimator)
    check_kind(estimator, kind_of_model(estimator) == "regressor", name)
    if traits(estimator).takes_splits:
        return name, estimator, {}
    if inputs == "images" or is_skorch(estimator) or wants_codes(estimator):
        estimator = Wrapped(estimator, inputs == "images" or (inputs == "auto" and is_skorch(estimator)))
    return name, estimator, {}


def _check_cloned(estimator: Any, name: str) -> None:
    """Raise InputError for an estimator that cannot be cloned, as it is for each fit, or only with other arguments."""
    try:
        copy = clone(estimator)
        both = zip(parts(estimator).values(), parts(copy).values(), strict=True)
    except (RuntimeError, AttributeError, TypeError) as error:
        remedy = "expected a constructor that keeps its arguments as they are, each as an attribute of its name"
        if isinstance(error, RuntimeError) and any(is_of("catboost", part) for part in parts(estimator).values()):
            remedy = 'expected tuples in place of lists and dicts, which CatBoost copies: cat_features=("a", "b"), class_weights=(1, 10)'
        raise InputError(f"model {name} cannot be cloned: {reason(error)}; {remedy}") from None
    for part, cloned in both:
        if lost := _lost(part, cloned):
            raise InputError(
                f"model {name} cannot be cloned: its copy has another {lost}, which the constructor of {type(part).__name__} takes as **, "
                "and get_params does not list; expected a constructor that names its parameters"
            )


def _lost(estimator: Any, copy: Any) -> str:
    """Return the name of an attribute that a constructor sets from what it takes as **, and that the copy has otherwise; or nothing."""
    if type(estimator).get_params is not BaseEstimator.get_params:
        return ""  # what lists its parameters by itself, as XGBoost's estimators do, lists these, too
    kinds = [parameter.kind for parameter in inspect.signature(type(estimator).__init__).parameters.values()]
    if inspect.Parameter.VAR_KEYWORD not in kinds:
        return ""
    made, again = vars(copy), vars(clone(copy))
    names = [name for name in vars(estimator) if name in made and _is_same(made[name], again[name])]  # no clocks and the like
    return next((name for name in names if not _is_same(vars(estimator)[name], made[name])), "")


def _is_same(one: Any, other: Any) -> bool:
    return identify(one, "it")[0] == identify(other, "it")[0]


def _check_training(function: Callable, name: str) -> None:
    """Raise InputError for a training function that cannot be called with a split, and with the seed by its name."""
    signature = inspect.signature(function)
    try:
        signature.bind(None, seed=0)
    except TypeError:
        takes = ", ".join(signature.parameters)
        raise InputError(
            f"training function {name} takes {takes}; expected a split first, a parameter named seed, and no others that have to be given: "
            f"such as lambda split, seed: {name if name.isidentifier() else 'train'}(…)"
        ) from None


def _check_not_frozen(estimator: Any, name: str) -> None:
    """Raise InputError for a `FrozenEstimator`, also within a pipeline or search: its fit does nothing, so noise would not be fitted."""
    for place, part in parts(estimator).items():
        if isinstance(part, FrozenEstimator):
            held = type(part.estimator).__name__
            where = f"model {name} has a FrozenEstimator at {place}" if place else "model is a FrozenEstimator"
            raise InputError(f"{where}, which is not fitted to randomized data, expected the estimator that it holds ({held})")
        params = part.get_params(deep=False) if hasattr(part, "get_params") else {}
        for said, value in (("cv='prefit'", params.get("cv")), ("prefit=True", params.get("prefit"))):
            if value is True or (isinstance(value, str) and value == "prefit"):
                where = f"model {name} has {type(part).__name__} with {said} at {place}" if place else f"model {name} has {said}"
                raise InputError(f"{where}: what is fitted already is not fitted to randomized data, expected it without")


def _network(name: str, factory: Callable, hyperparameters: dict) -> tuple[str, BaseEstimator, dict]:
    trainer = NetworkRegressor if _is_for_numbers(hyperparameters) else NetworkClassifier
    model = _with(trainer(factory), hyperparameters)  # type: ignore[arg-type]  # it is an estimator
    model.check_params()
    return name, model, {}


def _function(function: Callable, hyperparameters: dict, inputs: Inputs) -> tuple[str, BaseEstimator | None, dict]:
    name = getattr(function, "__name__", type(function).__name__)
    parameters = required_parameters(function)
    if "seed" in inspect.signature(function).parameters:
        if hyperparameters:
            raise InputError(f"hyperparameters is {hyperparameters}, expected none beside a training function, which has its own")
        _check_training(function, name)
        return name, TrainingFunction(function), {}
    if not parameters:
        with blamed(name):
            made = function()
        if isinstance(made, nn.Module):
            return _network(name, ModuleFactory(function), hyperparameters)
        if callable(made) and not hasattr(made, "fit") and not isinstance(made, type) and not required_parameters(made):
            raise InputError(f"{name}() returned a function without parameters, expected a model")
        return as_model(made, hyperparameters, inputs)
    if takes_shape_and_classes(parameters):
        return _network(name, function, hyperparameters)
    if all(map(size_of, parameters)):
        return _network(name, ModuleFactory(function), hyperparameters)
    raise InputError(
        f"function {name} takes {', '.join(parameters)}; expected (split, seed) for a training function, "
        "(image_shape, n_classes), other sizes or nothing for a factory of modules"
    )
