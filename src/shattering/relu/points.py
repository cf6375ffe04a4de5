"""Points read in blocks: from an array, or from anything that gives rows by their numbers."""

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from shattering.errors import InputError
from shattering.seeds import generator

_ENTRIES = 2**21  # of a block, 16 MB in float64
_LARGEST = 2.0**53  # integers up to it are exact in float64


class Points(Protocol):
    """n points of d features: shape (n, d), dtype, and rows by a slice or by ascending numbers, as NumPy arrays."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype: ...

    def __getitem__(self, index, /) -> np.ndarray: ...


def blocks(rows: Points) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield the rows, a block at a time."""
    n, d = rows.shape
    step = max(1, _ENTRIES // max(1, d))
    for start in range(0, n, step):
        part = slice(start, min(n, start + step))
        yield part, np.asarray(rows[part])


def as_float64(block: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(block, dtype=np.float64, order="C"))


def project(rows: Points, directions: np.ndarray) -> np.ndarray:
    """Return the rows times directions (d, k), (n, k) in float64."""
    matrix, out = torch.from_numpy(directions), np.empty((rows.shape[0], directions.shape[1]))
    for part, block in blocks(rows):
        out[part] = (as_float64(block) @ matrix).numpy()
    return out


def project_again(rows: Points, direction: np.ndarray) -> np.ndarray:
    """Return the rows times a direction (d,), (n,) float64, summed in the opposite order: it differs from `project` by rounding."""
    out = np.empty(rows.shape[0])
    for part, block in blocks(rows):
        out[part] = (as_float64(block) * torch.from_numpy(direction)).flip(1).sum(1).numpy()
    return out


def survey(rows: Points) -> tuple[np.ndarray, float | None]:
    """Return 64-bit hashes (n,) that are equal for equal rows; the largest absolute value where all values are whole numbers, else None.

    Raises InputError for values that are not finite, and for integers that float64 cannot hold.
    """
    hashes, largest = np.empty(rows.shape[0], dtype=np.uint64), 0.0
    whole: bool = True
    for part, block in blocks(rows):
        hashes[part] = _hashes(block)
        if block.dtype.kind == "f" and not np.isfinite(block).all():
            raise InputError("X contains NaN or infinity, expected finite numbers")
        if whole:
            number = int if block.dtype.kind in "iub" else float
            top = max(number(block.max()), -number(block.min())) if block.size else 0
            whole = block.dtype.kind in "iub" or bool((block == np.rint(block)).all())
            largest = max(largest, float(top))
            if block.dtype.kind in "iu" and top > _LARGEST:
                raise InputError(f"X contains an integer of {top:.3g}, which float64 cannot hold exactly, expected at most 2^53")
    return hashes, largest if whole else None


def _hashes(block: np.ndarray) -> np.ndarray:
    """Return a sum of 64-bit words times random odd ones, modulo 2^64."""
    if block.dtype.kind == "f":
        block = block + block.dtype.type(0)  # -0 is 0
    raw = np.ascontiguousarray(block).view(np.uint8).reshape(len(block), -1)
    raw = np.pad(raw, ((0, 0), (0, -raw.shape[1] % 8)))
    words = raw.view(np.uint64)
    odd = generator(0, "row hashes").integers(0, 2**64, words.shape[1], dtype=np.uint64) | np.uint64(1)
    words = words ^ (words >> np.uint64(32))
    return (words * odd).sum(axis=1, dtype=np.uint64)


def distinct(rows: Points, targets: np.ndarray, hashes: np.ndarray) -> np.ndarray:
    """Return the numbers of the first of each group of equal rows, ascending.

    Raises InputError, naming them, where equal rows have different targets.
    """
    order = np.argsort(hashes, kind="stable")
    near = np.flatnonzero(hashes[order[1:]] == hashes[order[:-1]])
    keep, conflicts = np.ones(len(order), dtype=bool), []
    for first, second in zip(order[near], order[near + 1], strict=True):
        if np.array_equal(rows[first : first + 1], rows[second : second + 1]):
            keep[second] = False
            if targets[first] != targets[second]:
                conflicts.append(f"{first} and {second} ({targets[first]:g} and {targets[second]:g})")
    if conflicts:
        more = f", and {len(conflicts) - 3:,} more pairs" if len(conflicts) > 3 else ""
        raise InputError(f"equal rows have different targets: {', '.join(conflicts[:3])}{more}; no function fits them")
    return np.flatnonzero(keep)
