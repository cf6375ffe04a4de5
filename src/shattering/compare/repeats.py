"""Inputs that are on both sides of a split. Permutation tests take each example's label for one of its own."""

from collections import Counter
from dataclasses import dataclass

from shattering.data.dataset import Dataset, Split
from shattering.data.lazy import ImagesOnDisk


@dataclass(frozen=True)
class Repeats:
    """How many examples have the input of another one.

    Args:
        number: test examples with the input of a training example; with folds, examples with the input of another one.
        n: of how many.
        whole: whether the test split has the very inputs of the train split.
        folds: whether the test is by folds.
    """

    number: int
    n: int
    whole: bool
    folds: bool

    def __str__(self) -> str:
        if self.whole:
            return (
                "The test split has the same inputs as the train split, so there is no p-value: labels are permuted on each side by "
                "itself, and what is memorized would pass for learned. Test on other examples, or by folds."
            )
        if self.folds:
            return (
                f"{self.number:,} of {self.n:,} examples have the same input as another one. If these are copies, p is too small: copies "
                "are on both sides of a fold, with one label in the data, and with several once labels are permuted."
            )
        return (
            f"{self.number:,} of {self.n:,} test examples have the same input as a training example. If these are the same examples, p is "
            "too small: labels are permuted on each side by itself, and what is memorized passes for learned."
        )


def find_repeats(dataset: Dataset, folds: bool) -> Repeats | None:
    """The repeated inputs of a dataset; None if there are none, or where images on disk would have to be read for it."""
    splits = (dataset.train,) if folds else (dataset.train, dataset.test)
    if any(isinstance(split.images, ImagesOnDisk) for split in splits):
        return None
    train, *rest = (_inputs(split) for split in splits)
    if folds:
        number, n = sum(often for often in train.values() if often > 1), len(dataset.train)
    else:
        number, n = sum(often for row, often in rest[0].items() if row in train), len(dataset.test)
    return Repeats(number, n, not folds and train == rest[0], folds) if number else None


def _inputs(split: Split) -> Counter[int]:
    """How often each input is there, by a hash of 64 bits."""
    return Counter(hash(row.tobytes()) for row in split.images.numpy())
