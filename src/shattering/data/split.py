"""`Split`: examples with their labels or targets, as every model is given them."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, get_args

import numpy as np
import torch

from shattering.brief import cut
from shattering.data.kinds import Kind
from shattering.data.labels import check_label_values
from shattering.data.lazy import ImagesOnDisk
from shattering.data.numbers import plain_numbers
from shattering.data.preprocess import to_float
from shattering.data.rows import Rows
from shattering.errors import InputError, a_type, unknown

FLOATS = (torch.float16, torch.float32, torch.float64)
UNSIGNED = (torch.uint16, torch.uint32, torch.uint64)
WHOLE = (torch.bool, torch.uint8, *UNSIGNED, torch.int8, torch.int16, torch.int32, torch.int64)


@dataclass(frozen=True, eq=False)
class Split:
    """Examples with their labels, or with numbers as targets.

    Args:
        inputs: one row per example. Images (n, channels, height, width), uint8 in 0…255, or floats in original units (0…1): the type
            carries the scale, so it is applied exactly once; `ImagesOnDisk` are read when they are needed. Or a table (n, features) or
            sequences (n, channels, length) of booleans, whole numbers or floats, as they are, where floats may be NaN; or tokens
            (n, length) of int64. Or `Rows` of anything else, such as a DataFrame, a sparse matrix or texts.
        labels: (n,) int64 in 0…len(classes)-1, the labels that a model sees; or (n,) float64, the targets of a regression.
        classes: names of the classes; none for a regression.
        ids: (n,) int64, the index of each example in its source; stable under subsetting. Default: 0…n-1.
        true_labels: (n,) the labels or targets before any randomization. Default: labels.
        label_values: (k,) what the labels 0…k-1 stand for in the user's own values, as text, whole numbers or booleans, in the
            order in which NumPy sorts them. Estimators and scorers are given these (`y`). Default: 0…k-1.
        kind: "images", "table", "sequence", "tokens" or "opaque". Default: by the inputs; tokens have to be said.
        groups: (n,) int64, equal for examples that belong together, such as those of one patient or document. None: the examples are
            independent of each other.
        names: (n,) what the user calls each example, such as the file it is from or its index in a DataFrame, as text. None: they
            have no names.

    Raises:
        InputError: for shapes, types or values that do not fit.

    Example:
        >>> split = Split(torch.zeros(2, 1, 8, 8), torch.tensor([0, 1]), ("cat", "dog"))
        >>> len(split), split.kind, split.input_shape
        (2, 'images', (1, 8, 8))
    """

    inputs: torch.Tensor  # or ImagesOnDisk, or Rows, which have its `shape`, `ndim` and `dtype`
    labels: torch.Tensor
    classes: tuple[str, ...] = ()
    ids: torch.Tensor = field(default=None)  # type: ignore[assignment]  # set in __post_init__
    true_labels: torch.Tensor = field(default=None)  # type: ignore[assignment]  # set in __post_init__
    label_values: np.ndarray = field(default=None)  # type: ignore[assignment]  # set in __post_init__
    kind: Kind = field(default=None)  # type: ignore[assignment]  # set in __post_init__
    groups: torch.Tensor | None = None
    names: np.ndarray | None = None

    def __post_init__(self):
        _check_types(self)
        if self.ids is None:
            object.__setattr__(self, "ids", torch.arange(len(self.labels), device="cpu"))
        if self.true_labels is None:
            object.__setattr__(self, "true_labels", self.labels)
        values = np.arange(len(self.classes)) if self.label_values is None else np.array(self.label_values)
        values.setflags(write=False)
        object.__setattr__(self, "label_values", values)
        if self.kind is None:
            object.__setattr__(self, "kind", default_kind(self.inputs))
        _check_inputs(self)
        _check_labels(self)

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        what = "images" if self.kind == "images" else f"examples ({self.kind})"
        targets = "targets" if self.is_regression else f"{self.n_classes} classes"
        shape = " x ".join(map(str, self.input_shape)) if self.input_shape else ""
        return cut(f"<Split: {len(self):,} {what} {shape}, {targets}>".replace(" ,", ","))

    def __getstate__(self) -> dict:
        unsigned = self.inputs.dtype in UNSIGNED  # tensors that torch does not pickle
        return {**vars(self), "inputs": self.inputs.numpy()} if unsigned else vars(self)

    def __setstate__(self, state: dict) -> None:
        inputs = state["inputs"]
        vars(self).update(state, inputs=torch.from_numpy(inputs) if isinstance(inputs, np.ndarray) else inputs)

    @property
    def n_classes(self) -> int:
        return len(self.classes)

    @property
    def is_regression(self) -> bool:
        """True if the labels are numbers to be predicted, not classes."""
        return not self.classes

    @property
    def X(self) -> Any:
        """The inputs for estimators: a copy, which they may change.

        Inputs in the user's own type; images as a table (n, features) in original units, so that uint8 becomes float32 in 0…1. Raises
        InputError for images on disk, which are no array.
        """
        if isinstance(self.inputs, Rows):
            return self.inputs.given()
        if self.kind == "images":
            return original(self.inputs).flatten(1).numpy()
        return self.inputs.clone().numpy()

    @property
    def y(self) -> np.ndarray:
        """(n,) the labels in the user's own values, or the targets of a regression: a copy."""
        return self.labels.numpy().copy() if self.is_regression else self.label_values[self.labels.numpy()]

    @property
    def group_codes(self) -> np.ndarray | None:
        """(n,) int64, `groups` as an array that shares their memory; None: there are none."""
        return None if self.groups is None else self.groups.numpy()

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of a row: (channels, height, width), (features,), (channels, length) or (length,); () for rows without columns."""
        return tuple(self.inputs.shape[1:])

    def with_numbers(self) -> "Split":
        """Return the same with the inputs as a tensor, for models that compute with them; images on disk stay there.

        Raises InputError for inputs that are no numbers in rows of one length, and for missing or infinite values.
        """
        inputs = self.inputs
        if isinstance(inputs, Rows):
            if not inputs.is_table:
                raise InputError(f"inputs are {self.kind} without columns, expected rows of numbers: encode them, or pad them, first")
            inputs = plain_numbers(inputs.content, "the table")
        if isinstance(inputs, torch.Tensor) and inputs.is_floating_point() and not bool(torch.isfinite(inputs).all()):
            bad = int((~torch.isfinite(inputs.flatten(1))).any(1).sum())
            what = "the table contains" if self.kind == "table" else "the inputs contain"
            raise InputError(f"{what} NaN or infinite values in {bad} of {len(self)} examples, expected finite values")
        return self if inputs is self.inputs else replace(self, inputs=inputs)

    def copy(self) -> "Split":
        """Return the same in memory of its own, for code that may change what it is given; images on disk stay there."""
        inputs: Any = self.inputs
        if isinstance(inputs, Rows):
            inputs = Rows(inputs.given())
        else:
            inputs = inputs.subset(np.arange(len(self))) if isinstance(inputs, ImagesOnDisk) else inputs.clone()
        copies: dict[str, Any] = {name: getattr(self, name).clone() for name in self._of_rows()}
        return replace(self, inputs=inputs, **copies)

    def subset(self, rows: torch.Tensor) -> "Split":
        """Return the examples at positions `rows`, with their ids, groups and names."""
        rows = rows.cpu() if isinstance(rows, torch.Tensor) else rows
        inputs: Any = self.inputs
        inputs = inputs.subset(rows) if isinstance(inputs, (ImagesOnDisk, Rows)) else inputs[rows]
        parts: dict[str, Any] = {name: getattr(self, name)[rows] for name in self._of_rows()}
        if self.names is not None:
            parts["names"] = self.names[np.asarray(rows)]
        return replace(self, inputs=inputs, **parts)

    def row_keys(self, block: int = 1024, as_numbers: bool = False) -> Iterator[bytes]:
        """Yield bytes for each example that are equal where inputs are, reading images on disk in blocks of so many.

        as_numbers: numbers of different types are equal where their values are, for splits whose inputs have different types.
        """
        if isinstance(self.inputs, Rows):
            yield from self.inputs.keys(as_numbers)
            return
        for start in range(0, len(self), block):
            rows = self.inputs[start : start + block]
            values = to_float(rows).double().numpy() if as_numbers else rows.numpy()
            for row in values + 0.0 if values.dtype.kind == "f" else values:  # -0 is 0
                yield hashlib.blake2b(row.tobytes(), digest_size=16).digest()

    def _of_rows(self) -> tuple[str, ...]:
        """Return the names of the fields that have a value for each example, beside inputs."""
        names = ("labels", "ids", "true_labels")
        return names if self.groups is None else (*names, "groups")


def original(images: torch.Tensor) -> torch.Tensor:
    """Return images in original units, or other inputs as they are: a copy."""
    values = to_float(images)
    return values.clone() if values is images else values


def default_kind(inputs: Any) -> Kind:
    """Return the kind that inputs have by their type and number of axes."""
    if isinstance(inputs, Rows):
        return "table" if inputs.is_table else "opaque"
    by_axes: dict[int, Kind] = {2: "table", 3: "sequence", 4: "images"}
    return by_axes.get(inputs.ndim, "opaque")


def _check_types(split: Split) -> None:
    """Raise InputError for arrays and lists in place of tensors, and for tensors on a GPU."""
    taken = {"inputs": (torch.Tensor, ImagesOnDisk, Rows), "labels": (torch.Tensor,)}
    for name, types in taken.items():
        value = getattr(split, name)
        if not isinstance(value, types):
            raise InputError(f"{name} are {a_type(value)}, expected a tensor: dataset_from_arrays makes splits of arrays and lists")
    for name in ("inputs", "labels", "ids", "true_labels", "groups"):
        value = getattr(split, name)
        if isinstance(value, torch.Tensor) and value.device.type != "cpu":
            raise InputError(f"{name} are on {value.device}, expected them on the CPU (.cpu()): a network takes them to its own device")


def _check_inputs(split: Split) -> None:
    inputs, kind = split.inputs, split.kind
    if kind not in get_args(Kind):
        raise unknown("kind", kind, get_args(Kind))
    if isinstance(inputs, Rows):
        if kind in ("images", "sequence"):
            raise InputError(f"kind is {kind!r}, expected an array of numbers for it, not {a_type(inputs.content)}")
        if len(inputs) == 0:
            raise InputError("inputs have no rows, expected at least one example")
        if inputs.is_table and inputs.shape[1] == 0:
            raise InputError(f"inputs are {a_type(inputs.content)} without columns, expected at least one feature")
        return
    axes = {"images": (4,), "table": (2,), "sequence": (3,), "tokens": (2,), "opaque": (2, 3, 4)}[kind]
    if inputs.ndim not in axes:
        wanted = {4: "(n, channels, height, width)", 3: "(n, channels, length)", 2: "(n, features)"}
        expected = " or ".join(wanted[n] for n in sorted(axes, reverse=True)) if kind != "opaque" else wanted[4] + " or " + wanted[2]
        raise InputError(f"{_called(kind)} have shape {tuple(inputs.shape)}, expected {expected}")
    if len(inputs) == 0 or 0 in inputs.shape:
        part = "pixel" if kind == "images" else "value"
        raise InputError(f"{_called(kind)} have shape {tuple(inputs.shape)}, expected at least one example and one {part}")
    if kind == "images" and inputs.dtype not in (torch.uint8, *FLOATS):
        raise InputError(f"images have type {inputs.dtype}, expected uint8 (0…255) or floats")
    if kind == "tokens" and (inputs.dtype != torch.int64 or int(inputs.min()) < 0):
        raise InputError(f"tokens have type {inputs.dtype}, expected int64, with no value below 0")
    if inputs.dtype not in (*FLOATS, *WHOLE):
        raise InputError(f"{_called(kind)} have type {inputs.dtype}, expected booleans, whole numbers or floats of 16, 32 or 64 bits")
    if kind == "images" and isinstance(inputs, torch.Tensor) and inputs.is_floating_point() and not bool(torch.isfinite(inputs).all()):
        bad = int((~torch.isfinite(inputs.flatten(1))).any(1).sum())
        raise InputError(f"images contain NaN or infinite pixels in {bad} of {len(inputs)} examples, expected finite values")


def _called(kind: Kind) -> str:
    names = {"images": "images", "table": "the values of the table", "sequence": "sequences", "tokens": "tokens", "opaque": "inputs"}
    return names[kind]


def _check_labels(split: Split) -> None:
    n, labels = len(split.inputs), split.labels
    kind = torch.float64 if split.is_regression else torch.int64
    for name in ("labels", "ids", "true_labels", *(["groups"] if split.groups is not None else [])):
        tensor, expected = getattr(split, name), kind if "labels" in name else torch.int64
        if tensor.dtype != expected or tuple(tensor.shape) != (n,):
            said = f"{name} have type {tensor.dtype} and shape {tuple(tensor.shape)}"
            remedy = " for a regression, as classes names none" if split.is_regression and name == "labels" else ""
            raise InputError(f"{said}, expected {str(expected).removeprefix('torch.')} and ({n},){remedy}")
    if split.names is not None and split.names.shape != (n,):
        raise InputError(f"names have shape {split.names.shape}, expected ({n},)")
    if split.is_regression:
        if not bool(torch.isfinite(labels).all() and torch.isfinite(split.true_labels).all()):
            raise InputError("the targets contain NaN or infinite values, expected finite ones")
        return
    if len(split.classes) < 2:
        raise InputError(f"labels have {len(split.classes)} class, expected at least two")
    check_label_values(split.label_values, len(split.classes))
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= len(split.classes):
        raise InputError(f"labels range over {low}…{high}, expected 0…{len(split.classes) - 1}")
