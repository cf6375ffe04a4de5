"""A Gram matrix that is accumulated: the lower triangle in memory, and in a file that survives a kill."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from shattering.errors import InputError
from shattering.files import write_aside
from shattering.linalg.gram import lower_blocks, slices

_ROWS = 2500


class StoredGram:
    """scale times a symmetric matrix, plus a constant, of which the entries on and below the diagonal are held.

    values: (n, n) float32 or float64; what is above the diagonal is never read, and, on the CPU, takes no memory while it is
    untouched. parts: names of what has been added up so far. features: how many products an entry is made of.
    """

    def __init__(self, values: Tensor, parts: Sequence = (), scale: float = 1.0, constant: float = 0.0):
        self.values = values
        self.parts = [tuple(part) for part in parts]
        self.scale, self.constant = scale, constant
        self.n = len(values)
        self.features = 1  # entries are read, not computed
        self.noise = 1e-6 if values.dtype == torch.float32 else 1e-13

    @classmethod
    def zeros(cls, n: int, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu") -> "StoredGram":
        return cls(torch.zeros((n, n), dtype=dtype, device=device))

    def add(self, part: tuple, features: Tensor) -> None:
        """Add features @ features.T. features: (n, d)."""
        features = features.to(self.values.dtype)
        for rows, cols in lower_blocks(self.n, _ROWS):
            self.values[rows, cols].addmm_(features[rows], features[cols].T)
        self.parts.append(part)

    def add_gram(self, other: "StoredGram") -> None:
        """Add another's entries and parts. Raises InputError for other sizes and for parts that both have."""
        if other.n != self.n:
            raise InputError(f"a Gram matrix of {other.n} points cannot be added to one of {self.n}")
        if common := set(self.parts) & set(other.parts):
            raise InputError(f"both Gram matrices have the part {min(common)}, expected parts apart")
        for rows in slices(self.n, _ROWS):
            self.values[rows, : rows.stop] += other.values[rows, : rows.stop]
        self.parts += other.parts

    def block(self, rows: slice, cols: slice, dtype: torch.dtype) -> Tensor:
        part = self.values[rows, cols].to(dtype, copy=True)
        if rows == cols:
            part = part.tril() + part.tril(-1).T
        return part.mul_(self.scale).add_(self.constant)

    def columns(self, index: Tensor, dtype: torch.dtype) -> Tensor:
        out = torch.empty((self.n, len(index)), dtype=dtype, device=self.values.device)
        for rows in slices(self.n, _ROWS):
            numbers = torch.arange(rows.start, rows.stop, device=index.device)[:, None]
            out[rows] = torch.where(index <= numbers, self.values[rows][:, index], self.values[index][:, rows].T).to(dtype)
        return out.mul_(self.scale).add_(self.constant)

    def diagonal(self) -> Tensor:
        return self.values.diagonal().double() * self.scale + self.constant

    def save(self, path: Path, key: str) -> None:
        """Write the lower triangle, aside and renamed. key: what it is a Gram matrix of."""
        header = json.dumps({"key": key, "n": self.n, "type": str(self.values.dtype)[6:], "parts": self.parts}).encode()

        def write(aside: Path) -> None:
            with aside.open("wb") as file:
                file.write(len(header).to_bytes(8, "little") + header)
                for rows in slices(self.n, _ROWS):
                    file.write(self.values[rows, : rows.stop].cpu().contiguous().numpy().data)

        write_aside(path, write)

    @classmethod
    def parts_in(cls, path: Path) -> list[tuple]:
        """What a file that `save` wrote has added up. Raises InputError for other files."""
        with _readable(path), path.open("rb") as file:
            return [tuple(part) for part in _header(file)["parts"]]

    @classmethod
    def load(cls, path: Path, key: str, device: torch.device | str = "cpu") -> "StoredGram":
        """What `save` wrote. Raises InputError for other files, and for another key."""
        with _readable(path), path.open("rb") as file:
            header = _header(file)
            if header["key"] != key:
                raise InputError(f"{path} holds the Gram matrix of something else; remove it, or name another file")
            values = torch.zeros((header["n"], header["n"]), dtype=getattr(torch, header["type"]), device=device)
            gram = cls(values, header["parts"])
            for rows in slices(gram.n, _ROWS):
                shape = (rows.stop - rows.start, rows.stop)
                flat = np.fromfile(file, header["type"], shape[0] * shape[1])
                gram.values[rows, : rows.stop] = torch.from_numpy(flat.reshape(shape)).to(device)
            return gram


def _header(file: BinaryIO) -> dict:
    return json.loads(file.read(int.from_bytes(file.read(8), "little") % 2**20))


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is not a stored Gram matrix, or is damaged; remove it to start anew: {error}") from None
