"""Datasets of torch that can be indexed → inputs and labels."""

import warnings
from collections.abc import Iterator, Sequence
from copy import copy
from typing import Any

import numpy as np
import torch
from PIL import Image
from sklearn.utils import Bunch

from shattering.data.channels import channels_first
from shattering.data.kinds import Kind
from shattering.data.numbers import check_dense
from shattering.data.pixels import Refused, as_array, deep, plain
from shattering.data.targets import are_numbers, plain_labels, plain_targets
from shattering.errors import InputError, a_type, reason


def is_torch(source: object) -> bool:
    """Return whether it is a torch dataset that can be indexed."""
    is_indexed = isinstance(source, torch.utils.data.Dataset) and not isinstance(source, torch.utils.data.IterableDataset)
    return is_indexed and hasattr(source, "__len__") and hasattr(source, "__getitem__")


def instead(source: object) -> str:
    """Say what to give in place of a loader or a stream of torch, or of what scikit-learn's loaders return; or nothing."""
    if isinstance(source, Bunch):
        return ": its (data, target)"
    if isinstance(source, torch.utils.data.DataLoader):
        return ": the dataset of the DataLoader"
    return ": lists of the inputs and labels of the IterableDataset" if isinstance(source, torch.utils.data.IterableDataset) else ""


def read_torch(source: Any, channels: str | None = None, kind: Kind | None = None) -> tuple[Any, np.ndarray]:
    """Load all (input, label) pairs of a torch dataset: images (n, c, h, w), (n, h, w), a table (n, features), or texts; labels (n,).

    channels: "first" or "last", of items that are arrays; None: by the rule of `channels_first`. kind: "sequence", "tokens" or "opaque",
    for inputs that are such. Random transforms are drawn once, here.
    Raises InputError for items that are no such pairs, of several shapes, or pictures that would be changed by reading them.
    """
    if channels is not None and kind in ("sequence", "tokens", "opaque"):
        raise InputError(f"channels is {channels!r}, expected none for the torch dataset, whose inputs are said to be {kind!r}")
    pairs = []
    for i, item in enumerate(_items(source)):
        if not isinstance(item, Sequence) or isinstance(item, str) or len(item) != 2:
            raise InputError(f"item {i} of the torch dataset is {a_type(item)}, expected a pair (input, label)")
        pairs.append(tuple(map(_kept, item)))
    if kind in ("tokens", "opaque") or (pairs and all(isinstance(item[0], str) for item in pairs)):
        inputs = [_of_tensor(x, i, "the torch dataset") if isinstance(x, torch.Tensor) else x for i, (x, _) in enumerate(pairs)]
        return inputs, plain_or_numbers([y for _, y in pairs])
    labels = [y for _, y in pairs]
    stacked, pictures = stack([x for x, _ in pairs], "the torch dataset")
    if kind == "sequence":
        return stacked, plain_or_numbers(labels)
    if stacked.ndim == 4 and not pictures:
        stacked = channels_first(stacked, channels, "the images of the torch dataset")
    elif channels is not None:
        found = "pictures" if pictures else f"of shape {tuple(stacked.shape[1:])}"
        raise InputError(f"channels is {channels!r}, expected none for the torch dataset, whose images are {found}")
    return stacked, plain_or_numbers(labels)


def _items(source: Any) -> Iterator[Any]:
    for i in range(len(source)):
        try:
            yield source[i]
        except IndexError as error:
            raise InputError(f"the torch dataset has a length of {len(source)}, and no item {i}: {reason(error)}") from None


def inputs_of_torch(source: Any, where: str) -> list[Any]:
    """Return the items of a torch dataset that has no labels. Raises InputError for items that are tuples. where: what it is called."""
    items = [_kept(item) for item in _items(source)]
    if items and isinstance(items[0], tuple):
        remedy = "expected items that are inputs alone; a dataset of pairs (input, label) is given without labels beside it"
        raise InputError(f"{where} is {a_type(source)} whose items are tuples of {len(items[0])}, {remedy}")
    return items


def are_pictures(source: Any) -> bool:
    """Return whether it is a list of Pillow's images."""
    return isinstance(source, (list, tuple)) and len(source) > 0 and all(isinstance(item, Image.Image) for item in source)


def stack(items: Sequence[Any], where: str) -> tuple[torch.Tensor, bool]:
    """Return pictures as (n, channels, height, width), or arrays with an axis before their own, and whether they are pictures.

    where: what they are called in messages. Raises InputError for several shapes or types, and for pictures that would be changed by
    reading them.
    """
    notes: list[str] = []
    images = [_array(x, i, notes, where) for i, x in enumerate(items)]
    for text in dict.fromkeys(notes):
        warnings.warn(f"{notes.count(text):,} of {len(images):,} images of {where} are {text}", stacklevel=2)
    pictures = len(images) > 0 and isinstance(images[0], _Picture)
    types = {str(image.dtype): i for i, image in enumerate(images)}
    if len(types) > 1 or any(isinstance(image, _Picture) != pictures for image in images):
        found = " and ".join(f"{name} (item {i})" for name, i in list(types.items())[:2]) if len(types) > 1 else "pictures and arrays"
        raise InputError(f"the images of {where} are {found}, expected one type")
    if pictures and len({len(image) for image in images}) == 2:
        images = [np.broadcast_to(image, (3, *image.shape[1:])) for image in images]  # grey ones among coloured ones
    shapes = {tuple(image.shape) for image in images}
    if len(shapes) != 1:
        raise InputError(f"the images of {where} have shapes {sorted(shapes)[:3]}, expected one shape, and at least one image")
    return torch.from_numpy(np.stack(images)), pictures


def plain_or_numbers(labels: Any) -> np.ndarray:
    """Return the labels of a torch dataset, or its fractional targets."""
    where = "the target of the torch dataset"
    return plain_targets(labels, where) if are_numbers(labels) else plain_labels(labels, where)


def _kept(value: Any) -> Any:
    """Return a copy, as some datasets fill the same memory again with the next item."""
    return value.detach().clone() if isinstance(value, torch.Tensor) else copy(value)


class _Picture(np.ndarray):
    """An array (c, h, w) that was a picture, so that the order of its axes is known."""


def _array(image: Any, i: int, notes: list[str], where: str) -> np.ndarray:
    """Return an item as an array; pictures as uint8, channels first."""
    if isinstance(image, Image.Image):
        try:
            fine = deep(image)
            return (as_array(plain(image, notes.append)) if fine is None else fine).transpose(2, 0, 1).view(_Picture)
        except Refused as error:
            raise InputError(f"item {i} of {where} {error}") from None
    if isinstance(image, torch.Tensor):
        return _of_tensor(image, i, where)
    try:
        values = None if _holds_arrays(image) else np.array(image)
    except (ValueError, TypeError):
        values = None
    if values is None or values.dtype.kind not in "biuf":
        remedy = "a picture, an array or a tensor; kind='opaque' hands on anything else unseen"
        raise InputError(f"the input of item {i} of {where} is {a_type(image)}, expected {remedy}")
    return values


def _of_tensor(x: torch.Tensor, i: int, where: str) -> np.ndarray:
    """Return a tensor as an array. Raises InputError for one that has no values, or no array of them."""
    check_dense(x, f"the input of item {i} of {where}")
    x = x.cpu()
    return (x.float() if x.dtype == torch.bfloat16 else x).numpy()


def _holds_arrays(item: Any) -> bool:
    """Return whether an item is several arrays, of which NumPy would make one."""
    return isinstance(item, (tuple, list)) and any(np.ndim(part) > 0 for part in item if hasattr(part, "shape"))
