"""Random convolutional features: one layer of random patches as filters, rectified and pooled.

After Coates and Ng (2012), with filters picked at random instead of learned, as for the ICLR 2017 paper's table 3.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor
from torch.nn.functional import softshrink

from shattering import seeds
from shattering.errors import InputError
from shattering.features.gabor import image_shape
from shattering.linalg.gram import slices
from shattering.parameters import Count, Natural, check_fields
from shattering.system.machine import require_memory

FILTERS = 256  # of a block: what is computed, and drawn, at once
_IMAGES = 2  # at once: so that what is between patches and pooling stays in a core's cache
_IMAGES_ON_A_GPU = 256  # so that it is busy
_BRIGHTEST = 4.0  # of a pixel; Gaussian noise with the moments of pixels in 0…1 stays below it
_FLAT = 0.01  # sum of squared deviations up to which a patch is of one colour; with two levels of 8 bits it is at least 0.97


@dataclass(frozen=True)
class Recipe:
    """Settings of the step from patches to features. Pixels are in 0…255.

    Args:
        variance_bias: added to a patch's variance before it is scaled to unit variance; None: it is scaled to unit norm instead.
        zca: added to the eigenvalues of the patches' covariance.
        unit_filters: True if filters have unit norm.
        threshold: threshold of relu(±response - threshold).
        pool: side of the pooling window, in responses.
        stride: distance between pooling windows, in responses.
        sums: True to pool by sums, False by averages.
        scaled: True if features are standardized over the training images.
    """

    variance_bias: float | None
    zca: float
    unit_filters: bool
    threshold: float
    pool: int
    stride: int
    sums: bool
    scaled: bool


RECIPES = {
    "a": Recipe(None, 1e-3, False, 1.0, 15, 6, False, False),
    "b": Recipe(10.0, 0.1, True, 0.25, 14, 13, True, True),
}


class RandomConvFeatures(TransformerMixin, BaseEstimator):
    """Random convolutional features of images given as rows, in blocks of filters.

    A filter is a whitened patch of a training image, drawn at random; it gives two features (of either sign) for each
    cell of the pooling grid. Block b of filters depends on the seed and b alone, so that more filters extend fewer.

    Args:
        n_filters: any number.
        recipe: "a" (unit-norm patches, average pool of 15 by stride 6: 18 features a filter on 32x32 images; its authors
            report 83 % on CIFAR-10 with 32,000 filters) or "b" (unit-variance patches, unit-norm filters, sum pool of 14
            by stride 13, standardized: 8 features a filter).
        patch: side of a patch, in pixels.
        n_patches: patches sampled for the whitening.
        image_shape: (c, h, w) of a row; None: square, with one channel or three.
        standardize: True or False: standardize the features over the training images, or do not; None: as the recipe does.
        random_state: a whole number of at least 0.

    Example:
        >>> X = np.random.default_rng(0).random((20, 256), dtype=np.float32)
        >>> features = RandomConvFeatures(n_filters=8, n_patches=500)
        >>> features.fit_transform(X).shape
        (20, 16)
    """

    def __init__(
        self,
        n_filters: Count = 256,
        *,
        recipe: Literal["a", "b"] = "a",
        patch: Count = 6,
        n_patches: Count = 100_000,
        image_shape: tuple[Count, Count, Count] | None = None,
        standardize: bool | None = None,
        random_state: Natural = 0,
    ):
        self.n_filters = n_filters
        self.recipe = recipe
        self.patch = patch
        self.n_patches = n_patches
        self.image_shape = image_shape
        self.standardize = standardize
        self.random_state = random_state

    def check_params(self) -> None:
        """Raise InputError for the first parameter out of range, without fitting."""
        check_fields(self)

    def fit(self, X, y=None):
        """Learn the whitening from patches of X (n, c h w), in 0…1. Raises InputError for bad parameters, rows that are no images, and
        pixels of another scale."""
        self.prepared(X)
        if self.recipe_.scaled:
            for number in range(len(self.blocks())):
                self.scaled_block(number, self.training_images_.flatten(1))
        return self

    def fit_transform(self, X, y=None, **fit_params) -> np.ndarray:
        """Fit, and return the features (n, features) float32 of the same images, each computed once."""
        self.prepared(X)
        train = self.training_images_.flatten(1)
        return self._joined(len(train), lambda number: self.scaled_block(number, train))

    def prepared(self, X) -> "RandomConvFeatures":
        """Fit all but the means and deviations of features, which `scaled_block` finds: for callers that compute every block anyway."""
        self.check_params()
        X = np.asarray(validate_data(self, X, dtype=np.float32))
        n, d = X.shape
        needed = 4 * n * d + self.memory(d) + self.whitening_memory(d)
        require_memory(needed, f"the whitening of {self.n_patches:,} patches", "use fewer patches (n_patches), filters or images")
        X = checked_pixels(X)
        recipe = RECIPES[self.recipe]
        self.recipe_ = recipe if self.standardize is None else replace(recipe, scaled=self.standardize)
        self.image_shape_, self.pool_, self.grid_ = self._geometry(X.shape[1])
        self.training_images_ = torch.from_numpy(X).view(-1, *self.image_shape_)
        patches = self._draw_patches("patches", 0, self.n_patches)
        normal = _normalized(patches.double(), self.recipe_)
        self._mean = normal.mean(0)
        values, vectors = torch.linalg.eigh((normal - self._mean).T @ (normal - self._mean) / len(normal))
        self._whiten = vectors @ torch.diag((values + self.recipe_.zca).rsqrt()) @ vectors.T
        self._filters = [self._make_filters(number) for number in range(len(self.blocks()))]
        self._scales: dict[int, tuple[Tensor, Tensor]] = {}
        return self

    def memory(self, d: int) -> int:
        """Return the bytes that the fitted filters take, for rows of d values. Raises InputError where they are no images."""
        (channels, _, _), _, _ = self._geometry(d)
        return 4 * self.n_filters * (channels * self.patch**2 + 1)

    def whitening_memory(self, d: int) -> int:
        """Return the bytes that the patches take, from which `fit` learns."""
        (channels, _, _), _, _ = self._geometry(d)
        return 8 * 5 * max(self.n_patches, FILTERS) * channels * self.patch**2

    def count(self, d: int) -> tuple[int, int]:
        """Return how many features rows of d values have, and at most in a block. Raises InputError where they are no images."""
        _, _, (rows, cols) = self._geometry(d)
        return 2 * rows * cols * self.n_filters, 2 * rows * cols * min(FILTERS, self.n_filters)

    def operations(self, d: int) -> int:
        """Return the cost of the features of a row in operations of a large matrix product: about twice those of their own products."""
        (channels, height, width), _, _ = self._geometry(d)
        places = (height - self.patch + 1) * (width - self.patch + 1)
        return 2 * 2 * places * channels * self.patch**2 * self.n_filters

    @property
    def features_per_filter_(self) -> int:
        return 2 * self.grid_[0] * self.grid_[1]

    @property
    def block_width_(self) -> int:
        """The most features of a block."""
        return self.features_per_filter_ * min(FILTERS, self.n_filters)

    def blocks(self) -> list[slice]:
        """Return the filters, by blocks."""
        return slices(self.n_filters, FILTERS)

    def block(self, number: int, images: Tensor) -> Tensor:
        """Return the features of a block of filters before standardization, (n, features) float32. images: (n, c h w) in 0…1."""
        filters = [tensor.to(images.device) for tensor in self._filters[number]]
        pooling = self._pooling().to(images.device)
        images = images.view(-1, *self.image_shape_)
        out = torch.empty((len(images), self.features_per_filter_ * len(filters[1])), device=images.device)

        def fill(rows: slice) -> None:
            out[rows] = self._responses(filters, pooling, images[rows] * 255)

        at_once, threads = (_IMAGES, torch.get_num_threads()) if images.device.type == "cpu" else (_IMAGES_ON_A_GPU, 1)
        _in_threads(fill, slices(len(images), at_once), threads)
        return out

    def scaled_block(self, number: int, train: Tensor) -> Tensor:
        """Return a block of the training images, standardized where the recipe says so; means and deviations are kept for other images."""
        features = self.block(number, train)
        if self.recipe_.scaled:
            mean, deviation = torch.empty((2, features.shape[1]), dtype=torch.float64, device=features.device)
            for columns in slices(features.shape[1], 256):
                deviation[columns], mean[columns] = torch.std_mean(features[:, columns].double(), dim=0, correction=0)
            self._scales[number] = mean.float().cpu(), torch.where(deviation > 0, deviation, 1.0).float().cpu()
        return self._scaled(number, features)

    def new_block(self, number: int, images: Tensor) -> Tensor:
        """Return a block of images other than the training images, standardized as those were."""
        return self._scaled(number, self.block(number, images))

    def transform(self, X) -> np.ndarray:
        """Return the features (n, features) float32, all at once: for few filters or few images."""
        check_is_fitted(self)
        X = torch.from_numpy(checked_pixels(validate_data(self, X, dtype=np.float32, reset=False)))
        return self._joined(len(X), lambda number: self.new_block(number, X))

    def _scaled(self, number: int, features: Tensor) -> Tensor:
        if not self.recipe_.scaled:
            return features
        mean, deviation = (tensor.to(features.device) for tensor in self._scales[number])
        return features.sub_(mean).div_(deviation)

    def _joined(self, n: int, block: Callable[[int], Tensor]) -> np.ndarray:
        """Return the blocks side by side."""
        count = self.features_per_filter_ * self.n_filters
        needed = 4 * n * (count + 2 * self.block_width_)
        require_memory(needed, f"the array of {count:,} features of {n:,} images", "use fewer filters, or fewer images at once")
        out, start = np.empty((n, count), dtype=np.float32), 0
        for number in range(len(self.blocks())):
            part = block(number).numpy()
            out[:, start : start + part.shape[1]] = part
            start += part.shape[1]
        return out

    def _make_filters(self, number: int) -> tuple[Tensor, Tensor]:
        """Return kernels on normalized patches (c p p, f), and what to subtract from the responses (f,)."""
        size = len(range(*self.blocks()[number].indices(self.n_filters)))
        patches = _normalized(self._draw_patches("filters", number, FILTERS)[:size].double(), self.recipe_)
        white = (patches - self._mean) @ self._whiten
        if self.recipe_.unit_filters:
            white = white / white.norm(dim=1, keepdim=True).clamp(min=1e-12)
        kernels = white @ self._whiten
        return kernels.T.float().contiguous(), (kernels @ self._mean).float()

    def _responses(self, filters: list[Tensor], pooling: Tensor, images: Tensor) -> Tensor:
        kernels, offsets = filters
        patches = images.unfold(2, self.patch, 1).unfold(3, self.patch, 1).permute(0, 2, 3, 1, 4, 5)
        normal = _normalized(patches.reshape(-1, len(kernels)), self.recipe_)
        responses = softshrink(torch.addmm(-offsets, normal, kernels), self.recipe_.threshold).view(len(images), -1, len(offsets))
        pooled = [pooling @ part for part in (responses.clamp(min=0), responses.clamp_(max=0).neg_())]
        return torch.cat([part.transpose(1, 2).flatten(1) for part in pooled], 1)

    def _pooling(self) -> Tensor:
        """Return weights (cells of the grid, places of a patch): their product with the responses gives the pooled features."""
        r, sides = self.recipe_, []
        for cells, pool, side in zip(self.grid_, self.pool_, self.image_shape_[1:], strict=True):
            starts = r.stride * torch.arange(cells)[:, None]
            places = torch.arange(side - self.patch + 1)
            sides.append(((places >= starts) & (places < starts + pool)).float() / (1 if r.sums else pool))
        return torch.kron(*sides)

    def _geometry(self, d: int) -> tuple[tuple[int, int, int], tuple[int, int], tuple[int, int]]:
        """Return the (c, h, w) of rows, the pooling window (the recipe's, or the whole of smaller images), and the grid of cells."""
        shape, recipe = image_shape(d, self.image_shape), RECIPES[self.recipe]
        _, height, width = shape
        if not 1 <= self.patch <= min(height, width):
            raise InputError(f"patch is {self.patch}, expected 1…{min(height, width)} for images of {width}x{height} pixels")
        places = height - self.patch + 1, width - self.patch + 1
        pool = min(recipe.pool, places[0]), min(recipe.pool, places[1])
        return shape, pool, ((places[0] - pool[0]) // recipe.stride + 1, (places[1] - pool[1]) // recipe.stride + 1)

    def _draw_patches(self, purpose: str, index: int, n: int) -> Tensor:
        """Draw patches (n, c p p) of the training images, pixels in 0…255."""
        generator = seeds.generator(self.random_state, f"random-conv/{purpose}", index)
        _, height, width = self.image_shape_
        which = generator.integers(len(self.training_images_), size=n)
        top, left = (generator.integers(side - self.patch + 1, size=n) for side in (height, width))
        rows = torch.from_numpy(top)[:, None, None, None] + torch.arange(self.patch)[:, None]
        cols = torch.from_numpy(left)[:, None, None, None] + torch.arange(self.patch)
        channels = torch.arange(self.image_shape_[0])[:, None, None]
        return self.training_images_[torch.from_numpy(which)[:, None, None, None], channels, rows, cols].flatten(1) * 255


def checked_pixels(X: Any) -> np.ndarray:
    """Return a copy of images as rows. Raises InputError for pixels that cannot be in 0…1, nor Gaussian noise in place of such pixels."""
    X = np.array(X)
    brightest = float(X.max())
    if brightest > _BRIGHTEST:
        raise InputError(f"X has a pixel of {brightest:g}, expected pixels in 0…1: divide X by the most that a pixel can be, such as 255")
    return X


def _in_threads(work: Callable[[slice], None], parts: Sequence[slice], threads: int) -> None:
    """Call work with every part, each in one of `threads` threads: threads within operations this small would wait for each other."""
    if threads == 1:
        for part in parts:
            work(part)
        return
    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            for _ in pool.map(work, parts):
                pass
    finally:
        torch.set_num_threads(before)  # new threads take the number that was set last, in whichever thread


def _normalized(patches: Tensor, recipe: Recipe) -> Tensor:
    """Return patches (n, d) without their means, divided by their scales; zero where they are of one colour."""
    centered = patches - patches.mean(1, keepdim=True)
    squares = centered.square().sum(1, keepdim=True)
    if recipe.variance_bias is None:
        scales = torch.where(squares > _FLAT, squares.sqrt(), torch.inf)
    else:
        scales = (squares / patches.shape[1] + recipe.variance_bias).sqrt()
    return centered.div_(scales)
