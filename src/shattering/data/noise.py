"""Noise in place of inputs: pixels, features, time steps or tokens that are permuted, or drawn anew.

All noise is a pure function of (seed, split, example id), so that a tensor in memory, a streaming worker and a resumed run get the
same bytes. Torch is imported where inputs are touched, so that a stored specification is read without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from shattering import seeds
from shattering.errors import InputError, a_type

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from shattering.data.split import Split

Pixels = Literal["true", "shuffled", "random", "gaussian", "within-class", "columns", "shifted", "uniform", "unigram"]


@dataclass(frozen=True)
class InputNoise:
    """The noise of the inputs of a split.

    Args:
        pixels: what is randomized, as `Randomization` has it.
        permute_channels: permute all values of an image instead of keeping a pixel's channels together.
        seed: seed of the noise.
        part: "train" or "test".
        moments: of the training inputs.
    """

    pixels: Pixels
    permute_channels: bool
    seed: int
    part: str
    moments: Moments

    def by_image(self) -> Callable[[np.ndarray, int], np.ndarray]:
        """Return a function (image (c, …), example id) → randomized image of the same shape. It can be sent to other processes.

        Raises InputError for "within-class" and "columns", which are functions of the whole split.
        """
        if self.pixels in ("within-class", "columns"):
            raise InputError(f"pixels {self.pixels!r} permutes among the examples of a split, expected one that works image by image")
        shape, size = self.moments.shape, int(np.prod(self.moments.shape))
        positions = size if self.permute_channels else size // shape[0]
        if self.pixels == "shuffled":
            return partial(_shuffled, np.argsort(self._shared(positions)))
        if self.pixels == "random":
            return partial(_permuted, self.seed, self.part, positions)
        if self.pixels == "gaussian":
            return partial(_gaussian, self.seed, self.part, self.moments)
        if self.pixels == "shifted":
            return partial(_shifted, self.seed, self.part)
        return _unchanged

    def of(self, split: Split, like: Split | None = None) -> Any:
        """Return the randomized inputs of a split, by `by_image` of each; of images on disk when they are read.

        like: the train split, whose tokens are drawn for "uniform" and "unigram"; None: the split itself. Raises InputError for what is
        not for inputs of this kind.
        """
        from shattering.data.kinds import AXES
        from shattering.data.lazy import ImagesOnDisk
        from shattering.data.rows import Rows

        if self.pixels == "true":
            return split.inputs
        if self.pixels not in AXES[split.kind]:
            allowed = ", ".join(map(repr, AXES[split.kind])) or "none: labels alone can be randomized"
            raise InputError(f"pixels is {self.pixels!r}, which is not for {split.kind} inputs, expected {allowed}")
        if split.kind == "tokens":
            return self._tokens(split, like or split)
        if isinstance(split.inputs, Rows):
            return self._gaussian_rows(split) if self.pixels == "gaussian" else self._columns_of_rows(split)
        if isinstance(split.inputs, ImagesOnDisk):
            return self._on_disk(split)
        if self.pixels in ("within-class", "columns"):
            return self._within_class(split)
        return self._each(split)

    def _each(self, split: Split) -> torch.Tensor:
        """Return a tensor whose images, sequences or rows are randomized one by one."""
        import torch

        transform, source = self.by_image(), split.inputs.numpy()
        flat = source.ndim == 2
        out = np.empty(source.shape, dtype=self.moments.dtype if self.pixels == "gaussian" else source.dtype)
        for row, example in enumerate(split.ids.tolist()):
            image = transform(source[row][None] if flat else source[row], example)
            out[row] = image[0] if flat else image
        return torch.from_numpy(out)

    def _on_disk(self, split: Split) -> Any:
        import torch

        if self.pixels == "within-class":
            raise InputError("pixels 'within-class' permutes among all images of a class, expected images in memory, not on disk")
        dtype = torch.float32 if self.pixels == "gaussian" else split.inputs.dtype
        return split.inputs.randomized(self.by_image(), split.ids, dtype)  # type: ignore[union-attr]  # ImagesOnDisk

    def _within_class(self, split: Split) -> torch.Tensor:
        """Return every column of the images permuted among the examples of each (true) class; a pixel's channels are one column."""
        import torch

        n, channels = len(split), 1 if self.permute_channels or split.inputs.ndim == 2 else split.input_shape[0]
        columns = split.inputs.numpy().reshape(n, channels, -1)
        out = np.empty_like(columns)
        for rows, words in self._parts(split):
            for column in range(columns.shape[2]):
                out[rows, :, column] = columns[rows[np.argsort(words.random_raw(len(rows)))], :, column]
        return torch.from_numpy(out.reshape(split.inputs.shape))

    def _parts(self, split: Split) -> Iterator[tuple[np.ndarray, Any]]:
        """Yield the rows that columns are permuted among, a class or all, and the generator of the permutations."""
        if self.pixels == "columns":
            yield np.arange(len(split)), seeds.generator(self.seed, f"pixels/{self.part}/columns").bit_generator
            return
        if split.is_regression:
            raise InputError("pixels 'within-class' permutes within a class, expected labels that are classes, or 'columns'")
        true = split.true_labels.numpy()
        for k in range(split.n_classes):
            yield np.flatnonzero(true == k), seeds.generator(self.seed, f"pixels/{self.part}", k).bit_generator

    def _columns_of_rows(self, split: Split) -> Any:
        """Return a DataFrame, an array of objects or a sparse matrix with its columns permuted among the rows of each part."""
        from scipy.sparse import issparse

        from shattering.data.rows import Rows

        values: Any = split.inputs.content.copy()  # type: ignore[union-attr]  # Rows
        if self.pixels not in ("within-class", "columns"):
            raise InputError(
                f"pixels is {self.pixels!r}, which is not for {a_type(values)}, expected 'within-class', 'columns' or 'gaussian'"
            )
        is_sparse = issparse(values)
        columns: Any = values.tocsc() if is_sparse else values
        for rows, words in self._parts(split):
            for column in range(values.shape[1]):
                order = rows[np.argsort(words.random_raw(len(rows)))]
                if is_sparse:
                    columns = _permuted_sparse(columns, column, rows, order)
                elif isinstance(columns, np.ndarray):
                    columns[rows, column] = columns[order, column]
                else:
                    columns.isetitem(column, _permuted_column(columns.iloc[:, column], rows, order))
        return Rows(columns)  # a sparse matrix becomes CSR again

    def _gaussian_rows(self, split: Split) -> Any:
        """Return a DataFrame of normal values in place of one of numbers. Columns of floats keep their type; others are float64."""
        import pandas as pd

        from shattering.data.rows import Rows

        frame = split.inputs.content  # type: ignore[union-attr]  # Rows
        drawn = [_gaussian(self.seed, self.part, self.moments, np.empty(0), example)[0] for example in split.ids.tolist()]
        normal = pd.DataFrame(np.stack(drawn), index=frame.index, columns=frame.columns)
        for place, kind in enumerate(frame.dtypes):
            if pd.api.types.is_float_dtype(kind):
                normal.isetitem(place, normal.iloc[:, place].astype(kind))
        return Rows(normal)

    def _tokens(self, split: Split, like: Split) -> Any:
        """Return documents with their tokens permuted, or drawn anew."""
        import torch

        from shattering.data.rows import Rows

        is_ragged = isinstance(split.inputs, Rows)
        documents = split.inputs.content if is_ragged else split.inputs.numpy()  # type: ignore[union-attr]  # Rows
        if self.pixels == "shuffled":
            shared = self._shared(max(map(len, documents)))
            out = [np.asarray(document)[np.argsort(shared[: len(document)])] for document in documents]
        else:
            words = [_raw(self.seed, self.part, example, len(row)) for row, example in zip(documents, split.ids.tolist(), strict=True)]
            if self.pixels == "random":
                out = [np.asarray(document)[np.argsort(raw)] for document, raw in zip(documents, words, strict=True)]
            else:
                trained = like.inputs.content if is_ragged else like.inputs.numpy()  # type: ignore[union-attr]  # Rows
                pool = np.concatenate([np.asarray(row) for row in trained])
                tokens = np.arange(int(pool.max()) + 1) if self.pixels == "uniform" else pool
                out = [tokens[(raw % np.uint64(len(tokens))).astype(np.int64)] for raw in words]
        return Rows([row.tolist() for row in out]) if is_ragged else torch.from_numpy(np.stack(out))

    def _shared(self, n: int) -> np.ndarray:
        """Return the words whose order is the permutation that all examples of all splits share."""
        return seeds.generator(self.seed, "pixels/shared").bit_generator.random_raw(n)


