"""The linear model on random convolutional features, by its Gram matrix (ICLR 2017, section 5 and table 3)."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from shattering.features.conv_gram import accumulate_gram, gram_bytes, gram_key, gram_parts
from shattering.features.random_conv import RandomConvFeatures, checked_pixels
from shattering.learners.classes import class_codes
from shattering.learners.devices import Device
from shattering.learners.minimum_norm import MinimumNorm, OneHotClassifier
from shattering.linalg.gram import slices
from shattering.linalg.plan import SolverPlan, rate
from shattering.linalg.stored import StoredGram, stored_bytes
from shattering.parameters import Count, Natural, NotNegative, Positive
from shattering.system.cache import cache_folder
from shattering.system.machine import available_memory, require_memory

_AT_ONCE = (4096, 512, 64)  # images whose features are computed for a prediction: the first that fits into memory


class OnRandomConv(OneHotClassifier, MinimumNorm):
    """Base of the classifiers on random convolutional features of images. They have the parameters of `RandomConvClassifier`."""

    not_identity = (*MinimumNorm.not_identity, "cache", "random_state")
    standardize: bool | None = None  # features; None: as the recipe does
    features_: RandomConvFeatures

    def check_params(self) -> None:
        """Raise InputError for the first parameter out of range, without fitting."""
        self._check_solver()
        self._features().check_params()

    def _features(self) -> RandomConvFeatures:
        params, names = self.get_params(), ("n_filters", "recipe", "patch", "image_shape", "random_state")
        return RandomConvFeatures(**{name: params[name] for name in names}, standardize=self.standardize)

    def plan(self, n: int, d: int, n_targets: int = 10) -> SolverPlan:
        """Plan the fit to n images of d values, see `KernelInterpolator.plan`."""
        raise NotImplementedError

    def _begin(self, X, y) -> tuple[np.ndarray, SolverPlan, StoredGram, Tensor]:
        """Check the training images and compute their Gram matrix. Returns (images, plan, Gram matrix, one-hot targets)."""
        self.check_params()
        X, y = map(np.asarray, validate_data(self, X, y, dtype=np.float32))
        self.classes_, labels = class_codes(y)
        plan = self.plan(len(X), X.shape[1], len(self.classes_))  # refused before anything is allocated
        self.features_ = self._features().prepared(X)
        return X, plan, self._gram(), torch.from_numpy(np.eye(len(self.classes_))[labels]).to(self._device())

    def _images(self, X) -> Tensor:
        """Return new images (m, c h w) float32, checked."""
        check_is_fitted(self)
        return torch.from_numpy(checked_pixels(validate_data(self, X, dtype=np.float32, reset=False)))

    def _bytes_before_solving(self, n: int, d: int) -> tuple[int, int]:
        """Return the bytes kept beside the Gram matrix, and those taken until it is there. Raises InputError where memory would not do."""
        params, dtype, features = self.get_params(), getattr(torch, self.get_params()["precision"]), self._features()
        kept = features.memory(d) + 4 * n * d
        before = kept + max(features.whitening_memory(d), gram_bytes(n, features.count(d)[1], dtype))
        advice = "use fewer images, or a smaller patch"
        require_memory(before, f"the Gram matrix of {n:,} images", advice, self._device(), params["memory_limit"])
        return kept, before

    def _seconds(self, n: int, d: int, passes: int) -> float:
        """Estimate the time of the Gram matrix, and of so many passes over the features."""
        features, dtype = self._features(), getattr(torch, self.get_params()["precision"])
        count, _ = features.count(d)
        a_pass = n * features.operations(d) / rate(torch.float32, self._device())
        return n * n * count / rate(dtype, self._device()) + passes * a_pass

    def _gram(self) -> StoredGram:
        params = self.get_params()
        dtype = getattr(torch, params["precision"])
        path = self._cached(f"{gram_key(self.features_, dtype)}.gram")
        with self._saying("fit") as say:
            return accumulate_gram(self.features_, path, dtype=dtype, device=self._device(), say=say, memory_limit=params["memory_limit"])

    def _cached(self, name: str) -> Path | None:
        """Return the path of a file of the cache that may be extended by these features; None where there is no cache or it has more."""
        cache = self.get_params()["cache"]
        if cache is None:
            return None
        folder = cache_folder() / "grams" if cache == "auto" else Path(cache)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / name
        has_more = path.exists() and set(StoredGram.parts_in(path)) - set(gram_parts(self.features_))
        return None if has_more else path


class RandomConvClassifier(OnRandomConv):
    """Minimum-norm linear classifier on random convolutional features of images, one-hot targets (0 and 1).

    The kernel is <z(x), z(x')>, scaled so that the training images have 1 on average; plus 1 (a constant feature) where the
    recipe standardizes the features, which else could not fit a constant. Any number of filters fits: the
    Gram matrix is accumulated over blocks of them, and features are computed again for the weights and for predictions.

    Args:
        n_filters: any number; see `RandomConvFeatures` for it and the next three.
        recipe: "a" or "b".
        patch: side of a patch, in pixels.
        image_shape: (c, h, w) of a row; None: square, with one channel or three.
        ridge: added to the diagonal of the Gram matrix of this kernel.
        cache: where to keep the Gram matrix, so that a killed fit goes on where it was, and one with more filters, or
            another ridge, from there: a folder, "auto" (the cache of the library), or None (nowhere).
        random_state: a whole number of at least 0.
        precision: "float32" or "float64", of the Gram matrix and its factor. In float32, directions in which the images'
            features vary by less than about 1e-3 of their size are lost in rounding.
        solver, tol, max_steps, memory_limit, device, verbose: as in `KernelInterpolator`.

    Attributes:
        coef_: (features, k) weights.
        intercept_: (k,).
        features_: the fitted `RandomConvFeatures`.
        classes_, dual_coef_, norm_, norms_, residual_, condition_, interpolated_, plan_, …: as in `KernelInterpolator`.

    Raises:
        InputError: (fit) for bad parameters, rows that are no images in 0…1, and where memory would not do.

    Warns:
        ConvergenceWarning: if tol is not reached, as with fewer features than images.

    Example:
        >>> from shattering import load_dataset
        >>> train = load_dataset("digits", n_train=50).train
        >>> model = RandomConvClassifier(64, patch=3).fit(train.X, train.y)
        >>> len(model.classes_)
        10
    """

    def __init__(
        self,
        n_filters: Count = 256,
        *,
        recipe: Literal["a", "b"] = "a",
        patch: Count = 6,
        image_shape: tuple[Count, Count, Count] | None = None,
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
        """Plan as `KernelInterpolator.plan` does, with the memory and time of the Gram matrix and of the features (computed anew) in it."""
        kept, before = self._bytes_before_solving(n, d)
        count, _ = self._features().count(d)
        plan = self._make_plan(n, 1, n_targets, kept + stored_bytes(n, getattr(torch, self.precision)) + 2 * 8 * count * n_targets)
        return replace(plan, memory=max(plan.memory, before), seconds=plan.seconds + self._seconds(n, d, passes=2))

    def fit(self, X, y):
        """Fit to images X (n, c h w), in 0…1, and class labels y (n,)."""
        X, plan, gram, targets = self._begin(X, y)
        self.scale_ = gram.scale = len(X) / (float(gram.diagonal().sum()) or 1.0)
        gram.constant = float(self.features_.recipe_.scaled)
        coefficients = self._solve(plan, gram, targets, X)
        self.train_predictions_ = self.classes_[self._fitted.argmax(1)]
        self.intercept_ = gram.constant * coefficients.sum(0).cpu().numpy()
        self._weigh(coefficients)
        return self

    def _weigh(self, coefficients: Tensor) -> None:
        """Compute the weights of the features, and their standardization, from the coefficients of the training images."""
        images, coefficients = self.features_.training_images_.flatten(1).to(self._device()), coefficients * self.scale_
        self._weights = []
        for number in range(len(self.features_.blocks())):
            features = self.features_.scaled_block(number, images)
            parts = [features[rows].double().T @ coefficients[rows] for rows in slices(len(images), 4096)]
            self._weights.append(torch.stack(parts).sum(0))
        self.coef_ = torch.cat(self._weights).cpu().numpy()

    def _values(self, X) -> np.ndarray:
        images = self._images(X)
        at_once = self._at_once(*images.shape)
        out = torch.zeros((len(images), len(self.classes_)), dtype=torch.float64)
        for number, weights in enumerate(self._weights):
            for rows in slices(len(images), at_once):
                features = self.features_.new_block(number, images[rows].to(self._device()))
                out[rows] += (features.double() @ weights).cpu()
        return out.numpy() + self.intercept_

    def _at_once(self, m: int, d: int) -> int:
        """Return how many images to take at once. Raises InputError where memory does not do for any number."""
        a_row, device = 4 * d + 16 * self.features_.block_width_, self._device()
        whole = 4 * m * d + 3 * 8 * m * len(self.classes_)
        needed = {rows: whole + min(rows, m) * a_row for rows in _AT_ONCE}
        fitting = [rows for rows in _AT_ONCE if needed[rows] <= available_memory(device, self.memory_limit)]
        if not fitting:
            require_memory(needed[_AT_ONCE[-1]], f"the prediction of {m:,} images", "predict fewer at once", device, self.memory_limit)
        return fitting[0] if fitting else _AT_ONCE[-1]
