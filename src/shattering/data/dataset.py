"""`Dataset`: the splits that a model is trained and tested on."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from shattering.brief import cut
from shattering.data import subsets
from shattering.data.labels import is_default, listed
from shattering.data.lazy import ImagesOnDisk
from shattering.data.rows import Rows
from shattering.data.split import Split, default_kind
from shattering.errors import InputError, a_type


@dataclass(frozen=True, eq=False)
class Dataset:
    """A train and a test split over the same classes.

    Args:
        train: the split that models are trained on.
        test: the split that they are tested on.
        name: name of the dataset.
        variant: the name as tables and figures show it, with what they must say of the data, e.g. "cifar10 (JPEG)". Default: name.
        validation: examples held out of the train split, with its noise, to choose hyperparameters or epochs by; None: there are none.
        skipped: number of unreadable images that were left out, by split.

    Raises:
        InputError: for splits that differ in the kind, type, columns, shape or scale of their inputs, or in their classes or label
            values, and for one of classes beside one of a regression.

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
        for name, split in (("train", train), ("test", test)):
            if not isinstance(split, Split):
                raise InputError(f"{name} is {a_type(split)}, expected a Split: dataset_from_arrays makes a Dataset of arrays")
        if train.kind != test.kind or isinstance(train.inputs, Rows) != isinstance(test.inputs, Rows):
            raise InputError(f"test inputs are {test.kind}, expected {train.kind} as in the train split, of the same type")
        _check_same_columns(train.inputs, test.inputs)
        if train.input_shape != test.input_shape:
            what = "images" if train.kind == "images" else "inputs"
            raise InputError(f"test {what} have shape {test.input_shape}, expected that of the train {what}, {train.input_shape}")
        _check_same_scale(train, test)
        if train.is_regression != test.is_regression:
            raise InputError("one split has classes and the other targets of a regression, expected the same of both")
        if train.classes != test.classes:
            raise InputError(f"test classes {list(test.classes)} differ from train classes {list(train.classes)}")
        if train.label_values.dtype.kind != test.label_values.dtype.kind or train.label_values.tolist() != test.label_values.tolist():
            found, expected = listed(test.label_values), listed(train.label_values)
            raise InputError(f"test label_values {found} differ from those of the train split, {expected}")

    def __repr__(self) -> str:
        held = "" if self.validation is None else f", validation {self.validation!r}"
        return cut(f"<Dataset {self.variant}: train {self.train!r}, test {self.test!r}{held}>")

    @property
    def classes(self) -> tuple[str, ...]:
        return self.train.classes

    def limit(self, n_train: int | None = None, n_test: int | None = None, seed: int = 0, n_validation: int | None = None) -> "Dataset":
        """Return class-balanced, seeded subsets of the splits; None keeps a split whole.

        n_validation: size of a validation split that is held out of the train split, beside the n_train examples that stay in it (n_train
        None: all the others). The training examples of a given n_train are the same with and without a validation split. Raises
        InputError for sizes that the splits do not have.
        """
        test = subsets.balanced_subset(self.test, n_test, seed, "test")
        if n_validation is None:
            return replace(self, train=subsets.balanced_subset(self.train, n_train, seed, "train"), test=test)
        if self.train.groups is not None:
            raise InputError(f"n_validation is {n_validation}, expected none for examples in groups, which it would cut apart")
        room = len(self.train) - (n_train or 1)
        if not 1 <= n_validation <= room:
            raise InputError(f"n_validation is {n_validation}, expected 1…{room}, which n_train leaves")
        n_train = n_train or len(self.train) - n_validation
        order = subsets.balanced_order(self.train, seed, "train")
        train, held_out = (self.train.subset(rows.sort().values) for rows in (order[:n_train], order[n_train : n_train + n_validation]))
        return replace(self, train=train, test=test, validation=held_out)

    def fold(self, number: int, of: int, seed: int = 0) -> "Dataset":
        """Return a fold of cross-validation within the train split: test on one stratified fold, train on the others.

        The folds are stratified by the labels that the train split has, corrupted or not, and the test fold keeps them. So the
        folds of every randomized copy are made as those of the original data are, by the same seed, which a permutation test
        needs: folds that are balanced in the true labels alone would leave permuted labels unbalanced, and their scores below chance.
        Where corruption has made a class smaller than the number of folds, it is in as many test folds as it has examples.
        The folds of a regression are drawn without regard to the targets.
        Raises InputError as `check_folds` does.
        """
        self.check_folds(of)
        return self.at(*subsets.folds(self.train, of, seed)[number])

    def at(self, rest: np.ndarray, held_out: np.ndarray) -> "Dataset":
        """Return the rows `rest` of the train split as the train split, and `held_out` as the test split."""
        train = self.train
        return replace(self, train=train.subset(torch.from_numpy(rest)), test=train.subset(torch.from_numpy(held_out)), validation=None)

    def check_folds(self, of: int) -> None:
        """Raise InputError if a true class of the train split has fewer examples than folds; of a regression, if the whole split has."""
        if self.train.is_regression:
            if len(self.train) < of:
                raise InputError(f"{self.name} has {len(self.train)} examples, expected at least {of} for {of} folds")
            return
        smallest = int(torch.bincount(self.train.true_labels, minlength=self.train.n_classes).min())
        if smallest < of:
            raise InputError(f"the smallest class of {self.name} has {smallest} examples, expected at least {of} for {of} folds")

    def to_npz(self, path: str | Path) -> Path:
        """Save as an .npz that `load_dataset` reads as the same dataset, so that arrays can be named in a run.

        Images are stored with the channels last, and the file says so.

        Args:
            path: the file; where it does not end in .npz, this is appended.

        Returns:
            The file's path.

        Raises:
            InputError: for what such a file does not hold: inputs that are no arrays of numbers, labels that were randomized (they differ
                from the true ones), and a validation split.
        """
        if self.validation is not None:
            raise InputError("the dataset has a validation split, which an .npz does not hold: save the dataset without it (n_validation)")
        arrays: dict[str, Any] = {"targets": np.array("numbers")} if self.train.is_regression else {"classes": np.array(self.classes)}
        if len(self.train.input_shape) == 3:
            arrays["channels"] = np.array("last")
        for name in ("train", "test"):
            split = getattr(self, name)
            if isinstance(split.inputs, Rows):
                raise InputError(f"inputs are {a_type(split.inputs.content)}, expected arrays of numbers, which an .npz holds")
            if not torch.equal(split.labels, split.true_labels):
                raise InputError(
                    "labels differ from true_labels, of which an .npz holds one: save the original data, and randomize them again"
                )
            inputs = split.inputs.numpy()
            arrays[f"x_{name}"] = inputs.transpose(0, 2, 3, 1) if inputs.ndim == 4 else inputs
            arrays[f"y_{name}"] = split.y
            if split.groups is not None:
                arrays[f"groups_{name}"] = split.groups.numpy()
        if self.train.kind not in ("images", "table"):  # which the number of axes tells
            arrays["kind"] = np.array(self.train.kind)
        if not self.train.is_regression and not is_default(self.train.label_values):
            arrays["label_values"] = self.train.label_values
        path = Path(path)
        path = path if path.suffix == ".npz" else path.with_name(f"{path.name}.npz")
        np.savez(path, **arrays)
        return path

    def fingerprint(self) -> str:
        """Return the SHA-256 of inputs, labels, ids and class names; of images on disk, as `ImagesOnDisk.fingerprint` says.

        It also covers true labels that differ from the labels, groups, a kind that is not the default of the inputs, and label values
        other than 0…k-1 of int64.
        """
        is_plain = not any("\0" in name or "torch." in name for name in self.classes)
        digest = hashlib.sha256(("\0".join(self.classes) if is_plain else json.dumps(self.classes)).encode())
        for split in (self.train, self.test, *([self.validation] if self.validation else [])):
            if isinstance(split.inputs, (ImagesOnDisk, Rows)):
                digest.update(split.inputs.fingerprint().encode())
            pixels = () if isinstance(split.inputs, (ImagesOnDisk, Rows)) else (split.inputs,)
            truth = () if torch.equal(split.labels, split.true_labels) else (split.true_labels,)
            groups = () if split.groups is None else (split.groups,)
            if split.kind != default_kind(split.inputs):
                digest.update(split.kind.encode())
            for tensor in (*pixels, split.labels, split.ids, *truth, *groups):
                digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
                digest.update(tensor.contiguous().numpy().data)
        values = self.train.label_values
        if not is_default(values):
            digest.update(f"{values.dtype.kind}{values.dtype.itemsize if values.dtype.kind != 'U' else ''}{values.tolist()!r}".encode())
        return digest.hexdigest()


