"""Randomizations of a dataset (ICLR 2017, section 2.1; CACM 2021, section 2).

Two orthogonal axes, in the papers' words: `labels` (probability of corruption) and `pixels`. All noise is a
pure function of (seed, example id), so a tensor in memory, a streaming worker and a resumed run get the
same bytes.

Torch is imported where images are touched, so that a stored specification is read without it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np

from shattering import seeds
from shattering.errors import InputError
from shattering.parameters import Range, check_fields

if TYPE_CHECKING:
    import torch

    from shattering.data.dataset import Dataset, Split

Pixels = Literal["true", "shuffled", "random", "gaussian", "within-class"]
LabelMode = Literal["redraw", "flip", "permute"]


@dataclass(frozen=True)
class Randomization:
    """What is randomized, and how much.

    Args:
        labels: probability in 0…1 that a label is corrupted, independently for each example.
        pixels: "true"; "shuffled" (one random permutation of the pixel positions for all images, train and test);
            "random" (another permutation for each image); "gaussian" (independent normal pixels with the mean and
            the standard deviation that each channel has over the training images; not clipped); "within-class" (each
            pixel, or feature, is permuted among the examples of a class, in every split by itself: each pixel keeps its
            distribution within a class; the dependence between pixels is destroyed; Ojala and Garriga 2010, test 2).
        label_mode: what a corrupted label becomes: "redraw" (the papers': a uniform random class, perhaps the
            same, so about labels (1 - 1/k) of k-class labels change), "flip" (a uniform random other class), or
            "permute" (the corrupted labels are permuted among themselves, which keeps class counts).
        permute_channels: permute all values of an image instead of keeping a pixel's channels together.

    Raises:
        InputError: for values out of range.

    Example:
        >>> Randomization(labels=0.5, pixels="shuffled").title
        '50% corrupted labels, shuffled pixels'
    """

    labels: Annotated[float, "a probability of corruption", Range(0, 1)] = 0.0
    pixels: Pixels = "true"
    label_mode: LabelMode = "redraw"
    permute_channels: bool = False

    def __post_init__(self):
        check_fields(self)
        object.__setattr__(self, "labels", float(self.labels))
        object.__setattr__(self, "permute_channels", bool(self.permute_channels))

    @property
    def title(self) -> str:
        """In the papers' words, e.g. "random labels", "50% corrupted labels, shuffled pixels"."""
        kind = {"redraw": "", "flip": " (flipped)", "permute": " (permuted)"}[self.label_mode] if self.labels else ""
        words = []
        if self.labels == 1:
            words.append(f"random labels{kind}")
        elif self.labels:
            words.append(f"{100 * self.labels:.4g}% corrupted labels{kind}")
        if self.pixels != "true":
            words.append(
                {"gaussian": "Gaussian pixels", "within-class": "pixels permuted within class"}.get(self.pixels, f"{self.pixels} pixels")
            )
        return ", ".join(words) or "original data"

    def corrupt(self, split: Split, seed: int, part: str) -> torch.Tensor:
        """Return the corrupted labels (n,) of a split, always made from its true labels. part: "train" or "test"."""
        import torch

        true = split.true_labels.numpy()
        if not self.labels:
            return split.true_labels
        words = seeds.words(seed, f"labels/{part}", split.ids.numpy())
        corrupted = seeds.uniform(words[:, 0]) < self.labels
        k = split.n_classes
        if self.label_mode == "redraw":
            new = (words[:, 1] % np.uint64(k)).astype(np.int64)
        elif self.label_mode == "flip":
            new = (true + 1 + (words[:, 1] % np.uint64(k - 1)).astype(np.int64)) % k
        else:
            if len(np.unique(split.ids.numpy())) < len(split):
                raise InputError("ids repeat, expected one an example: labels are permuted by what is drawn for each id")
            rows = np.flatnonzero(corrupted)
            new = true.copy()
            new[rows] = true[rows[np.argsort(words[rows, 2], kind="stable")]]
        return torch.from_numpy(np.where(corrupted, new, true))

    def pixel_transform(self, seed: int, part: str, moments: Moments) -> Callable[[np.ndarray, int], np.ndarray]:
        """Return a function (image (c, …), example id) → randomized image of the same shape. It can be sent to other processes.

        Raises InputError for "within-class", which is a function of the whole split.
        """
        if self.pixels == "within-class":
            raise InputError("pixels 'within-class' permutes among the examples of a split, expected one that works image by image")
        shape, size = moments.shape, int(np.prod(moments.shape))
        positions = size if self.permute_channels else size // shape[0]
        if self.pixels == "shuffled":
            shared = np.argsort(seeds.generator(seed, "pixels/shared").bit_generator.random_raw(positions))
            return partial(_shuffled, shared)
        if self.pixels == "random":
            return partial(_permuted, seed, part, positions)
        if self.pixels == "gaussian":
            return partial(_gaussian, seed, part, moments)
        return _unchanged

    def images(self, split: Split, seed: int, part: str, moments: Moments) -> torch.Tensor:
        """Return the randomized images of a split, by `pixel_transform` of each; of images on disk when they are read."""
        import torch

        from shattering.data.lazy import ImagesOnDisk

        if self.pixels == "true":
            return split.images
        if isinstance(split.images, ImagesOnDisk):
            if self.pixels == "within-class":
                raise InputError("pixels 'within-class' permutes among all images of a class, expected images in memory, not on disk")
            dtype = torch.float32 if self.pixels == "gaussian" else split.images.dtype
            return split.images.randomized(self.pixel_transform(seed, part, moments), split.ids, dtype)  # type: ignore[return-value]  # like a tensor
        if self.pixels == "within-class":
            return self._within_class(split, seed, part)
        transform = self.pixel_transform(seed, part, moments)
        source = split.images.numpy()
        flat = source.ndim == 2
        out = np.empty(source.shape, dtype=moments.dtype if self.pixels == "gaussian" else source.dtype)
        for row, example in enumerate(split.ids.tolist()):
            image = transform(source[row][None] if flat else source[row], example)
            out[row] = image[0] if flat else image
        return torch.from_numpy(out)

    def _within_class(self, split: Split, seed: int, part: str) -> torch.Tensor:
        """Return every column of the images permuted among the examples of each (true) class; a pixel's channels are one column."""
        import torch

        n, channels = len(split), 1 if self.permute_channels or split.images.ndim == 2 else split.image_shape[0]
        columns = split.images.numpy().reshape(n, channels, -1)
        out, true = np.empty_like(columns), split.true_labels.numpy()
        for k in range(split.n_classes):
            rows = np.flatnonzero(true == k)
            words = seeds.generator(seed, f"pixels/{part}", k).bit_generator
            for column in range(columns.shape[2]):
                out[rows, :, column] = columns[rows[np.argsort(words.random_raw(len(rows)))], :, column]
        return torch.from_numpy(out.reshape(split.images.shape))


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
    def of(cls, images: torch.Tensor) -> Moments:
        """Compute the moments of images (n, c, h, w) or (n, features) in float64, without a float copy of them all."""
        from shattering.data.lazy import ImagesOnDisk
        from shattering.data.moments import channel_moments, feature_moments

        if isinstance(images, ImagesOnDisk):
            mean, std = (np.array(values)[:, None, None] for values in images.moments())
            return cls(images.shape[1:], mean, std)
        if images.ndim == 2:
            mean, std = feature_moments(images)
            return cls((1, images.shape[1]), mean[None].numpy(), std[None].numpy(), gaussian_type(images))
        mean, std = channel_moments(images.split(4096))
        return cls(tuple(images.shape[1:]), mean[:, None, None].numpy(), std[:, None, None].numpy(), gaussian_type(images))

    def draw(self, generator: np.random.Generator) -> np.ndarray:
        """Draw one image of independent normal pixels with these moments."""
        return (self.mean + self.std * generator.standard_normal(self.shape)).astype(self.dtype)


