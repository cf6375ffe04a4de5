"""Randomizations of a dataset (ICLR 2017, section 2.1; CACM 2021, section 2).

Two orthogonal axes, in the papers' words: `labels` (probability of corruption) and `pixels`. All noise is a
pure function of (seed, example id), so a tensor in memory, a streaming worker and a resumed run get the
same bytes.

Torch is imported where images are touched, so that a stored specification is read without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np

from shattering import seeds
from shattering.brief import Brief
from shattering.data.exchange import Exchange, ExchangeFunction, exchanged_order, permuted_by, shown_exchange
from shattering.errors import InputError, a_type, shown
from shattering.identity.names import is_object
from shattering.parameters import Limit, Natural, Range, check, check_fields

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from shattering.data.dataset import Dataset
    from shattering.data.split import Split

_TITLES = {
    "gaussian": "Gaussian pixels",
    "within-class": "pixels permuted within class",
    "columns": "permuted features",
    "uniform": "uniform tokens",
    "unigram": "tokens drawn by frequency",
}
Pixels = Literal["true", "shuffled", "random", "gaussian", "within-class", "columns", "shifted", "uniform", "unigram"]
LabelMode = Literal["redraw", "flip", "permute"]


class Named(Limit):
    """Names of objects in specifications."""

    def __contains__(self, value: object) -> bool:
        return isinstance(value, str) and is_object(value)

    def __str__(self) -> str:
        return ""


@dataclass(frozen=True, repr=False)
class Randomization(Brief):
    """A way to randomize data: the parts that are randomized, and how much.

    Args:
        labels: probability in 0…1 that a label is corrupted, independently for each example.
        pixels: "true"; "shuffled" (one random permutation of the pixel positions for all images, train and test);
            "random" (another permutation for each image); "gaussian" (independent normal pixels with the mean and
            the standard deviation that each channel has over the training images; not clipped); "within-class" (each
            pixel, or feature, is permuted among the examples of a class, in every split by itself: each pixel keeps its
            distribution within a class; the dependence between pixels is destroyed; Ojala and Garriga 2010, test 2). Each kind of
            inputs has its own words for pixels, and its own values, see `shattering.data.kinds.AXES`: of a table "columns" permutes
            each feature among all examples; of sequences pixels are time steps, and "shifted" rotates each by a random time; of tokens
            "shuffled" is one permutation of the positions, "random" another for each document, "uniform" draws each token from
            0 to the largest token of the training documents, and "unigram" from their tokens, by frequency.
        label_mode: what a corrupted label becomes: "redraw" (the papers': a uniform random class, perhaps the
            same, so about labels (1 - 1/k) of k-class labels change), "flip" (a uniform random other class), or
            "permute" (the corrupted labels are permuted among themselves, which keeps class counts). Targets of a regression are
            redrawn from the true targets, or permuted. Where no label is corrupted it says nothing, and is "redraw".
        permute_channels: permute all values of an image instead of keeping a pixel's channels together. Of "true" and "gaussian"
            pixels it says nothing, and is False.
        exchange: which permutations label_mode "permute" makes: "free" (any), "within" (inside each group of the split), "whole"
            (groups of one size exchange their complete label vectors), or "shift" (the labels of each group, or of all, are rolled);
            see `shattering.data.exchange`. Or the name of a function that permutes them, as `randomization_test` gives it. The last
            three are of all labels, labels = 1.

    Raises:
        InputError: for values out of range, and for an exchange that does not go with the other fields.

    Example:
        >>> Randomization(labels=0.5, pixels="shuffled").title
        '50% corrupted labels, shuffled pixels'
    """

    labels: Annotated[float, "a probability of corruption", Range(0, 1)] = 0.0
    pixels: Pixels = "true"
    label_mode: LabelMode = "redraw"
    permute_channels: bool = False
    exchange: Exchange | Annotated[str, "a function given to randomization_test", Named()] = "free"

    def __post_init__(self):
        check_fields(self)
        object.__setattr__(self, "labels", float(self.labels))
        object.__setattr__(self, "permute_channels", bool(self.permute_channels))
        if self.exchange != "free" and (self.label_mode != "permute" or not self.labels):
            beside = f"label_mode {self.label_mode!r} and labels {self.labels:g}"
            raise InputError(f"exchange is {self.exchange!r} beside {beside}, expected label_mode 'permute' and labels above 0")
        if self.exchange not in ("free", "within") and self.labels < 1:
            raise InputError(
                f"exchange is {self.exchange!r} and labels is {self.labels:g}, expected 1: it exchanges complete label vectors"
            )
        if not self.labels:  # so that equal randomizations are equal
            object.__setattr__(self, "label_mode", "redraw")
        if self.pixels in ("true", "gaussian"):
            object.__setattr__(self, "permute_channels", False)

    @property
    def title(self) -> str:
        """The name in the papers' words, e.g. "random labels", "50% corrupted labels, shuffled pixels"."""
        permuted = {"free": "permuted", "within": "permuted within groups", "whole": "exchanged between groups", "shift": "shifted"}
        how = permuted.get(self.exchange) or f"permuted by {shown_exchange(self.exchange)}"
        kind = {"redraw": "", "flip": " (flipped)", "permute": f" ({how})"}[self.label_mode] if self.labels else ""
        words = []
        if self.labels == 1:
            words.append(f"random labels{kind}")
        elif self.labels:
            words.append(f"{100 * self.labels:.4g}% corrupted labels{kind}")
        if self.pixels != "true":
            words.append(_TITLES.get(self.pixels, f"{self.pixels} pixels"))
        return ", ".join(words) or "original data"

    def corrupt(self, split: Split, seed: int, part: str, function: ExchangeFunction | None = None) -> torch.Tensor:
        """Return the corrupted labels (n,) of a split, always made from its true labels.

        Args:
            split: the examples.
            seed: seed of the noise.
            part: "train" or "test".
            function: what `exchange` names, if that is a function.

        Raises:
            InputError: for targets of a regression that are to be flipped, for ids that repeat where labels are to be permuted, for a
                split without the groups that `exchange` needs, and for a function that is not there or does not permute labels.
        """
        import torch

        true = split.true_labels.numpy()
        if not self.labels:
            return split.true_labels
        if is_object(self.exchange):
            return self._by_function(split, seed, part, function)
        words = seeds.words(seed, f"labels/{part}", split.ids.numpy())
        corrupted = seeds.uniform(words[:, 0]) < self.labels
        k = split.n_classes
        if split.is_regression and self.label_mode == "flip":
            raise InputError("label_mode is 'flip' and the labels are numbers, which have no other class, expected 'permute' or 'redraw'")
        if self.label_mode == "redraw" and split.is_regression:
            new = true[(words[:, 1] % np.uint64(len(true))).astype(np.int64)]
        elif self.label_mode == "redraw":
            new = (words[:, 1] % np.uint64(k)).astype(np.int64)
        elif self.label_mode == "flip":
            new = (true + 1 + (words[:, 1] % np.uint64(k - 1)).astype(np.int64)) % k
        else:
            if len(np.unique(split.ids.numpy())) < len(split):
                raise InputError("ids repeat, expected one an example: labels are permuted by what is drawn for each id")
            rows = np.flatnonzero(corrupted)
            new = true.copy()
            groups = None if split.group_codes is None else split.group_codes[rows]
            new[rows] = true[rows[exchanged_order(self.exchange, words[rows, 2], groups, split.ids.numpy()[rows])]]
        return torch.from_numpy(np.where(corrupted, new, true))

    def _by_function(self, split: Split, seed: int, part: str, function: ExchangeFunction | None) -> torch.Tensor:
        """Return the labels (n,) as a function permutes them that sees the user's own values."""
        import torch

        if function is None:
            raise InputError(f"exchange is the name of {shown_exchange(self.exchange)}, expected that function beside it")
        labels = replace(split, labels=split.true_labels).y
        permuted = permuted_by(function, labels, seeds.generator(seed, f"exchange/{part}"))
        return torch.from_numpy(permuted if split.is_regression else np.searchsorted(split.label_values, permuted))

    def pixel_transform(self, seed: int, part: str, moments: Moments) -> Callable[[np.ndarray, int], np.ndarray]:
        """Return a function (image (c, …), example id) → randomized image of the same shape. It can be sent to other processes.

        Raises InputError for "within-class" and "columns", which are functions of the whole split.
        """
        if self.pixels in ("within-class", "columns"):
            raise InputError(f"pixels {self.pixels!r} permutes among the examples of a split, expected one that works image by image")
        shape, size = moments.shape, int(np.prod(moments.shape))
        positions = size if self.permute_channels else size // shape[0]
        if self.pixels == "shuffled":
            shared = np.argsort(seeds.generator(seed, "pixels/shared").bit_generator.random_raw(positions))
            return partial(_shuffled, shared)
        if self.pixels == "random":
            return partial(_permuted, seed, part, positions)
        if self.pixels == "gaussian":
            return partial(_gaussian, seed, part, moments)
        if self.pixels == "shifted":
            return partial(_shifted, seed, part)
        return _unchanged

    def inputs(self, split: Split, seed: int, part: str, moments: Moments, like: Split | None = None) -> torch.Tensor:
        """Return the randomized inputs of a split, by `pixel_transform` of each; of images on disk when they are read.

        like: the train split, whose tokens are drawn for "uniform" and "unigram"; None: the split itself. Raises InputError for what is
        not for inputs of this kind.
        """
        import torch

        from shattering.data.kinds import AXES
        from shattering.data.lazy import ImagesOnDisk
        from shattering.data.rows import Rows

        if self.pixels == "true":
            return split.inputs
        if self.pixels not in AXES[split.kind]:
            allowed = ", ".join(map(repr, AXES[split.kind])) or "none: labels alone can be randomized"
            raise InputError(f"pixels is {self.pixels!r}, which is not for {split.kind} inputs, expected {allowed}")
        if split.kind == "tokens":
            return self._tokens(split, seed, part, like or split)
        if isinstance(split.inputs, Rows):
            if self.pixels == "gaussian":
                return self._gaussian_rows(split, seed, part, moments)
            return self._columns_of_rows(split, seed, part)
        if isinstance(split.inputs, ImagesOnDisk):
            if self.pixels == "within-class":
                raise InputError("pixels 'within-class' permutes among all images of a class, expected images in memory, not on disk")
            dtype = torch.float32 if self.pixels == "gaussian" else split.inputs.dtype
            return split.inputs.randomized(self.pixel_transform(seed, part, moments), split.ids, dtype)  # type: ignore[return-value]  # like a tensor
        if self.pixels in ("within-class", "columns"):
            return self._within_class(split, seed, part)
        transform = self.pixel_transform(seed, part, moments)
        source = split.inputs.numpy()
        flat = source.ndim == 2
        out = np.empty(source.shape, dtype=moments.dtype if self.pixels == "gaussian" else source.dtype)
        for row, example in enumerate(split.ids.tolist()):
            image = transform(source[row][None] if flat else source[row], example)
            out[row] = image[0] if flat else image
        return torch.from_numpy(out)

    def _within_class(self, split: Split, seed: int, part: str) -> torch.Tensor:
        """Return every column of the images permuted among the examples of each (true) class; a pixel's channels are one column."""
        import torch

        n, channels = len(split), 1 if self.permute_channels or split.inputs.ndim == 2 else split.input_shape[0]
        columns = split.inputs.numpy().reshape(n, channels, -1)
        out = np.empty_like(columns)
        for rows, words in self._parts(split, seed, part):
            for column in range(columns.shape[2]):
                out[rows, :, column] = columns[rows[np.argsort(words.random_raw(len(rows)))], :, column]
        return torch.from_numpy(out.reshape(split.inputs.shape))

    def _parts(self, split: Split, seed: int, part: str) -> Iterator[tuple[np.ndarray, Any]]:
        """Yield the rows that columns are permuted among, a class or all, and the generator of the permutations."""
        if self.pixels == "columns":
            yield np.arange(len(split)), seeds.generator(seed, f"pixels/{part}/columns").bit_generator
            return
        if split.is_regression:
            raise InputError("pixels 'within-class' permutes within a class, expected labels that are classes, or 'columns'")
        true = split.true_labels.numpy()
        for k in range(split.n_classes):
            yield np.flatnonzero(true == k), seeds.generator(seed, f"pixels/{part}", k).bit_generator

    def _columns_of_rows(self, split: Split, seed: int, part: str) -> Any:
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
        for rows, words in self._parts(split, seed, part):
            for column in range(values.shape[1]):
                order = rows[np.argsort(words.random_raw(len(rows)))]
                if is_sparse:
                    columns = _permuted_sparse(columns, column, rows, order)
                elif isinstance(columns, np.ndarray):
                    columns[rows, column] = columns[order, column]
                else:
                    columns.isetitem(column, _permuted_column(columns.iloc[:, column], rows, order))
        return Rows(columns)  # a sparse matrix becomes CSR again

    def _gaussian_rows(self, split: Split, seed: int, part: str, moments: Moments) -> Any:
        """Return a DataFrame of normal values in place of one of numbers. Columns of floats keep their type; others are float64."""
        import pandas as pd

        from shattering.data.rows import Rows

        frame = split.inputs.content  # type: ignore[union-attr]  # Rows
        drawn = [_gaussian(seed, part, moments, np.empty(0), example)[0] for example in split.ids.tolist()]
        normal = pd.DataFrame(np.stack(drawn), index=frame.index, columns=frame.columns)
        for place, kind in enumerate(frame.dtypes):
            if pd.api.types.is_float_dtype(kind):
                normal.isetitem(place, normal.iloc[:, place].astype(kind))
        return Rows(normal)

    def _tokens(self, split: Split, seed: int, part: str, like: Split) -> Any:
        """Return documents with their tokens permuted, or drawn anew."""
        import torch

        from shattering.data.rows import Rows

        is_ragged = isinstance(split.inputs, Rows)
        documents = split.inputs.content if is_ragged else split.inputs.numpy()  # type: ignore[union-attr]  # Rows
        if self.pixels == "shuffled":
            shared = seeds.generator(seed, "pixels/shared").bit_generator.random_raw(max(map(len, documents)))
            out = [np.asarray(document)[np.argsort(shared[: len(document)])] for document in documents]
        else:
            words = [_raw(seed, part, example, len(row)) for row, example in zip(documents, split.ids.tolist(), strict=True)]
            if self.pixels == "random":
                out = [np.asarray(document)[np.argsort(raw)] for document, raw in zip(documents, words, strict=True)]
            else:
                trained = like.inputs.content if is_ragged else like.inputs.numpy()  # type: ignore[union-attr]  # Rows
                pool = np.concatenate([np.asarray(row) for row in trained])
                tokens = np.arange(int(pool.max()) + 1) if self.pixels == "uniform" else pool
                out = [tokens[(raw % np.uint64(len(tokens))).astype(np.int64)] for raw in words]
        return Rows([row.tolist() for row in out]) if is_ragged else torch.from_numpy(np.stack(out))


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
            return cls((1, images.shape[1]), mean[None].numpy(), std[None].numpy(), gaussian_type(images))
        mean, std = channel_moments(images.split(4096))
        places = (-1, *(1 for _ in images.shape[2:]))
        return cls(tuple(images.shape[1:]), mean.view(places).numpy(), std.view(places).numpy(), gaussian_type(images))

    def draw(self, generator: np.random.Generator) -> np.ndarray:
        """Draw one image of independent normal pixels with these moments."""
        return (self.mean + self.std * generator.standard_normal(self.shape)).astype(self.dtype)


