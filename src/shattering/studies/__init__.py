"""Studies: computations on linear models and kernels that show what the papers say of them.

A study is a function (seed, parameters with defaults) → (numbers, table): a dictionary of JSON values with an entry "data"
that says what it was computed on, and a DataFrame.
"""

from collections.abc import Callable

import pandas as pd

from shattering.studies.classical import perceptron, polynomial
from shattering.studies.kernels import double_descent, interpolators
from shattering.studies.linear import gradient_descent, hessian

STUDIES: dict[str, Callable[..., tuple[dict, pd.DataFrame]]] = {
    "gradient-descent": gradient_descent,
    "hessian": hessian,
    "interpolators": interpolators,
    "double-descent": double_descent,
    "polynomial": polynomial,
    "perceptron": perceptron,
}
