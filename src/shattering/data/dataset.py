"""`Split` and `Dataset`: what every model is trained and tested on."""

import hashlib
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from shattering import seeds
from shattering.data.labels import check_label_values, is_default, listed
from shattering.data.lazy import ImagesOnDisk
from shattering.errors import InputError

FLOATS = (torch.float16, torch.float32, torch.float64)
UNSIGNED = (torch.uint16, torch.uint32, torch.uint64)
WHOLE = (torch.bool, torch.uint8, *UNSIGNED, torch.int8, torch.int16, torch.int32, torch.int64)


@dataclass(frozen=True, eq=False)
class Split:
    """Labelled examples.

    Args:
        images: (n, channels, height, width), uint8 in 0…255, or floats in original units (0…1): the type carries the scale, so it is
            applied exactly once. Or a table (n, features) of booleans, whole numbers or floats, which are original units as they
            are. A tensor; or `ImagesOnDisk`, which are read when they are needed. Estimators and training functions get a table,
            and images of floats, in this very type; uint8 images reach estimators as float32 in 0…1.
        labels: (n,) int64 in 0…len(classes)-1: the labels that a model sees.
        classes: names of the classes.
        ids: (n,) int64, the index of each example in its source; stable under subsetting. Default: 0…n-1.
        true_labels: (n,) int64, the labels before any randomization. Default: labels.
        label_values: (k,) what the labels 0…k-1 stand for in the user's own values, as text, whole numbers or booleans, in the
            order in which NumPy sorts them. Estimators and scorers are given these (`y`). Default: 0…k-1.

    Raises:
        InputError: for shapes, types or values that do not fit.

    Example:
        >>> split = Split(torch.zeros(2, 1, 8, 8), torch.tensor([0, 1]), ("cat", "dog"))
        >>> len(split), split.image_shape
        (2, (1, 8, 8))
    """

    images: torch.Tensor  # or ImagesOnDisk
    labels: torch.Tensor
    classes: tuple[str, ...]
    ids: torch.Tensor = field(default=None)  # type: ignore[assignment]  # set in __post_init__
    true_labels: torch.Tensor = field(default=None)  # type: ignore[assignment]  # set in __post_init__
    label_values: np.ndarray = field(default=None)  # type: ignore[assignment]  # set in __post_init__

    def __post_init__(self):
        if self.ids is None:
            object.__setattr__(self, "ids", torch.arange(len(self.labels)))
        if self.true_labels is None:
            object.__setattr__(self, "true_labels", self.labels)
        values = np.arange(len(self.classes)) if self.label_values is None else np.array(self.label_values)
        values.setflags(write=False)
        object.__setattr__(self, "label_values", values)
        _check_split(self)

    def __len__(self) -> int:
        return len(self.labels)

    def __getstate__(self) -> dict:
        unsigned = self.images.dtype in UNSIGNED  # tensors that torch does not pickle
        return {**vars(self), "images": self.images.numpy()} if unsigned else vars(self)

    def __setstate__(self, state: dict) -> None:
        images = state["images"]
        vars(self).update(state, images=torch.from_numpy(images) if isinstance(images, np.ndarray) else images)

    @property
    def n_classes(self) -> int:
        return len(self.classes)

    @property
    def y(self) -> np.ndarray:
        """(n,) the labels in the user's own values: a copy."""
        return self.label_values[self.labels.numpy()]

    @property
    def image_shape(self) -> tuple[int, ...]:
        """(channels, height, width), or (features,)."""
        return tuple(self.images.shape[1:])

    def copy(self) -> "Split":
        """Return the same in memory of its own, for code that may change what it is given; images on disk stay there."""
        images = self.images.subset(np.arange(len(self))) if isinstance(self.images, ImagesOnDisk) else self.images.clone()
        labels, ids, true_labels = self.labels.clone(), self.ids.clone(), self.true_labels.clone()
        return replace(self, images=images, labels=labels, ids=ids, true_labels=true_labels)

    def subset(self, rows: torch.Tensor) -> "Split":
        """Return the examples at positions `rows`, with their ids."""
        images = self.images.subset(rows) if isinstance(self.images, ImagesOnDisk) else self.images[rows]
        return replace(self, images=images, labels=self.labels[rows], ids=self.ids[rows], true_labels=self.true_labels[rows])