def gaussian_type(images: torch.Tensor) -> str:
    """Return the type of Gaussian pixels or features in place of these: that of floats, else one that is as exact."""
    if images.dtype.is_floating_point:
        return str(images.dtype).removeprefix("torch.")
    return "float32" if images.ndim == 4 else "float64"


def randomize(dataset: Dataset, randomization: Randomization, seed: Natural = 0, function: ExchangeFunction | None = None) -> Dataset:
    """Return a randomized copy: inputs of all splits, labels of the train and validation splits; test labels stay true.

    The validation split was held out of the train split, and has its noise. The moments for Gaussian pixels are those of
    the given train split.

    Args:
        dataset: the original data.
        randomization: what to randomize, and how much.
        seed: seed of the noise.
        function: what `randomization.exchange` names, if that is a function.

    Raises:
        InputError: for what is no Dataset or no Randomization, one that its inputs or labels do not allow, and for a bad seed.

    Example:
        >>> from shattering import load_dataset
        >>> noisy = randomize(load_dataset("digits"), Randomization(labels=1.0), seed=1)
        >>> len(noisy.train) == len(load_dataset("digits").train)
        True
    """
    from shattering.data.dataset import Dataset
    from shattering.data.kinds import AXES

    if not isinstance(dataset, Dataset):
        raise InputError(f"dataset is {a_type(dataset)}, expected a Dataset: load_dataset of it")
    if not isinstance(randomization, Randomization):
        raise InputError(f"randomization is {shown(randomization)}, expected a Randomization, such as Randomization(labels=1.0)")
    check("seed", seed, Natural)
    r, train, test = randomization, dataset.train, dataset.test
    drawn = r.pixels == "gaussian" and "gaussian" in AXES[train.kind]
    moments = Moments.of(train.inputs) if drawn else Moments(_shape(train), np.zeros(1), np.zeros(1))

    def randomized(split: Split) -> Split:
        return replace(split, inputs=r.inputs(split, seed, "train", moments), labels=r.corrupt(split, seed, "train", function))

    return replace(
        dataset,
        train=randomized(train),
        validation=randomized(dataset.validation) if dataset.validation else None,
        test=replace(test, inputs=r.inputs(test, seed, "test", moments, train)),
    )


def _shape(split: Split) -> tuple[int, ...]:
    return (1, *split.input_shape) if split.kind == "table" else split.input_shape
