"""Models: scikit-learn estimators whose constructor arguments are their specification."""

from collections.abc import Mapping

from sklearn.base import BaseEstimator, clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Perceptron
from sklearn.neighbors import KNeighborsClassifier

from shattering.errors import InputError, UnknownName, no_target, shown, unknown
from shattering.learners.kernel import KernelInterpolatorClassifier
from shattering.learners.network import NetworkClassifier
from shattering.learners.own import OwnModel
from shattering.learners.random_conv import RandomConvClassifier
from shattering.learners.random_conv_kernel import RandomConvKernelClassifier
from shattering.learners.regressor import NetworkRegressor
from shattering.learners.relu import ReluInterpolatorClassifier
from shattering.learners.settings import settled
from shattering.networks import is_network

MODELS: dict[str, BaseEstimator] = {  # unfitted, with the parameters that a run has by default: clone them, as `find_model` does
    "network": NetworkClassifier(),
    "network-regressor": NetworkRegressor(),
    "kernel": KernelInterpolatorClassifier(),
    "random-conv": RandomConvClassifier(),
    "random-conv-kernel": RandomConvKernelClassifier(),
    "relu": ReluInterpolatorClassifier(),
    "deep-relu": ReluInterpolatorClassifier(depth=8),
    "random-forest": RandomForestClassifier(),
    "logistic-regression": LogisticRegression(),
    "nearest-neighbors": KNeighborsClassifier(),
    "perceptron": Perceptron(),
}
_LARGEST_SEED = 2**32 - 1  # that scikit-learn takes


def build_model(name: str, params: Mapping[str, object], seed: int) -> BaseEstimator:
    """Make an unfitted model, with the seed as its random_state if it has one.

    Args:
        name: a name in `MODELS`.
        params: parameters that differ from the model's defaults.
        seed: of the run.

    Raises:
        InputError: for unknown names and, where the model can tell without fitting, for values out of range.
    """
    model = find_model(name)
    chosen = settled(model, params, f"model {name!r}")
    if "random_state" in model.get_params():
        if "random_state" in chosen:
            raise InputError(f"random_state is {shown(chosen['random_state'])}, expected none: the seed of the run gives it")
        if seed > _LARGEST_SEED and not isinstance(model, OwnModel):
            raise InputError(f"seed is {seed}, expected at most {_LARGEST_SEED} for the model {name!r}, which is scikit-learn's")
        chosen["random_state"] = seed
    model.set_params(**chosen)
    if isinstance(model, OwnModel):
        model.check_params()
    return model


def find_model(name: str) -> BaseEstimator:
    """Return a new unfitted model by its name in `MODELS`. Raises InputError for another name."""
    if not isinstance(name, str) or name not in MODELS:
        if isinstance(name, str) and is_network(name):
            how = f"--set network={name}, in Python params={{'network': {name!r}}}"
            raise UnknownName(f"{name!r} is a network, expected the model 'network' with it as parameter: {how}")
        if isinstance(name, str) and ":" in name:
            raise no_target("model", name)
        raise unknown("model", name, MODELS)
    return clone(MODELS[name])  # type: ignore[return-value]  # the stub also covers what clone makes of containers