@dataclass(frozen=True, eq=False)
class Dataset:
    """A train and a test split over the same classes.

    Args:
        train: the split that models are trained on.
        test: the split that they are tested on.
        name: name of the dataset.
        variant: the name with what figures from it must say, e.g. "cifar10 (JPEG)". Default: name.
        validation: examples held out of the train split, with its noise, to choose by; None: none.
        skipped: number of unreadable images that were left out, by split.

    Example:
        >>> split = Split(torch.zeros(2, 1, 8, 8), torch.tensor([0, 1]), ("cat", "dog"))
        >>> Dataset(train=split, test=split).name
        'arrays'
    """

    train: Split
    test: Split
    name: str = "arrays"
    variant: str = ""
    validation: Split | None = None
    skipped: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self):
        if not self.variant:
            object.__setattr__(self, "variant", self.name)
        train, test = self.train, self.test
        if train.image_shape != test.image_shape:
            raise InputError(f"test images have shape {test.image_shape}, expected that of the train images, {train.image_shape}")
        if train.classes != test.classes:
            raise InputError(f"test classes {list(test.classes)} differ from train classes {list(train.classes)}")
        if train.label_values.dtype.kind != test.label_values.dtype.kind or train.label_values.tolist() != test.label_values.tolist():
            found, expected = listed(test.label_values), listed(train.label_values)
            raise InputError(f"test label_values {found} differ from those of the train split, {expected}")

    @property
    def classes(self) -> tuple[str, ...]:
        return self.train.classes

    def limit(self, n_train: int | None = None, n_test: int | None = None, seed: int = 0, n_validation: int | None = None) -> "Dataset":
        """Return class-balanced, seeded subsets of the splits; None keeps a split whole.

        n_validation: examples of the train split to hold out, beside the n_train that stay (None: what is left).
        The training examples of a given n_train are the same with and without a validation split.
        """
        test = balanced_subset(self.test, n_test, seed, "test")
        if n_validation is None:
            return replace(self, train=balanced_subset(self.train, n_train, seed, "train"), test=test)
        room = len(self.train) - (n_train or 1)
        if not 1 <= n_validation <= room:
            raise InputError(f"n_validation is {n_validation}, expected 1…{room}, which n_train leaves")
        n_train = n_train or len(self.train) - n_validation
        order = _balanced_order(self.train, seed, "train")
        train, held_out = (self.train.subset(rows.sort().values) for rows in (order[:n_train], order[n_train : n_train + n_validation]))
        return replace(self, train=train, test=test, validation=held_out)

    def fold(self, number: int, of: int, seed: int = 0) -> "Dataset":
        """Return a fold of cross-validation within the train split: test on one stratified fold, train on the others.

        The folds are stratified by the labels that the train split has, corrupted or not, and the test fold keeps them. So the
        folds of every randomized copy are made as those of the original data are, by the same seed, which a permutation test
        needs: folds that are balanced in the true labels alone would leave permuted labels unbalanced, and their scores below chance.
        Where corruption has made a class smaller than the number of folds, it is in as many test folds as it has examples.
        Raises InputError as `check_folds` does.
        """
        self.check_folds(of)
        train = self.train
        rest, held_out = _stratified_folds(train.labels.numpy(), of, seed)[number]
        return replace(self, train=train.subset(torch.from_numpy(rest)), test=train.subset(torch.from_numpy(held_out)), validation=None)

    def check_folds(self, of: int) -> None:
        """Raise InputError if a true class of the train split is smaller than the number of folds."""
        smallest = int(torch.bincount(self.train.true_labels, minlength=self.train.n_classes).min())
        if smallest < of:
            raise InputError(f"the smallest class of {self.name} has {smallest} examples, expected at least {of} for {of} folds")

    def to_npz(self, path: str | Path) -> Path:
        """Save as an .npz that `load_dataset` reads (channels last, as it says), so that arrays can be named in a run."""
        arrays: dict[str, Any] = {"channels": np.array("last")} if len(self.train.image_shape) == 3 else {}
        for name in ("train", "test"):
            split = getattr(self, name)
            images = split.images.numpy()
            arrays[f"x_{name}"] = images.transpose(0, 2, 3, 1) if images.ndim == 4 else images
            arrays[f"y_{name}"] = split.y
        if not is_default(self.train.label_values):
            arrays["label_values"] = self.train.label_values
        path = Path(path).with_suffix(".npz")
        np.savez(path, classes=np.array(self.classes), **arrays)
        return path

    def fingerprint(self) -> str:
        """Return the SHA-256 of images, labels, ids and class names; of images on disk, as `ImagesOnDisk.fingerprint` says.

        What is at its default is left out: labels that are true, and label values 0…k-1 of int64.
        """
        is_plain = not any("\0" in name or "torch." in name for name in self.classes)
        digest = hashlib.sha256(("\0".join(self.classes) if is_plain else json.dumps(self.classes)).encode())
        for split in (self.train, self.test, *([self.validation] if self.validation else [])):
            if isinstance(split.images, ImagesOnDisk):
                digest.update(split.images.fingerprint().encode())
            pixels = () if isinstance(split.images, ImagesOnDisk) else (split.images,)
            truth = () if torch.equal(split.labels, split.true_labels) else (split.true_labels,)
            for tensor in (*pixels, split.labels, split.ids, *truth):
                digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
                digest.update(tensor.contiguous().numpy().data)
        values = self.train.label_values
        if not is_default(values):
            digest.update(f"{values.dtype.kind}{values.dtype.itemsize if values.dtype.kind != 'U' else ''}{values.tolist()!r}".encode())
        return digest.hexdigest()