def gaussian_type(images: torch.Tensor) -> str:
    """Return the type of Gaussian pixels or features in place of these: that of floats, else one that is as exact."""
    if images.dtype.is_floating_point:
        return str(images.dtype).removeprefix("torch.")
    return "float32" if images.ndim == 4 else "float64"


def randomize(dataset: Dataset, randomization: Randomization, seed: int = 0) -> Dataset:
    """Return a randomized copy: pixels of all splits, labels of the train and validation splits; test labels stay true.

    The validation split was held out of the train split, and has its noise. The moments for Gaussian pixels are those of
    the given train split.

    Args:
        dataset: the original data.
        randomization: what to randomize, and how much.
        seed: seed of the noise.

    Example:
        >>> from shattering import load_dataset
        >>> noisy = randomize(load_dataset("digits"), Randomization(labels=1.0), seed=1)
        >>> len(noisy.train) == len(load_dataset("digits").train)
        True
    """
    r, train, test = randomization, dataset.train, dataset.test
    moments = Moments.of(train.images) if r.pixels == "gaussian" else Moments(_shape(train), np.zeros(1), np.zeros(1))

    def randomized(split: Split) -> Split:
        return replace(split, images=r.images(split, seed, "train", moments), labels=r.corrupt(split, seed, "train"))

    return replace(
        dataset,
        train=randomized(train),
        validation=randomized(dataset.validation) if dataset.validation else None,
        test=replace(test, images=r.images(test, seed, "test", moments)),
    )


def _shape(split: Split) -> tuple[int, ...]:
    return split.image_shape if len(split.image_shape) == 3 else (1, *split.image_shape)