@dataclass(frozen=True)
class Moments:
    """Mean and standard deviation per channel over the training images, in original units (pixels in 0…1).

    Args:
        shape: (channels, height, width), or (1, features) with moments per feature for tables.
        mean: broadcasts to `shape`.
        std: broadcasts to `shape`.
        dtype: type of the images that `draw` makes.
    """

    shape: tuple[int, ...]
    mean: np.ndarray
    std: np.ndarray
    dtype: str = "float32"

    @classmethod
    def of(cls, images: torch.Tensor) -> Moments:  # or ImagesOnDisk, or Rows
        """Compute the moments of images (n, c, h, w), sequences (n, c, length), or tables (n, features) in float64.

        Missing values of tables do not count.
        """
        import torch

        from shattering.data.lazy import ImagesOnDisk
        from shattering.data.moments import channel_moments, feature_moments
        from shattering.data.rows import Rows

        if isinstance(images, Rows):
            mean, std = feature_moments(torch.from_numpy(images.numbers()))
            return cls((1, images.shape[1]), mean[None].numpy(), std[None].numpy(), "float64")
        if isinstance(images, ImagesOnDisk):
            mean, std = (np.array(values)[:, None, None] for values in images.moments())
            return cls(images.shape[1:], mean, std)
        if images.ndim == 2:
            mean, std = feature_moments(images)
            return cls((1, images.shape[1]), mean[None].numpy(), std[None].numpy(), _gaussian_type(images))
        mean, std = channel_moments(images.split(4096))
        places = (-1, *(1 for _ in images.shape[2:]))
        return cls(tuple(images.shape[1:]), mean.view(places).numpy(), std.view(places).numpy(), _gaussian_type(images))

    def draw(self, generator: np.random.Generator) -> np.ndarray:
        """Draw one image of independent normal pixels with these moments."""
        return (self.mean + self.std * generator.standard_normal(self.shape)).astype(self.dtype)


