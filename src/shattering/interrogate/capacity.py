"""Measures of capacity, judged as measures of generalization are: how much a network could fit, and how much it carries of its labels.

The complexity of a class of functions does not look at the labels: Rademacher complexity and the shatter point are properties of an
architecture, its training and its inputs. Whoever offers them as measures of generalization gets the same value on natural and on random
labels (ICLR 2017, section 2.2). They stand among the measures so that the tests show it.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from shattering.measures.bits import bits_memorized
from shattering.measures.fitted import Fitted, NotComputable


def rademacher_correlation(fitted: Fitted) -> float:
    """Return how well the twin, trained on random labels of the same inputs, agrees with them: (k a − 1)/(k − 1), a its accuracy.

    For two classes this is the correlation 2a − 1 = (1/n) Σ sᵢ h(xᵢ) with random signs s, so one draw of the empirical Rademacher
    complexity (Zhang et al., "Understanding deep learning requires rethinking generalization", ICLR 2017, equation 1), with the
    function that training finds in the place of the best one: a lower bound. With k classes, too, it is 0 at chance, and 1 where all
    labels are fitted.

    Args:
        fitted: a network with a twin: of the same architecture, hyperparameters, inputs and initial weights. Its own labels do not matter.

    Returns:
        A number in -1/(k − 1)…1, without unit.

    Raises:
        NotComputable: without a twin.

    Example:
        >>> from dataclasses import replace
        >>> from shattering import NetworkClassifier, load_dataset
        >>> from shattering.measures.fitting import as_fitted
        >>> data = load_dataset("digits", n_train=50)
        >>> twin = as_fitted(NetworkClassifier("mlp-1x64", epochs=60, batch_size=10, learning_rate=0.1).fit(data.train), data)
        >>> rademacher_correlation(replace(twin, twin=twin))
        1.0
    """
    if fitted.twin is None:
        raise NotComputable("there is no twin that was trained on random labels")
    k = fitted.twin.n_classes
    return (k * (1 - fitted.twin.error) - 1) / (k - 1)


def bits_of_labels(fitted: Fitted) -> float:
    """Return the bits by which the network's probabilities shorten the description of the labels that it was trained on.

    This is H − L of `shattering.measures.bits.bits_memorized` with H = n log2 k, L = −Σ log2 p(yᵢ) (after Morris et al. 2025, arXiv
    2505.24832, section 2). Of random labels such bits are memorized; of natural ones a part is learned.

    Args:
        fitted: a network whose probabilities are the softmax of its logits.

    Returns:
        Bits, at most n log2 k; negative for probabilities worse than chance, and -inf where a label has the probability 0.

    Example:
        >>> from shattering import NetworkClassifier, load_dataset
        >>> from shattering.measures.fitting import as_fitted
        >>> data = load_dataset("digits", n_train=50)
        >>> model = NetworkClassifier("mlp-1x64", epochs=60, batch_size=10, learning_rate=0.1).fit(data.train)
        >>> round(bits_of_labels(as_fitted(model, data))) <= round(50 * np.log2(10))
        True
    """
    probabilities = fitted.logits.softmax(1).cpu().numpy()
    return bits_memorized(fitted.labels.cpu().numpy(), probabilities, fitted.n_classes)


def shatter_points(table: pd.DataFrame) -> pd.Series:
    """Return for each run the largest number of random labels that its cell has fitted in this population; NaN where none was.

    A lower bound of the shatter point (the largest n whose random labels a model fits, see `shattering.find_shatter_point`): a population
    looks no further than the n of its natural runs. All runs of a cell have the same value, whatever labels they were trained on.

    Args:
        table: see `shattering.interrogate.table.runs_table`; untrained runs have no shatter point.

    Example:
        >>> table = pd.DataFrame({"cell": ["a", "a"], "condition": ["natural", "random"], "n": [90, 90], "fitted": [True, True]})
        >>> shatter_points(table).tolist()
        [90.0, 90.0]
    """
    random = table.loc[table["fitted"] & table["condition"].isin(["random", "fewer"])]
    most = {cell: float(rows["n"].max()) for cell, rows in random.groupby("cell")}
    return pd.Series([most.get(cell, np.nan) for cell in table["cell"]], index=table.index, dtype=float)


OF_RUNS: dict[str, Callable[[Any], float]] = {  # computed on each run, and stored with the values of measures
    "rademacher_correlation": rademacher_correlation,
    "bits_of_labels": bits_of_labels,
}
OF_THE_TABLE: dict[str, Callable[[pd.DataFrame], pd.Series]] = {"shatter_point": shatter_points}
