"""Studies: computations that show what the papers say of linear models, kernels, capacity and stability.

A study is a function (seed, parameters with defaults) → (numbers, table): a dictionary of JSON values with an entry "data"
that says what it was computed on, and a DataFrame.
"""

from collections.abc import Callable

import pandas as pd

from shattering.experiments.study_capacity import rademacher, rademacher_classes, stability
from shattering.experiments.study_classical import perceptron, polynomial
from shattering.experiments.study_kernels import double_descent, interpolators
from shattering.experiments.study_linear import gradient_descent, hessian
from shattering.experiments.study_relu import corollary1, theorem1

STUDIES: dict[str, Callable[..., tuple[dict, pd.DataFrame]]] = {
    "gradient-descent": gradient_descent,
    "hessian": hessian,
    "interpolators": interpolators,
    "double-descent": double_descent,
    "polynomial": polynomial,
    "perceptron": perceptron,
    "theorem1": theorem1,
    "corollary1": corollary1,
    "rademacher": rademacher,
    "rademacher-classes": rademacher_classes,
    "stability": stability,
}
MADE = ("noise",)  # what a study's dataset may be beside those that `load_dataset` takes: it is made as it is read
