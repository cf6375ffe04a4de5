"""Products of features that are accumulated, in memory and in a file that survives a kill: a Gram matrix by its lower triangle."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from shattering.errors import InputError, reason
from shattering.linalg.gram import slices
from shattering.system.files import write_own

_ROWS = 2500


class StoredGram:
    """A symmetric matrix times `scale` plus `constant`, held as its entries on and below the diagonal.

    A mean that all features share makes their products large and alike, and rounding then destroys the differences. So the panels
    hold products of features without their mean μ, and the rest is kept apart:
    <z, z'> = <z - μ, z' - μ> + <z, μ> + <z', μ> - <μ, μ>.

    Args:
        panels: rows of the matrix, float32 or float64, `_ROWS` at a time, each as far as its block on the diagonal.
        sides: (n,) float64, <z, μ> - <μ, μ> / 2.
        parts: names of what has been added up so far.
    """

    def __init__(self, panels: Sequence[Tensor], sides: Tensor, parts: Sequence = ()):
        self.panels, self.sides = panels, sides
        self.parts = [tuple(part) for part in parts]
        self.scale, self.constant = 1.0, 0.0
        self.n = len(sides)
        self.features = 1  # entries are read, not computed

    @property
    def noise(self) -> float:
        """Relative rounding error of the panels' entries, which are rounded after each addition; `sides` are exact enough."""
        if self.panels[0].dtype == torch.float64:
            return 0.0
        rounded = sum(float(panel.diagonal(rows.start).double().sum()) for rows, panel in self._by_rows()) * self.scale
        return 4 * torch.finfo(self.panels[0].dtype).eps * rounded / (float(self.diagonal().sum()) or 1.0)

    @classmethod
    def zeros(cls, n: int, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu") -> "StoredGram":
        panels = [torch.zeros(_shape(rows), dtype=dtype, device=device) for rows in slices(n, _ROWS)]
        return cls(panels, torch.zeros(n, dtype=torch.float64, device=device))

    def add(self, part: tuple, features: Tensor) -> None:
        """Add features @ features.T. features: (n, d)."""
        features = features.to(self.panels[0].dtype)
        mean = features.mean(0)
        exact = mean.double()
        for rows in slices(self.n, _ROWS):
            self.sides[rows] += features[rows].double() @ exact - exact.square().sum() / 2
        features = features - mean
        for rows, panel in self._by_rows():
            panel.addmm_(features[rows], features[: rows.stop].T)
        self.parts.append(part)

    def add_gram(self, other: "StoredGram") -> None:
        """Add another's entries and parts. Raises InputError for other sizes and for parts that both have."""
        if other.n != self.n:
            raise InputError(f"a Gram matrix of {other.n} points cannot be added to one of {self.n}")
        if common := set(self.parts) & set(other.parts):
            raise InputError(f"both Gram matrices have the part {min(common)}, expected parts apart")
        for mine, others in zip(self.panels, other.panels, strict=True):
            mine += others
        self.sides += other.sides
        self.parts += other.parts

    def block(self, rows: slice, cols: slice, dtype: torch.dtype) -> Tensor:
        """Return a block as `Gram.block` does, on the diagonal or below it."""
        part = torch.empty((rows.stop - rows.start, cols.stop - cols.start), dtype=dtype, device=self.panels[0].device)
        for span, panel in self._by_rows():
            start, stop = max(rows.start, span.start), min(rows.stop, span.stop)
            if start < stop:
                piece = panel[start - span.start : stop - span.start, cols]
                part[start - rows.start : stop - rows.start, : piece.shape[1]] = piece
        if rows == cols:
            part = part.tril() + part.tril(-1).T
        sides = self.sides.to(dtype)
        return part.add_(sides[rows, None]).add_(sides[cols]).mul_(self.scale).add_(self.constant)

    def columns(self, index: Tensor, dtype: torch.dtype) -> Tensor:
        out = torch.empty((self.n, len(index)), dtype=dtype, device=self.panels[0].device)
        for rows, panel in self._by_rows():
            numbers = torch.arange(rows.start, rows.stop, device=index.device)
            below = index <= numbers[:, None]
            out[rows] = torch.where(below, panel[:, index.clamp(max=rows.stop - 1)].to(dtype), out[rows])
            for column in ((index >= rows.start) & (index < rows.stop)).nonzero()[:, 0].tolist():
                row = int(index[column])
                out[:row, column] = panel[row - rows.start, :row]
        sides = self.sides.to(dtype)
        return out.add_(sides[:, None]).add_(sides[index]).mul_(self.scale).add_(self.constant)

    def diagonal(self) -> Tensor:
        inner = torch.cat([panel.diagonal(rows.start) for rows, panel in self._by_rows()]).double()
        return (inner + 2 * self.sides) * self.scale + self.constant

    def _by_rows(self) -> Iterator[tuple[slice, Tensor]]:
        return zip(slices(self.n, _ROWS), self.panels, strict=True)

    def save(self, path: Path, key: str) -> None:
        """Write the lower triangle as safetensors, aside and renamed. key: says what it is a Gram matrix of."""
        tensors = {"sides": self.sides} | {_name(number): panel for number, panel in enumerate(self.panels)}
        _save(path, tensors, {"key": key, "n": str(self.n), "parts": json.dumps(self.parts)})

    @classmethod
    def parts_in(cls, path: Path) -> list[tuple]:
        """Return the parts that a file of `save` has added up. Raises InputError for other files."""
        with _opened(path) as (_, metadata):
            return [tuple(part) for part in json.loads(metadata["parts"])]

    @classmethod
    def load(cls, path: Path, key: str, device: torch.device | str = "cpu") -> "StoredGram":
        """Load what `save` wrote. Raises InputError for other files, and for another key."""
        with _opened(path) as (file, metadata):
            _check_key(path, metadata, key)
            numbers = range(len(list(slices(int(metadata["n"]), _ROWS))))
            # copied one by one: a tensor of the file is a view of it, which ends when the file is replaced by a shorter one
            panels = [file.get_tensor(_name(number)).to(device, copy=True) for number in numbers]
            return cls(panels, file.get_tensor("sides").to(device, copy=True), json.loads(metadata["parts"]))


class StoredProducts:
    """Products of new points with others, accumulated over parts of their features.

    Args:
        values: (m, n) float32, products <z, z'>.
        squares: (m,) float64, squared norms of the new points.
        parts: names of what has been added up so far.
    """

    def __init__(self, values: Tensor, squares: Tensor, parts: Sequence = ()):
        self.values, self.squares = values, squares
        self.parts = [tuple(part) for part in parts]

    @classmethod
    def zeros(cls, m: int, n: int, device: torch.device | str = "cpu") -> "StoredProducts":
        return cls(torch.zeros((m, n), device=device), torch.zeros(m, dtype=torch.float64, device=device))

    def add(self, part: tuple, new: Tensor, others: Tensor) -> None:
        """Add new @ others.T. new: (m, d). others: (n, d)."""
        self.values.addmm_(new, others.T)
        for rows in slices(len(new), _ROWS):
            self.squares[rows] += new[rows].double().square().sum(1)
        self.parts.append(part)

    def save(self, path: Path, key: str) -> None:
        """Write the products as safetensors, aside and renamed. key: says what they are of."""
        tensors = {"values": self.values, "squares": self.squares}
        _save(path, tensors, {"key": key, "parts": json.dumps(self.parts)})

    @classmethod
    def load(cls, path: Path, key: str, device: torch.device | str = "cpu") -> "StoredProducts":
        """Load what `save` wrote. Raises InputError for other files, and for another key."""
        with _opened(path) as (file, metadata):
            _check_key(path, metadata, key)
            values, squares = (file.get_tensor(name).to(device, copy=True) for name in ("values", "squares"))
            return cls(values, squares, json.loads(metadata["parts"]))


def stored_bytes(n: int, dtype: torch.dtype) -> int:
    """Return the memory of a `StoredGram` of n points."""
    return sum(height * width for height, width in map(_shape, slices(n, _ROWS))) * dtype.itemsize


def _shape(rows: slice) -> tuple[int, int]:
    """Return the shape of the panel of these rows."""
    return rows.stop - rows.start, rows.stop


def _save(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    tensors = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    try:
        write_own(path, lambda aside: safetensors.torch.save_file(tensors, aside, metadata))
    except safetensors.SafetensorError as error:  # it wraps what the system has said
        raise OSError(f"{path} cannot be written: {reason(error)}") from None


def _check_key(path: Path, metadata: dict[str, str], key: str) -> None:
    if metadata["key"] != key:
        raise InputError(f"{path} holds the products of other features, images or precision; remove it, or name another file")


def _name(panel: int) -> str:
    return f"panel{panel}"


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, dict[str, str]]]:
    """Open a file of `StoredGram.save`: its reader and its metadata."""
    try:
        with safetensors.safe_open(path, "pt") as file:
            yield file, file.metadata() or {}
    except InputError:
        raise
    except (safetensors.SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} does not hold products of features, or is damaged; remove it to start anew: {reason(error)}") from None
