"""Datasets of other libraries, torch's and Hugging Face's."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from typing import Any

import numpy as np
import torch
from PIL import Image

from shattering.data import formats
from shattering.data.channels import channels_first
from shattering.data.dataset import Dataset
from shattering.data.encoded import ArrowRows
from shattering.data.image_folders import TESTS
from shattering.data.pixels import Refused, as_array, plain
from shattering.data.split import Split
from shattering.data.targets import plain_labels
from shattering.errors import InputError


def is_torch(source: object) -> bool:
    """Return whether it is a torch dataset that can be indexed."""
    return isinstance(source, torch.utils.data.Dataset) and hasattr(source, "__len__") and hasattr(source, "__getitem__")


def read_torch(source: Any, channels: str | None = None) -> tuple[torch.Tensor, np.ndarray]:
    """Load all (image, label) pairs of a torch dataset: images (n, c, h, w), (n, h, w) or (n, features), labels (n,).

    channels: "first" or "last", of items that are arrays; None: by the rule of `channels_first`. Random transforms are drawn once, here.
    Raises InputError for items that are no such pairs, of several shapes, or pictures that would be changed by reading them.
    """
    images, labels, notes = [], [], []
    for i in range(len(source)):
        item = source[i]
        if not isinstance(item, Sequence) or len(item) != 2:
            raise InputError(f"item {i} of the torch dataset is a {type(item).__name__}, expected a pair (image, label)")
        images.append(_array(item[0], i, notes))
        labels.append(item[1].clone() if isinstance(item[1], torch.Tensor) else copy(item[1]))
    for text in dict.fromkeys(notes):
        warnings.warn(f"{notes.count(text):,} of {len(images):,} images of the torch dataset are {text}", stacklevel=2)
    pictures = len(images) > 0 and isinstance(images[0], _Picture)
    types = {str(image.dtype): i for i, image in enumerate(images)}
    if len(types) > 1 or any(isinstance(image, _Picture) != pictures for image in images):
        found = " and ".join(f"{name} (item {i})" for name, i in list(types.items())[:2]) if len(types) > 1 else "pictures and arrays"
        raise InputError(f"the images of the torch dataset are {found}, expected one type")
    if pictures and len({len(image) for image in images}) == 2:
        images = [np.broadcast_to(image, (3, *image.shape[1:])) for image in images]  # grey ones among coloured ones
    shapes = {tuple(image.shape) for image in images}
    if len(shapes) != 1:
        raise InputError(f"the images of the torch dataset have shapes {sorted(shapes)[:3]}, expected one shape, and at least one image")
    stacked = torch.from_numpy(np.stack(images))
    if stacked.ndim == 4 and not pictures:
        stacked = channels_first(stacked, channels, "the images of the torch dataset")
    elif channels is not None:
        found = "pictures" if pictures else f"of shape {tuple(stacked.shape[1:])}"
        raise InputError(f"channels is {channels!r}, expected none for the torch dataset, whose images are {found}")
    return stacked, plain_labels(labels, "the target of the torch dataset")


class _Picture(np.ndarray):
    """An array (c, h, w) that was a picture, so that the order of its axes is known."""


def _array(image: Any, i: int, notes: list[str]) -> np.ndarray:
    """Return an item as an array; pictures as uint8, channels first."""
    if isinstance(image, Image.Image):
        try:
            return as_array(plain(image, notes.append)).transpose(2, 0, 1).view(_Picture)
        except Refused as error:
            raise InputError(f"item {i} of the torch dataset {error}") from None
    if isinstance(image, torch.Tensor):
        image = image.detach().cpu()
        return (image.float() if image.dtype == torch.bfloat16 else image.clone()).numpy()  # some datasets fill the same tensor again
    return np.array(image)


def is_hub(source: object) -> bool:
    """Return whether it is a `Dataset`, or a `DatasetDict`, of Hugging Face's library."""
    first = next(iter(source.values()), None) if isinstance(source, Mapping) else source
    return hasattr(first, "features") and hasattr(first, "column_names") and hasattr(first, "info")


def from_hub(source: Any, hold_out: Callable[[Split, str], Dataset], size: int | None = None, skip_corrupt: bool = False) -> Dataset:
    """Load a Hugging Face dataset with one image column and one column of class labels.

    A `DatasetDict` needs a "train" split, and may have "test" or "validation", of which the first that has labels is the test split;
    otherwise `hold_out` makes it. size, skip_corrupt: as of `load_dataset`. Raises InputError for columns that cannot be found.
    """
    if not isinstance(source, Mapping):
        return hold_out(_read_hub(source, size, skip_corrupt), _hub_name(source))
    if "train" not in source:
        raise InputError(f"the DatasetDict has splits {list(source)}, expected 'train'")
    train, name = _read_hub(source["train"], size, skip_corrupt), _hub_name(source["train"])
    rest = [key for key in source if key not in ("train", *TESTS)]
    if rest:
        warnings.warn(f"the DatasetDict: the splits {', '.join(map(repr, rest))} are not used", stacklevel=2)
    found = [key for key in TESTS if key in source]
    test = next((key for key in found if _has_labels(source[key], train)), None)
    if test is None:
        if found:
            warnings.warn(f"the DatasetDict: the split {found[0]!r} has no labels, and is not used", stacklevel=2)
        return hold_out(train, name)
    return Dataset(train, _read_hub(source[test], size, skip_corrupt, train), name)


def _hub_name(source: Any) -> str:
    return getattr(source.info, "dataset_name", None) or "hugging-face"


def _has_labels(source: Any, like: Split) -> bool:
    name = _label_column(source)
    return name is not None and formats.are_labels(_columns(source, [name])[name].to_pandas(), like)


def _label_column(source: Any) -> str | None:
    """Return the column of a usual name, else the one of class labels; None: there is neither. Raises InputError if there are several."""
    named = [name for name in formats.LABELS if name in source.column_names]
    found = named or [name for name, feature in source.features.items() if type(feature).__name__ == "ClassLabel"]
    if len(found) > 1:
        several = " and ".join(map(repr, found))
        raise InputError(f"the Hugging Face dataset has columns {several}, each of which may be the labels, expected one: remove_columns")
    return found[0] if found else None


def _columns(source: Any, names: list[str]) -> Any:
    return source.with_format("arrow", columns=names)[:]


def _read_hub(source: Any, size: int | None, skip_corrupt: bool, like: Split | None = None) -> Split:
    if not hasattr(source, "__len__"):
        raise InputError("the Hugging Face dataset is a stream, expected one that has all rows at hand: load it without streaming")
    images = [name for name, feature in source.features.items() if type(feature).__name__ == "Image"]
    label = _label_column(source)
    if len(images) != 1 or label is None:
        raise InputError(f"the Hugging Face dataset has columns {source.column_names}, expected one of images and one named 'label'")
    table = _columns(source, [images[0], label])
    named = formats.classes_of(table[label].to_pandas(), f"column {label!r}", getattr(source.features[label], "names", None), like)
    return Split(formats.images_of(ArrowRows(table[images[0]], images[0]), size, skip_corrupt), **named)
