"""A Gaussian kernel on random convolutional features, by their Gram matrix (ICLR 2017, equation 3 and table 3)."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from shattering import seeds
from shattering.features.conv_gram import accumulate_products, products_key
from shattering.learners.devices import Device
from shattering.learners.random_conv import OnRandomConv
from shattering.linalg.gram import GaussianOfGram, gaussian_of_products, median_distance, slices
from shattering.linalg.plan import SolverPlan
from shattering.linalg.stored import stored_bytes
from shattering.parameters import Count, Natural, NotNegative, Positive

_AT_ONCE = 512  # new images whose kernel with the training images is held in float64


class RandomConvKernelClassifier(OnRandomConv):
    """Minimum-norm interpolation with a Gaussian kernel on standardized random convolutional features, one-hot targets (0 and 1).

    The kernel is exp(-gamma ‖z(x) - z(x')‖²) of the features z, each standardized over the training images. This is the kernel equation
    of the ICLR 2017 paper (equation 3) after the pre-processing "random conv-net" of its table 3. The distances follow from the Gram
    matrix of the features, which is accumulated over blocks of filters as for `RandomConvClassifier`.

    Args:
        n_filters: any number; see `RandomConvFeatures` for it and the next three.
        recipe: "a" or "b".
        patch: side of a patch, in pixels.
        image_shape: (c, h, w) of a row; None: square, with one channel or three.
        bandwidth: gamma in units of 1 / the median of ‖z(x) - z(x')‖² over training images.
        ridge: added to the diagonal of the kernel's Gram matrix, whose diagonal is 1.
        cache: where to keep the Gram matrix and the products with new images, so that a killed fit or prediction goes on where it was,
            and another bandwidth or ridge uses them again: a folder, "auto" (the cache of the library), or None (nowhere).
        random_state: a whole number of at least 0.
        precision: "float32" or "float64", of the Gram matrix and its factor.
        solver, tol, max_steps, memory_limit, device, verbose: as in `KernelInterpolator`.

    Attributes:
        gamma_: of the kernel, in 1 / squared units of the features.
        features_: the fitted `RandomConvFeatures`.
        classes_, dual_coef_, norm_, norms_, residual_, condition_, interpolated_, plan_, …: as in `KernelInterpolator`.

    Raises:
        InputError: (fit) for bad parameters, rows that are no images in 0…1, and where memory would not do.

    Warns:
        ConvergenceWarning: if tol is not reached.

    Example:
        >>> from shattering import load_dataset
        >>> train = load_dataset("digits", n_train=50).train
        >>> model = RandomConvKernelClassifier(64, patch=3).fit(train.X, train.y)
        >>> model.interpolated_
        True
    """

    standardize = True

    def __init__(
        self,
        n_filters: Count = 256,
        *,
        recipe: Literal["a", "b"] = "a",
        patch: Count = 6,
        image_shape: tuple[Count, Count, Count] | None = None,
        bandwidth: Positive = 0.3,
        ridge: NotNegative = 0.0,
        solver: Literal["auto", "cholesky", "cg"] = "auto",
        precision: Literal["float32", "float64"] = "float32",
        tol: NotNegative = 1e-6,
        max_steps: Count = 1000,
        memory_limit: Positive | None = None,
        device: Device = "auto",
        cache: str | Path | None = None,
        random_state: Natural = 0,
        verbose: bool | int = False,
    ):
        self.n_filters = n_filters
        self.recipe = recipe
        self.patch = patch
        self.image_shape = image_shape
        self.bandwidth = bandwidth
        self.ridge = ridge
        self.solver = solver
        self.precision = precision
        self.tol = tol
        self.max_steps = max_steps
        self.memory_limit = memory_limit
        self.device = device
        self.cache = cache
        self.random_state = random_state
        self.verbose = verbose

    def plan(self, n: int, d: int, n_targets: int = 10) -> SolverPlan:
        """Plan as `KernelInterpolator.plan` does, with the memory and time of the features and of their Gram matrix in it."""
        kept, before = self._bytes_before_solving(n, d)
        plan = self._make_plan(n, 1, n_targets, kept + stored_bytes(n, getattr(torch, self.precision)))
        return replace(plan, memory=max(plan.memory, before), seconds=plan.seconds + self._seconds(n, d, passes=1))

    def fit(self, X, y):
        """Fit to images X (n, c h w), in 0…1, and class labels y (n,)."""
        X, plan, gram, targets = self._begin(X, y)
        median = median_distance(gram, seeds.generator(self.random_state, "random-conv/bandwidth", 0))
        self.gamma_ = self.bandwidth / (median or 1.0)
        kernel = GaussianOfGram(gram, self.gamma_)
        self._squares = kernel.squares
        self._solve(plan, kernel, targets, X)
        self.train_predictions_ = self.classes_[self._fitted.argmax(1)]
        return self

    def _values(self, X) -> np.ndarray:
        images = self._images(X)
        path = self._cached(f"{products_key(self.features_, images)}.products")
        with self._saying("prediction") as say:
            products = accumulate_products(self.features_, images, path, device=self._device(), say=say, memory_limit=self.memory_limit)
        coefficients, values = torch.from_numpy(self.dual_coef_).to(self._device()), []
        for rows in slices(len(images), _AT_ONCE):
            kernel = gaussian_of_products(products.values[rows].double(), products.squares[rows], self._squares, self.gamma_)
            values.append(kernel @ coefficients)
        return torch.cat(values).cpu().numpy()
