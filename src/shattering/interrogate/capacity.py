"""Measures of capacity, judged as measures of generalization are: how much a network could fit, and how much it carries of its labels.

The complexity of a class of functions does not look at the labels: Rademacher complexity and the shatter point are properties of an
architecture, its training and its inputs, and uniform stability is one of the algorithm. Whoever offers them as measures of generalization
gets the same value on natural and on random labels (ICLR 2017, section 2.2). They stand among the measures so that the tests show it.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from shattering.interrogate.table import setting_of_cell, setting_of_training
from shattering.measures.bits import bits_memorized
from shattering.measures.fitted import Fitted, NotComputable
from shattering.runs.stored import Found, Run
from shattering.runs.study import StudySpec


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

    A lower bound of the shatter point (the largest n whose random labels a model fits, which
    `shattering.experiments.shatter_point.shatter_point` searches for): a population looks no further than the n of
    its natural runs. All runs of a cell have the same value, whatever labels they were trained on.

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


def uniform_stability(table: pd.DataFrame, stored: Sequence[Found]) -> pd.Series:
    """Return for each run the constant of uniform stability of its algorithm, as stored studies of stability bound it from below.

    Bousquet and Elisseeff ("Stability and generalization", JMLR 2002, definition 6), for the 0-1 loss: the largest change of the loss at
    any example when one training example is replaced, 0 or 1. The constant is a supremum over all training sets, labels included.

    Args:
        table: see `shattering.interrogate.table.runs_table`.
        stored: studies of their store (`shattering capacity stability` with a cell's data, size and parameters); others are not looked
            at. A study counts for the runs whose data, number of examples, hyperparameters and share of random labels it has, whatever
            ends its fits; of several seeds the mean. For natural runs of as many steps as others took, which are another algorithm, none
            does.

    Returns:
        (runs,); NaN where there is no such study, and for untrained networks.

    Example:
        >>> table = pd.DataFrame({"cell": ["{} n=90"], "condition": ["natural"], "n": [90], "corruption": [0.0]})
        >>> uniform_stability(table, []).tolist()
        [nan]
    """
    return _of_studies(table, stored, "uniform")


def average_stability(table: pd.DataFrame, stored: Sequence[Found]) -> pd.Series:
    """Return for each run how often the 0-1 loss at a training example changes when that example is replaced.

    On-average-replace-one stability (Shalev-Shwartz, Shamir, Srebro and Sridharan, JMLR 2010, definition 5), estimated on the replaced
    examples of stored studies of stability. Unlike the uniform constant it depends on the labels.

    Args:
        table: see `uniform_stability`.
        stored: see `uniform_stability`.

    Returns:
        (runs,), shares in 0…1; NaN as in `uniform_stability`.

    Example:
        >>> table = pd.DataFrame({"cell": ["{} n=90"], "condition": ["natural"], "n": [90], "corruption": [0.0]})
        >>> average_stability(table, []).tolist()
        [nan]
    """
    return _of_studies(table, stored, "own")


def _of_studies(table: pd.DataFrame, stored: Sequence[Found], number: str) -> pd.Series:
    known: dict[tuple[str, int, float], list[float]] = {}
    for run in stored:
        if not isinstance(run, Run) or not isinstance(run.spec, StudySpec) or run.spec.study != "stability" or run.status != "done":
            continue
        params = run.spec.hyperparameters()
        if params.get("model", "network") == "network":
            setting = setting_of_training(params.get("dataset", "digits"), params.get("params") or {})
            known.setdefault((setting, run.result["n"], run.result["labels"]), []).append(float(run.result[number]))
    values = []
    for cell, condition, n, p in zip(*(table[column] for column in ("cell", "condition", "n", "corruption")), strict=True):
        is_other = "pixels" in condition or condition == "equal steps"
        found = [] if is_other or not known else known.get((setting_of_cell(cell), n, p), [])
        values.append(float(np.mean(found)) if found else np.nan)
    return pd.Series(values, index=table.index, dtype=float)


_NO_STUDY = "no stored study of stability has these data, this size, architecture and hyperparameters"
OF_RUNS: dict[str, Callable[[Any], float]] = {  # computed on each run, and stored with the values of measures
    "rademacher_correlation": rademacher_correlation,
    "bits_of_labels": bits_of_labels,
}
OF_STUDIES: dict[str, Callable[[pd.DataFrame, Sequence[Found]], pd.Series]] = {
    "uniform_stability": uniform_stability,
    "average_stability": average_stability,
}
OF_THE_TABLE: dict[str, Callable[[pd.DataFrame, Sequence[Found]], pd.Series]] = {
    "shatter_point": lambda table, stored: shatter_points(table),
    **OF_STUDIES,
}
WHY_NONE = {  # why a run has no value of those
    "shatter_point": "no random labels were fitted by this cell",
    "uniform_stability": _NO_STUDY,
    "average_stability": _NO_STUDY,
}
