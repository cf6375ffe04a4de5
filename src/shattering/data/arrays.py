"""`dataset_from_arrays`: inputs of any kind that rows can be taken of, and their labels, as they are → a `Dataset`."""

from collections import Counter
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from scipy.sparse import issparse

from shattering.data.channels import channels_first
from shattering.data.dataset import Dataset
from shattering.data.foreign import are_pictures, inputs_of_torch, is_torch, stack
from shattering.data.groups import group_codes
from shattering.data.kinds import Kind
from shattering.data.labels import check_are_classes, codes_of, names_of
from shattering.data.numbers import check_no_other_frame, plain_numbers
from shattering.data.rows import Rows, as_tokens, is_text
from shattering.data.split import Split
from shattering.data.targets import are_numbers, check_names, check_names_differ, kind_of, plain_labels, plain_targets
from shattering.errors import InputError, a_type, unknown

Targets = Literal["classes", "numbers"]
"""The kind of the labels: classes (by name or number), or the numbers that a regression predicts."""


def dataset_from_arrays(
    x_train: Any,
    y_train: Any,
    x_test: Any,
    y_test: Any,
    *,
    classes: Any = None,
    label_values: Any = None,
    channels: str | None = None,
    kind: Kind | None = None,
    targets: Targets | None = None,
    groups: tuple[Any, Any] | None = None,
    name: str = "arrays",
) -> Dataset:
    """Return a Dataset from arrays, tensors, DataFrames, sparse matrices, texts or objects, all values and labels as they are.

    Args:
        x_train: (n, features), of booleans, whole numbers or floats; or images (n, height, width), or (n, height, width, channels) /
            (n, channels, height, width), of uint8 in 0…255 or floats in original units (0…1). Estimators and training functions get
            tables, and images of floats, in the type in which they are given. Or a DataFrame, a sparse matrix, a list of texts, or
            with kind="opaque" a list of anything: models get rows of these, in this very type. A list of Pillow's
            images is read as image files are.
        y_train: (n,) whole numbers, text or booleans. Estimators and scorers get these; the classes are in the order in which NumPy
            sorts them. Or fractional numbers, the targets of a regression.
        x_test: the same for the test split.
        y_test: the same for the test split.
        classes: names of the classes; labels then are numbers 0…k-1, or names. Default: the labels.
        label_values: (k,) the labels that there may be, in ascending order. Default: those in y_train.
        channels: "first" or "last"; None: by the rule of `channels_first`.
        kind: "sequence" for numbers (n, channels, length), "tokens" for ids (n, length) or lists of them, "opaque" for what is to be
            handed on unseen. Default: images for arrays of three or four axes, a table for two, and opaque for texts.
        targets: "classes" or "numbers". Default: numbers where y_train has fractions.
        groups: (of the train split, of the test split), each (n,): equal for examples that belong together. None: there are none.
        name: what the dataset is called.

    Raises:
        InputError: for shapes, types or values that do not fit, and where the order of the channels is not to be seen.

    Example:
        >>> data = dataset_from_arrays([[0.0], [1.0], [2.0]], ["a", "b", "a"], [[3.0]], ["b"])
        >>> data.train.classes
        ('a', 'b')
    """
    if groups is not None and not (isinstance(groups, (tuple, list)) and len(groups) == 2):
        raise InputError(f"groups is {a_type(groups)}, expected a pair beside four arrays: (of the train split, of the test split)")
    of_groups = groups or (None, None)
    for x, y, group, where in zip((x_train, x_test), (y_train, y_test), of_groups, ("train", "test"), strict=True):
        _check_same_order(x, y, f"y_{where}", f"x_{where}")
        _check_same_order(x, group, "groups", f"x_{where}")
        _check_same_order(y, group, "groups", f"y_{where}")  # beside inputs without an index
    x = as_inputs(x_train, channels, "x_train", kind)
    inputs = (x, x if x_test is x_train else as_inputs(x_test, channels, "x_test", kind))
    labels, names = _labels(y_train, y_test, classes, label_values, targets)
    codes = (None, None) if groups is None else group_codes(groups, [len(x) for x in inputs], ("train", "test"))
    for x, (y, _), where in zip(inputs, labels, ("train", "test"), strict=True):
        if len(x) != len(y):
            raise InputError(f"x_{where} has {len(x)} examples and y_{where} has {len(y)} labels, expected as many")
    train, test = (
        Split(x, y, names, label_values=values, kind=kind, groups=g, names=_index(x))  # type: ignore[arg-type]  # Rows are like a tensor; kind None is the split's default
        for x, (y, values), g in zip(inputs, labels, codes, strict=True)
    )
    return Dataset(train, test, name)


def _check_same_order(x: Any, other: Any, what: str, where: str) -> None:
    """Raise InputError for a Series that has the index of inputs or labels in another order: rows are taken by their places."""
    if not (isinstance(x, (pd.DataFrame, pd.Series)) and isinstance(other, (pd.DataFrame, pd.Series))):
        return
    one, two = x.index, other.index
    if len(one) != len(two) or one.equals(two):
        return
    if not (one.is_unique and two.is_unique):
        if Counter(one.tolist()) == Counter(two.tolist()):
            remedy = "expected the same order, or arrays, whose rows go together by their places"
            raise InputError(f"{what} has the index of {where}, in which names stand twice, in another order: {remedy}")
        return
    both = len(one.intersection(two, sort=False))
    if both == len(one):
        raise InputError(f"{what} has the index of {where} in another order, expected the same: {what}.loc[{where}.index]")
    if both and not _counts(one) and not _counts(two):
        remedy = "expected the same index, or arrays, whose rows go together by their places"
        raise InputError(f"{what} and {where} share {both} of {len(one)} names in their index, and differ in the others: {remedy}")


