"""Datasets of other libraries, torch's and Hugging Face's, as arrays in memory."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from shattering.data import disk
from shattering.data.channels import channels_first
from shattering.data.dataset import Dataset, Split
from shattering.data.decode import decode_images
from shattering.data.targets import plain_labels
from shattering.errors import InputError

_TEST = ("test", "validation", "val")


def is_torch(source: object) -> bool:
    """Whether it is a torch dataset that can be indexed."""
    return isinstance(source, torch.utils.data.Dataset) and hasattr(source, "__len__") and hasattr(source, "__getitem__")


def read_torch(source: Any, channels: str | None = None) -> tuple[torch.Tensor, np.ndarray]:
    """All (image, label) pairs of a torch dataset: images (n, c, h, w), (n, h, w) or (n, features), labels (n,).

    channels: "first" or "last", of items that are arrays; None: by the rule of `channels_first`. Random transforms are drawn once, here.
    Raises InputError for items that are no such pairs, or of several shapes.
    """
    images, labels, pictures = [], [], False
    for i in range(len(source)):
        item = source[i]
        if not isinstance(item, Sequence) or len(item) != 2:
            raise InputError(f"item {i} of the torch dataset is a {type(item).__name__}, expected a pair (image, label)")
        pictures = isinstance(item[0], Image.Image)
        images.append(_array(item[0]))
        labels.append(item[1])
    shapes = {image.shape for image in images}
    if len(shapes) != 1:
        raise InputError(f"the images of the torch dataset have shapes {sorted(shapes)[:3]}, expected one shape")
    stacked = torch.from_numpy(np.stack(images))
    if stacked.ndim == 4 and not pictures:
        stacked = channels_first(stacked, channels, "the images of the torch dataset")
    elif channels is not None:
        found = "pictures" if pictures else f"of shape {tuple(stacked.shape[1:])}"
        raise InputError(f"channels is {channels!r}, expected none for the torch dataset, whose images are {found}")
    return stacked, plain_labels(labels, "the target of the torch dataset")


def _array(image: Any) -> np.ndarray:
    """An item as an array, channels first; pictures as uint8."""
    if isinstance(image, Image.Image):
        pixels = np.asarray(image if image.mode in ("L", "RGB") else image.convert("RGB"))
        return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    return image.detach().cpu().numpy() if isinstance(image, torch.Tensor) else np.asarray(image)


def is_hub(source: object) -> bool:
    """Whether it is a `Dataset`, or a `DatasetDict`, of Hugging Face's library."""
    first = next(iter(source.values()), None) if isinstance(source, Mapping) else source
    return hasattr(first, "features") and hasattr(first, "column_names") and hasattr(first, "info")


def from_hub(source: Any, hold_out: Callable[[Split, str], Dataset]) -> Dataset:
    """A Hugging Face dataset with one image column and one column of class labels.

    A `DatasetDict` needs a "train" split, and may have "test" or "validation"; otherwise `hold_out` makes the test split.
    Raises InputError for columns that cannot be found.
    """
    if not isinstance(source, Mapping):
        return hold_out(_read_hub(source), _hub_name(source))
    if "train" not in source:
        raise InputError(f"the DatasetDict has splits {list(source)}, expected 'train'")
    train, name = _read_hub(source["train"]), _hub_name(source["train"])
    test = next((source[key] for key in _TEST if key in source), None)
    return hold_out(train, name) if test is None else Dataset(train, _read_hub(test, train.classes), name)


def _hub_name(source: Any) -> str:
    return getattr(source.info, "dataset_name", None) or "hugging-face"


def _read_hub(source: Any, classes: Sequence[str] | None = None) -> Split:
    images = [name for name, feature in source.features.items() if type(feature).__name__ == "Image"]
    labels = [name for name, feature in source.features.items() if type(feature).__name__ == "ClassLabel"]
    labels = labels or [name for name in ("label", "labels", "class", "target", "y") if name in source.column_names]
    if len(images) != 1 or not labels:
        raise InputError(f"the Hugging Face dataset has columns {source.column_names}, expected one of images and one named 'label'")
    names = getattr(source.features[labels[0]], "names", None) or classes
    table = source.with_format("arrow")[:]
    codes, found = disk.encode_labels(table[labels[0]].to_pandas(), names, f"column {labels[0]!r}")
    column = table[images[0]].combine_chunks()
    values = column.field("bytes")
    if values.null_count:
        raise InputError(f"column {images[0]!r} has {values.null_count} images without bytes, expected the pictures in the dataset itself")
    pixels = decode_images(lambda i: values[i].as_py(), len(values), lambda i: f"row {i} of column {images[0]!r}")
    return Split(pixels, codes, found)
