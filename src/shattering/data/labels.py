"""Labels in the user's own values, and their places among the classes."""

import numpy as np
import pandas as pd

from shattering.errors import InputError


def codes_among(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(n,) int64: the place of each value among the labels (k,), or -1 for one that is none of them.

    Values are the same where Python says that they are equal: 1.0 and True are 1, but "1" is not.
    """
    if values.dtype.kind not in "biufcUO":
        return np.full(len(values), -1)
    if values.dtype == np.float16:  # which pandas does not take
        values = values.astype(np.float32)
    try:
        numbers, found = pd.factorize(values)
    except TypeError:  # what cannot be hashed is no label
        return np.full(len(values), -1)
    places = {label: place for place, label in enumerate(labels.tolist())}
    return np.array([*(places.get(value, -1) for value in found.tolist()), -1])[numbers]  # missing values have number -1


def listed(labels: np.ndarray) -> str:
    """Labels in words, the first ten of them."""
    shown = ", ".join(repr(label) for label in labels[:10].tolist())
    return f"{shown}, … ({len(labels)} in all)" if len(labels) > 10 else shown


def check_label_values(values: np.ndarray, k: int) -> None:
    """Raise InputError unless these can be the labels of k classes, in order."""
    if values.shape != (k,) or values.dtype.kind not in "biufU":
        raise InputError(f"label_values have type {values.dtype} and shape {values.shape}, expected text or whole numbers and ({k},)")
    if values.dtype.kind == "f" and not (np.isfinite(values) & (values == np.round(values))).all():
        raise InputError(f"label_values are {listed(values)}, expected whole numbers")
    if not (values[1:] > values[:-1]).all():
        raise InputError(f"label_values are {listed(values)}, expected them in ascending order, each once")