def _check_split(split: Split) -> None:
    images, labels = split.images, split.labels
    if images.ndim not in (2, 4):
        raise InputError(f"images have shape {tuple(images.shape)}, expected (n, channels, height, width) or (n, features)")
    if len(images) == 0 or 0 in images.shape:
        raise InputError(f"images have shape {tuple(images.shape)}, expected at least one example and one pixel")
    if images.ndim == 4 and images.dtype not in (torch.uint8, *FLOATS):
        raise InputError(f"images have type {images.dtype}, expected uint8 (0…255) or floats")
    if images.dtype not in (*FLOATS, *WHOLE):
        raise InputError(f"the table has type {images.dtype}, expected booleans, whole numbers or floats of 16, 32 or 64 bits")
    for name in ("labels", "ids", "true_labels"):
        tensor = getattr(split, name)
        if tensor.dtype != torch.int64 or tuple(tensor.shape) != (len(images),):
            raise InputError(f"{name} have type {tensor.dtype} and shape {tuple(tensor.shape)}, expected int64 and ({len(images)},)")
    if len(split.classes) < 2:
        raise InputError(f"labels have {len(split.classes)} class, expected at least two")
    check_label_values(split.label_values, len(split.classes))
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= len(split.classes):
        raise InputError(f"labels range over {low}…{high}, expected 0…{len(split.classes) - 1}")
    if isinstance(images, torch.Tensor) and images.is_floating_point() and not bool(torch.isfinite(images).all()):
        bad = int((~torch.isfinite(images.flatten(1))).any(1).sum())
        what = "images contain NaN or infinite pixels" if images.ndim == 4 else "the table contains NaN or infinite values"
        raise InputError(f"{what} in {bad} of {len(images)} examples, expected finite values")


def balanced_subset(split: Split, n: int | None, seed: int, purpose: str) -> Split:
    """Return n examples with classes as equal as their sizes allow, in source order.

    Raises InputError if n is not in 1…len(split).
    """
    if n is None or n == len(split):
        return split
    if not 1 <= n <= len(split):
        raise InputError(f"n_{purpose} is {n}, expected 1…{len(split)}")
    return split.subset(_balanced_order(split, seed, purpose)[:n].sort().values)


def _balanced_order(split: Split, seed: int, purpose: str) -> torch.Tensor:
    """Return a permutation of the rows, in whole rounds of one example per class while there are such."""
    order = seeds.generator(seed, f"data/{purpose}").permutation(len(split))
    rank = _ranks(split.true_labels.numpy()[order])
    return torch.from_numpy(order[np.argsort(rank, kind="stable")])


def hold_out_by_class(split: Split, n_test: int, seed: int) -> tuple[Split, Split]:
    """Split into (train, test): n_test examples drawn by class, in proportion to the classes' sizes; both in source order.

    Every class of two examples or more is on both sides, where n_test has room for one of each; a class of one example is
    trained on. The draw depends on the labels through the sizes of the classes alone, so that given the two sides the labels
    of each are exchangeable among themselves if they do not depend on the inputs, which the permutation test of labels needs.
    """
    order = seeds.generator(seed, "data/hold-out").permutation(len(split))
    labels = split.true_labels.numpy()[order]
    rank, size = _ranks(labels), np.bincount(labels)[labels]
    key = np.where(rank == 0, 0.0, (rank + 0.5) / size)  # one of each class first, then as evenly as their sizes are
    key[rank == size - 1] = np.inf  # the last of a class stays
    chosen = np.argsort(key, kind="stable")
    test, train = (torch.from_numpy(np.sort(order[rows])) for rows in (chosen[:n_test], chosen[n_test:]))
    return split.subset(train), split.subset(test)


def _ranks(labels: np.ndarray) -> np.ndarray:
    """Return the position (n,) of each example among those of its class, from 0."""
    by_class = np.argsort(labels, kind="stable")
    sizes = np.bincount(labels)
    rank = np.empty(len(labels), dtype=np.int64)
    rank[by_class] = np.arange(len(labels)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return rank


def _stratified_folds(labels: np.ndarray, of: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return (training rows, test rows) of each of scikit-learn's stratified, shuffled folds."""
    from sklearn.model_selection import StratifiedKFold

    splitter = StratifiedKFold(of, shuffle=True, random_state=seeds.integer(seed, "data/folds") % 2**32)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)  # which corruption may make smaller than `of`
        return list(splitter.split(np.zeros(len(labels)), labels))
