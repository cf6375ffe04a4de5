"""`dataset_from_arrays`: arrays of images or tables, and their labels, as they are → a `Dataset`."""

import numpy as np
import torch

from shattering.data.channels import channels_first
from shattering.data.dataset import Dataset, Split
from shattering.data.labels import check_are_classes, codes_of, names_of
from shattering.data.numbers import plain_numbers
from shattering.data.targets import check_names, check_names_differ, kind_of, plain_labels
from shattering.errors import InputError


def dataset_from_arrays(
    x_train, y_train, x_test, y_test, *, classes=None, label_values=None, channels: str | None = None, name: str = "arrays"
) -> Dataset:
    """Return a Dataset from NumPy arrays, torch tensors or DataFrames of numbers, all values and labels as they are.

    Args:
        x_train: (n, features), of booleans, whole numbers or floats; or images (n, height, width), or (n, height, width, channels) /
            (n, channels, height, width), of uint8 in 0…255 or floats in original units (0…1). Estimators and training functions get
            tables, and images of floats, in the type in which they are given.
        y_train: (n,) whole numbers, text or booleans. Estimators and scorers get these; the classes are in the order in which NumPy
            sorts them.
        x_test: the same for the test split.
        y_test: the same for the test split.
        classes: names of the classes; labels then are numbers 0…k-1, or names. Default: the labels.
        label_values: (k,) the labels that there may be, in ascending order. Default: those in y_train.
        channels: "first" or "last"; None: by the rule of `channels_first`.
        name: what the dataset is called.

    Raises:
        InputError: for shapes, types or values that do not fit, and where the order of the channels is not to be seen.

    Example:
        >>> data = dataset_from_arrays([[0.0], [1.0], [2.0]], ["a", "b", "a"], [[3.0]], ["b"])
        >>> data.train.classes
        ('a', 'b')
    """
    images = [as_images(x, channels, where) for x, where in ((x_train, "x_train"), (x_test, "x_test"))]
    y_train, y_test = plain_labels(y_train, "y_train"), plain_labels(y_test, "y_test")
    values, names = _classes(y_train, y_test, classes, label_values)
    codes = codes_of(y_train, values, "y_train"), codes_of(y_test, values, "y_test")
    for x, y, where in zip(images, codes, ("train", "test"), strict=True):
        if len(x) != len(y):
            raise InputError(f"x_{where} has {len(x)} examples and y_{where} has {len(y)} labels, expected as many")
    train, test = (Split(x, y, names, label_values=values) for x, y in zip(images, codes, strict=True))
    return Dataset(train, test, name)


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


def as_images(x, channels: str | None = None, where: str = "images", **order) -> torch.Tensor:
    """Return arrays as (n, channels, height, width) or (n, features) in their own type; a copy.

    See `dataset_from_arrays`; order: see `channels_first`.
    """
    images = plain_numbers(x, where)
    if images.ndim in (3, 4) and not (images.dtype == torch.uint8 or images.is_floating_point()):
        raise InputError(f"{where} have type {images.dtype}, expected uint8 (0…255) or floats")
    if images.ndim == 4:
        return channels_first(images, channels, where, **order)
    if channels is not None:
        raise InputError(f"channels is {channels!r}, expected none for {where} of shape {tuple(images.shape)}")
    return images[:, None] if images.ndim == 3 else images