def _counts(index: pd.Index) -> bool:
    """Return whether an index counts the rows, as that of a new DataFrame does, and names none."""
    return isinstance(index, pd.RangeIndex) and index.start == 0 and index.step == 1


def _index(inputs: Any) -> np.ndarray | None:
    """Return the index of a DataFrame or Series as text, unless it only counts the rows."""
    index = getattr(inputs.content, "index", None) if isinstance(inputs, Rows) else None
    if not isinstance(index, pd.Index) or isinstance(index, pd.RangeIndex):
        return None
    return np.array([str(name) for name in index])


def _labels(
    y_train: Any, y_test: Any, classes: Any, label_values: Any, targets: Targets | None
) -> tuple[list[tuple[torch.Tensor, np.ndarray | None]], tuple[str, ...]]:
    """Return (codes or targets, label values) of both splits, and the names of the classes."""
    if targets not in (None, "classes", "numbers"):
        raise unknown("targets", targets, ("classes", "numbers"))
    if targets == "numbers" or (targets is None and classes is None and label_values is None and are_numbers(y_train)):
        numbers = [plain_targets(y, where) for y, where in ((y_train, "y_train"), (y_test, "y_test"))]
        return [(torch.from_numpy(y), None) for y in numbers], ()
    plain = plain_labels(y_train, "y_train"), plain_labels(y_test, "y_test")
    values, names = _classes(*plain, classes, label_values)
    return [(codes_of(y, values, where), values) for y, where in zip(plain, ("y_train", "y_test"), strict=True)], names


def _classes(train: np.ndarray, test: np.ndarray, classes, label_values) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return (labels that there are, in order; names of their classes)."""
    one, two = kind_of(train), kind_of(test)
    if one != two:
        raise InputError(f"y_train has {one} and y_test has {two}, expected labels of one kind")
    names = None if classes is None else [str(c) for c in classes]
    if label_values is not None:
        values = plain_labels(label_values, "label_values")
    elif names is None or (one == "booleans" and len(names) == 2):
        values = np.array([False, True]) if names else np.unique(train)
    else:
        if one == "text":
            check_names_differ(names, "y_train")
            names = sorted(names)
        values = np.array(names) if one == "text" else np.arange(len(names))
    if names is None:
        check_are_classes(values, len(train), "y_train")
    names = names or names_of(values)
    check_names(names, "y_train" if classes is None else "classes")
    if len(names) != len(values):
        raise InputError(f"classes has {len(names)} names and label_values {len(values)} labels, expected as many")
    return values, tuple(names)


def as_inputs(x: Any, channels: str | None, where: str, kind: Kind | None) -> "torch.Tensor | Rows":
    """Return inputs of any kind, unchanged: arrays of numbers as a tensor, a copy, and anything else as `Rows`."""
    check_no_other_frame(x, where)
    x = inputs_of_torch(x, where) if is_torch(x) else x
    inputs = _without_channels(x, where, kind)
    if inputs is None:
        return as_images(x, channels, where)
    if channels is not None:
        raise InputError(f"channels is {channels!r}, expected none for {where}, {_without(x, kind)}")
    return inputs


def _without(x: Any, kind: Kind | None) -> str:
    """Say why the order of the channels is not asked for."""
    if kind == "sequence":
        return "whose sequences are (n, channels, length): transpose(0, 2, 1) makes them of (n, length, channels)"
    return "whose images are pictures" if kind is None and are_pictures(x) else "which is no array of images"


def _without_channels(x: Any, where: str, kind: Kind | None) -> "torch.Tensor | Rows | None":
    """Return inputs in which the order of the channels is not asked for; None for arrays of images, and tables of numbers."""
    if kind == "tokens":
        return as_tokens(x, where)
    if kind == "opaque" or issparse(x) or isinstance(x, pd.DataFrame) or (kind is None and (is_text(x, where) or _is_mixed(x))):
        return Rows(x, where)
    if kind == "sequence":
        return plain_numbers(x, where)
    return stack(x, where)[0] if are_pictures(x) else None  # of pictures, NumPy would make numbers of a palette's colours


def _is_mixed(x: Any) -> bool:
    """Return whether it is an array (n, features) of objects or text: a table whose columns are not all numbers."""
    if not isinstance(x, np.ndarray) or x.ndim != 2 or x.dtype.kind not in "OU":
        return False
    return x.dtype.kind == "U" or any(isinstance(value, str) or pd.isna(value) for value in x.ravel().tolist())


def as_images(x, channels: str | None = None, where: str = "images", **order) -> torch.Tensor:
    """Return arrays as (n, channels, height, width) or (n, features) in their own type; a copy.

    See `dataset_from_arrays`; order: see `channels_first`.
    """
    images = plain_numbers(x, where)
    if images.ndim == 1:
        raise InputError(f"{where} has shape {tuple(images.shape)}, expected (n, features); a single feature is a column: reshape(-1, 1)")
    if images.ndim in (3, 4) and not (images.dtype == torch.uint8 or images.is_floating_point()):
        remedy = "uint8 (0…255) or floats: divided by the largest value that there can be"
        raise InputError(f"{where} have type {images.dtype}, expected {remedy}")
    if images.ndim == 4:
        return channels_first(images, channels, where, **order)
    if channels is not None:
        raise InputError(f"channels is {channels!r}, expected none for {where} of shape {tuple(images.shape)}")
    return images[:, None] if images.ndim == 3 else images
