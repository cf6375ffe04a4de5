"""Find inputs that are on both sides of a split. A permutation test would take memorizing them for learning."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from shattering.brief import Brief
from shattering.data.dataset import Dataset
from shattering.data.lazy import ImagesOnDisk
from shattering.data.rows import Rows
from shattering.data.split import Split

Cuts = Sequence[tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True, repr=False)
class Duplicates(Brief):
    """The number of examples that share their input with another example.

    Args:
        number: test examples with the input of a training example; with folds, examples with the input of another example.
        n: the number of examples looked at.
        whole: True if the test split has exactly the inputs of the train split.
        folds: True if the test is by folds.
    """

    number: int
    n: int
    whole: bool
    folds: bool

    def __str__(self) -> str:
        if self.whole:
            return (
                "The test split has the same inputs as the train split, so there is no p-value: each split's labels are permuted "
                "separately, and memorizing would be taken for learning. Test on other examples, or by folds."
            )
        if self.folds:
            return (
                f"{self.number:,} of {self.n:,} examples have the same input as another example. If these are copies, p is too small: "
                "the copies on the two sides of a fold agree in their original labels, but not in permuted ones."
            )
        return (
            f"{self.number:,} of {self.n:,} test examples have the same input as a training example. If these are the same examples, p "
            "is too small: each split's labels are permuted separately, and memorizing is taken for learning."
        )


def find_duplicates(dataset: Dataset, folds: bool) -> Duplicates | None:
    """Return the duplicate inputs of a dataset; None if there are none, or if images on disk would have to be read for it."""
    splits = (dataset.train,) if folds else (dataset.train, dataset.test)
    if any(isinstance(split.inputs, ImagesOnDisk) for split in splits):
        return None
    kinds = [_types(split) for split in splits]
    train, *rest = (_count_inputs(split, any(kind != kinds[0] for kind in kinds)) for split in splits)
    if folds:
        number, n = sum(count for count in train.values() if count > 1), len(dataset.train)
    else:
        number, n = sum(count for row, count in rest[0].items() if row in train), len(dataset.test)
    return Duplicates(number, n, not folds and train == rest[0], folds) if number else None


def find_shared_groups(dataset: Dataset, exchange: str, cuts: Cuts | None = None) -> str | None:
    """Return a sentence about groups that are on both sides of the split, or of a fold; None if there are none.

    Args:
        dataset: the original data.
        exchange: how labels are exchanged.
        cuts: (training rows, test rows) of each fold; None for a test split.
    """
    train, test = dataset.train.groups, dataset.test.groups
    if train is None:
        return None
    sides = [(train, test)] if cuts is None else [(train[torch.from_numpy(a)], train[torch.from_numpy(b)]) for a, b in cuts]
    shared = max(len(np.intersect1d(a.numpy(), b.numpy())) for a, b in sides if b is not None)
    if not shared:
        return None
    where = "the train and in the test split" if cuts is None else "the training part and in the test part of a fold"
    told = (
        f"{shared:,} groups have examples in {where}: what the model learns of a group tells it the labels of that group's other "
        "examples, so scores are too high for new groups."
    )
    if cuts is None and exchange in ("whole", "shift"):
        told += " There is no p-value, for each split's labels would be permuted by themselves."
    return f"{told} Hold out whole groups."


def _types(split: Split) -> Any:
    """Return the type of the inputs of a split, by column where they have several."""
    content: Any = split.inputs.content if isinstance(split.inputs, Rows) else split.inputs
    return list(content.dtypes) if hasattr(content, "columns") else getattr(content, "dtype", None)


def _count_inputs(split: Split, as_numbers: bool) -> Counter[bytes]:
    """Count each input of a split. as_numbers: see `Split.row_keys`."""
    return Counter(split.row_keys(as_numbers=as_numbers))