def _check_same_columns(train: Any, test: Any) -> None:
    """Raise InputError for DataFrames whose columns differ, or stand in another order: models take them by their places."""
    frames = [inputs.content for inputs in (train, test) if isinstance(inputs, Rows) and hasattr(inputs.content, "columns")]
    if len(frames) < 2:
        return
    one, two = (list(frame.columns) for frame in frames)
    if one == two:
        return
    if len(one) == len(two) and set(one) == set(two):
        raise InputError(
            f"the test inputs have the columns {_some(two)}, expected the order of the train inputs, {_some(one)}: x_test[x_train.columns]"
        )
    lacking = [name for name in one if name not in two]
    found = f"lack {lacking[0]!r} of" if lacking else f"have {next((name for name in two if name not in one), two[-1])!r} beside"
    raise InputError(f"the columns of the test inputs {found} those of the train inputs, {_some(one)}, expected the same")


def _some(names: list) -> str:
    return ", ".join(map(str, names[:8])) + (" …" if len(names) > 8 else "")


def _check_same_scale(train: Split, test: Split) -> None:
    """Raise InputError for images of which one split has bytes (0…255, scaled to 0…1) and the other floats that are not in 0…1."""
    if train.kind != "images":
        return
    for one, other, name in ((train.inputs, test.inputs, "test"), (test.inputs, train.inputs, "train")):
        if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor) and one.dtype == torch.uint8 and other.is_floating_point():
            largest = float(other.abs().max()) if other.numel() else 0.0
            if largest > 1:
                remedy = "expected one type, or floats in 0…1, to which uint8 is scaled"
                raise InputError(f"the {name} images are floats of up to {largest:g} where those of the other split are uint8: {remedy}")
