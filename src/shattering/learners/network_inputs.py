"""`NetworkInputs`: what a network makes of the data that it is given, before any training."""

from typing import Any

import numpy as np
import torch
from sklearn.base import is_regressor
from sklearn.utils.validation import check_is_fitted, validate_data

from shattering.data.arrays import as_images
from shattering.data.channels import A_SPLIT
from shattering.data.dataset import Dataset
from shattering.data.kinds import Kind
from shattering.data.rows import Rows, as_tokens
from shattering.data.split import Split
from shattering.errors import InputError, a_type
from shattering.learners.preprocessing import Preprocessing
from shattering.learners.tokens import padded
from shattering.learners.train.batches import Examples


class NetworkInputs:
    """Base of `TrainedNetwork`: it reads splits and arrays as examples of one kind and shape, those of the fit."""

    padding: int | None
    workers: int | None
    device_: torch.device
    _preprocessing: Preprocessing
    _kind: Kind
    _is_ragged: bool

    def _training_data(self, X, y) -> tuple[torch.Tensor, torch.Tensor]:
        """Return raw inputs, and what is trained on the labels; set what is known of both (and n_features_in_ for tables)."""
        check_examples(X, y)
        if isinstance(X, Split):
            labels = self._labels_of_split(X)
            self._kind, self._is_ragged = X.kind, X.kind == "tokens" and isinstance(X.inputs, Rows)
            return self._numbers(X), labels
        if y is None:
            raise InputError("requires y to be passed, but the target y is None")
        if getattr(X, "ndim", 2) in (3, 4):
            inputs, labels = as_images(X, remedy=A_SPLIT), self._labels_of_arrays(y, is_checked=False)
            if len(inputs) != len(labels):
                raise InputError(f"X has {len(inputs)} examples and y has {len(labels)} labels, expected as many")
        else:
            X, y = validate_data(self, X, y, y_numeric=is_regressor(self))
            inputs, labels = as_images(X, where="X"), self._labels_of_arrays(y, is_checked=True)
        self._kind, self._is_ragged = "table" if inputs.ndim == 2 else "images", False
        return inputs, labels

    def _numbers(self, split: Split, length: int = 0) -> torch.Tensor:
        """Return the inputs of a split as a tensor, or on disk. length: to which documents of several lengths are padded at least."""
        if split.kind == "opaque":
            raise InputError("the inputs are opaque, expected images, a table of numbers, sequences or tokens for a network")
        if split.kind != self._kind:
            raise InputError(f"the inputs are {split.kind}, expected {self._kind} as in fit")
        if self._kind != "tokens" or not isinstance(split.inputs, Rows):
            return split.with_numbers().inputs
        if not self._is_ragged:
            raise InputError("the documents have several lengths, expected one as in fit")
        return padded(split.inputs, self.padding or 0, length)

    def _examples(self, inputs: torch.Tensor, labels: torch.Tensor, persistent: bool = False) -> Examples:
        return self._preprocessing.examples(inputs, labels, self.device_, self.workers, persistent)

    def _watched(self, **splits: Split | None) -> dict[str, Examples]:
        examples, shape = {}, self._preprocessing.raw_shape
        for name, split in splits.items():
            if split:
                inputs = self._numbers(split, shape[-1])
                if not self._has_shape(inputs):
                    raise InputError(f"{name} {self._called} have shape {tuple(inputs.shape[1:])}, expected {shape} as in the train split")
                examples[name] = self._examples(inputs, self._evaluated_labels(split, f"{name} "))
        return examples

    def _unlabelled(self, X) -> Examples:
        check_is_fitted(self)
        check_examples(X)
        shape = self._preprocessing.raw_shape
        inputs = self._numbers(X, shape[-1]) if isinstance(X, Split) else self._input_arrays(X)
        if not self._has_shape(inputs):
            raise InputError(f"{self._called} have shape {tuple(inputs.shape[1:])}, expected {shape} as in fit")
        return self._examples(inputs, self._no_labels(len(inputs)))

    def _has_shape(self, inputs: torch.Tensor) -> bool:
        """Return whether inputs have the shape of those in fit; documents of several lengths may be longer."""
        return self._is_ragged or tuple(inputs.shape[1:]) == self._preprocessing.raw_shape

    @property
    def _called(self) -> str:
        return {"sequence": "sequences", "tokens": "tokens", "table": "rows"}.get(self._kind, "images")

    def _input_arrays(self, X) -> torch.Tensor:
        if self._kind == "tokens":
            tokens = as_tokens(X, "X")
            return padded(tokens, self.padding or 0, self._preprocessing.raw_shape[0]) if isinstance(tokens, Rows) else tokens
        if self._kind == "sequence":
            return torch.from_numpy(np.array(X))
        if getattr(X, "ndim", 2) in (3, 4):
            return as_images(X, like=self._preprocessing.raw_shape, remedy=A_SPLIT)
        return as_images(validate_data(self, X, reset=False), where="X")

    def _labels_of_split(self, split: Split) -> torch.Tensor:
        """Return what is trained on the labels of a training split, and set what they stand for."""
        raise NotImplementedError

    def _labels_of_arrays(self, y: Any, is_checked: bool) -> torch.Tensor:
        """Return what is trained on labels as scikit-learn's functions take them, and set what they stand for.

        is_checked: whether scikit-learn has checked them.
        """
        raise NotImplementedError

    def _evaluated_labels(self, split: Split, whose: str) -> torch.Tensor:
        """Return the labels of another split as they are trained on. Raises InputError, which says `whose`, for others than in fit."""
        raise NotImplementedError

    def _no_labels(self, n: int) -> torch.Tensor:
        """Return labels (n,) that mean nothing."""
        raise NotImplementedError


def check_examples(X: Any, y: Any = None) -> None:
    """Raise InputError for a Dataset in place of one of its splits, and for labels y that are given beside a Split."""
    if isinstance(X, Dataset):
        raise InputError("X is a Dataset, expected one of its splits, such as data.train, or arrays")
    if isinstance(X, Split) and y is not None:
        remedy = "dataclasses.replace(split, labels=…) makes a Split with others"
        raise InputError(f"y is {a_type(y)} beside a Split, which has labels of its own, expected none: {remedy}")
