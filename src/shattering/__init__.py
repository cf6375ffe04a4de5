"""Would this model fit noise just as well? Randomization tests for any model, data and training hyperparameters.

The names below are imported when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from shattering.version import VERSION as __version__

_WHERE = {
    "Dataset": "data.dataset",
    "Split": "data.dataset",
    "DATASETS": "data.catalog",
    "load_dataset": "data.load",
    "dataset_from_arrays": "data.arrays",
    "Randomization": "randomization",
    "randomize": "randomization",
    "NETWORKS": "networks",
    "MODELS": "learners",
    "NetworkClassifier": "learners.network",
    "NetworkRegressor": "learners.regressor",
    "KernelInterpolator": "learners.kernel",
    "KernelInterpolatorClassifier": "learners.kernel",
    "RandomConvClassifier": "learners.random_conv",
    "RandomConvKernelClassifier": "learners.random_conv_kernel",
    "ReluInterpolator": "learners.relu",
    "ReluInterpolatorClassifier": "learners.relu",
    "RunSpec": "runs.spec",
    "Run": "runs.stored",
    "Store": "runs.store",
    "grid": "runs.grid",
    "run": "runs.execute",
    "sweep": "runs.sweep",
    "Ray": "runs.on_ray",
    "MEASURES": "measures.catalog",
    "measure": "measures.measure",
    "randomization_test": "compare.front",
    "RandomizationTest": "compare.result",
    "assert_can_fit": "compare.can_fit",
    "runs_table": "report.tables",
    "summary_table": "report.tables",
    "write_report": "report.page",
    "InputError": "errors",
}
__all__ = sorted(_WHERE)

if TYPE_CHECKING:
    from shattering.compare.can_fit import assert_can_fit
    from shattering.compare.front import randomization_test
    from shattering.compare.result import RandomizationTest
    from shattering.data.arrays import dataset_from_arrays
    from shattering.data.catalog import DATASETS
    from shattering.data.dataset import Dataset
    from shattering.data.load import load_dataset
    from shattering.data.split import Split
    from shattering.errors import InputError
    from shattering.learners import MODELS
    from shattering.learners.kernel import KernelInterpolator, KernelInterpolatorClassifier
    from shattering.learners.network import NetworkClassifier
    from shattering.learners.random_conv import RandomConvClassifier
    from shattering.learners.random_conv_kernel import RandomConvKernelClassifier
    from shattering.learners.regressor import NetworkRegressor
    from shattering.learners.relu import ReluInterpolator, ReluInterpolatorClassifier
    from shattering.measures.catalog import MEASURES
    from shattering.measures.measure import measure
    from shattering.networks import NETWORKS
    from shattering.randomization import Randomization, randomize
    from shattering.report.page import write_report
    from shattering.report.tables import runs_table, summary_table
    from shattering.runs.execute import run
    from shattering.runs.grid import grid
    from shattering.runs.on_ray import Ray
    from shattering.runs.spec import RunSpec
    from shattering.runs.store import Store
    from shattering.runs.stored import Run
    from shattering.runs.sweep import sweep


def __getattr__(name: str):
    if name not in _WHERE:
        raise AttributeError(f"module 'shattering' has no attribute {name!r}")
    return getattr(import_module(f"shattering.{_WHERE[name]}"), name)


def __dir__():
    return [*globals(), *__all__]