def _gaussian_type(images: torch.Tensor) -> str:
    """Return the type of Gaussian pixels or features in place of these: that of floats, else one that is as exact."""
    if images.dtype.is_floating_point:
        return str(images.dtype).removeprefix("torch.")
    return "float32" if images.ndim == 4 else "float64"


def _permuted_column(column: pd.Series, rows: np.ndarray, order: np.ndarray) -> pd.Series:
    """Return a column of a DataFrame whose values at `rows` are those at `order`, of the same type."""
    places = np.arange(len(column))
    places[rows] = order
    permuted = column.take(places)
    permuted.index = column.index
    return permuted


def _permuted_sparse(matrix: Any, column: int, rows: np.ndarray, order: np.ndarray) -> Any:
    """Return a CSC matrix whose entries of a column at `rows` are those at `order`."""
    low, high = matrix.indptr[column], matrix.indptr[column + 1]
    to = np.arange(matrix.shape[0])
    to[order] = rows
    matrix.indices[low:high] = to[matrix.indices[low:high]]
    matrix.has_sorted_indices = False
    return matrix


def _shifted(seed: int, part: str, sequence: np.ndarray, example: int) -> np.ndarray:
    length = sequence.shape[-1]
    return np.roll(sequence, int(_raw(seed, part, example, 1)[0] % np.uint64(length)), axis=-1)


def _unchanged(image: np.ndarray, _: int) -> np.ndarray:
    return image


def _shuffled(order: np.ndarray, image: np.ndarray, _: int) -> np.ndarray:
    return _permute(image, order)


def _permuted(seed: int, part: str, positions: int, image: np.ndarray, example: int) -> np.ndarray:
    return _permute(image, np.argsort(_raw(seed, part, example, positions)))


def _gaussian(seed: int, part: str, moments: Moments, _: np.ndarray, example: int) -> np.ndarray:
    return moments.draw(seeds.generator(seed, f"pixels/{part}", example))


def _raw(seed: int, part: str, index: int, n: int) -> np.ndarray:
    return seeds.generator(seed, f"pixels/{part}", index).bit_generator.random_raw(n)


def _permute(image: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Permute the positions of an image (c, …), or all its values if `order` is as long."""
    return image.reshape(-1, len(order))[:, order].reshape(image.shape)
