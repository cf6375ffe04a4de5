"""Labels in the user's own values, and their places among the classes."""

import numpy as np
import pandas as pd
import torch

from shattering.errors import InputError


def codes_among(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the place (n,) int64 of each value among the labels (k,), or -1 for one that is none of them.

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


def codes_of(labels: np.ndarray, values: np.ndarray, where: str) -> torch.Tensor:
    """Return the place (n,) int64 of each label among the values (k,). Raises InputError for a label that is none of them."""
    codes = codes_among(labels, values)
    strange = codes < 0
    if strange.any():
        first, row = labels[strange].tolist()[0], int(strange.argmax())
        found = f"class {first!r} (first: row {row})"
        if first == -1:
            found = f"{int(strange.sum())} labels of -1 (first: row {row}), the mark of a missing label"
        raise InputError(f"{where} has {found}, expected one of {listed(values)}")
    return torch.from_numpy(codes)


def check_are_classes(values: np.ndarray, n: int, where: str) -> None:
    """Raise InputError for the different labels (k,) of n examples if they are fewer than two, or numbers that look like measurements."""
    if len(values) < 2:
        raise InputError(f"{where} has {len(values)} class, expected at least two")
    if values.dtype.kind in "iuf" and 2 * len(values) > n and not np.array_equal(values, np.arange(len(values))):
        raise InputError(
            f"{where} has {len(values)} different numbers for {n} examples, expected classes; numbers to predict go with "
            "a regressor, and targets='numbers'"
        )


def names_of(values: np.ndarray) -> list[str]:
    """Return the names of the classes that have these labels."""
    return [str(int(value) if isinstance(value, float) else value) for value in values.tolist()]


def listed(labels: np.ndarray) -> str:
    """Return labels in words, the first ten of them."""
    shown = ", ".join(repr(label) for label in labels[:10].tolist())
    return f"{shown}, … ({len(labels)} in all)" if len(labels) > 10 else shown


def is_default(values: np.ndarray) -> bool:
    """Return whether labels are 0…k-1, the default."""
    return values.dtype == np.int64 and np.array_equal(values, np.arange(len(values)))


def check_label_values(values: np.ndarray, k: int) -> None:
    """Raise InputError unless these can be the labels of k classes, in order."""
    if values.shape != (k,) or values.dtype.kind not in "biufU":
        raise InputError(f"label_values have type {values.dtype} and shape {values.shape}, expected text or whole numbers and ({k},)")
    if values.dtype.kind == "f" and not (np.isfinite(values) & (values == np.round(values))).all():
        raise InputError(f"label_values are {listed(values)}, expected whole numbers")
    if not (values[1:] > values[:-1]).all():
        raise InputError(f"label_values are {listed(values)}, expected them in ascending order, each once")
