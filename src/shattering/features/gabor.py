"""Gabor wavelets: the energies of oriented waves at several scales, as in a first layer of simple and complex cells."""

import math
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor
from torch.nn.functional import conv2d

from shattering.errors import InputError
from shattering.linalg.gram import slices
from shattering.parameters import Count, Positive, Range, check, check_fields

_NARROWEST = 0.25  # pixels: with an envelope that is narrower, a wave is one pixel and the rounding of its neighbours
_Wavelength = Annotated[float, "a wavelength in pixels", Range(2)]


class GaborFeatures(TransformerMixin, BaseEstimator):
    """Local averages of the energies (absolute values) of Gabor wavelets, and of the image, for images given as rows.

    The papers give no bank ("a Gabor wavelet transform"); this one's defaults were chosen on a hold-out of MNIST.

    Args:
        wavelengths: of the waves, in pixels, each at least 2: shorter ones cannot be told from longer ones.
        orientations: of the waves, evenly over half a turn.
        bandwidth: standard deviation of the Gaussian envelope, in wavelengths.
        pool: standard deviation of the averaging window, in pixels; its stride is the next whole number.
        image_shape: (c, h, w) of a row; None: square, with one channel or three.

    A row of the transform has c (1 + number of wavelengths x orientations) averages for each cell of a grid, scaled to unit norm.

    Example:
        >>> GaborFeatures().fit_transform(np.random.default_rng(0).random((5, 64))).shape
        (5, 144)
    """

    def __init__(
        self,
        wavelengths: Annotated[Sequence[float] | np.ndarray, "a list of wavelengths in pixels"] = (5.0,),
        orientations: Count = 8,
        bandwidth: Positive = 0.5,
        pool: Positive = 2.0,
        image_shape: Any = None,  # checked where the number of features is known
    ):
        self.wavelengths = wavelengths
        self.orientations = orientations
        self.bandwidth = bandwidth
        self.pool = pool
        self.image_shape = image_shape

    def fit(self, X, y=None):
        """Make the bank for the images' shape. Raises InputError for bad parameters, and where rows are no images."""
        self.check_params()
        X = np.asarray(validate_data(self, X, dtype=np.float32))
        self.image_shape_ = image_shape(X.shape[1], self.image_shape)
        self.bank_ = [_wavelets(length, self.orientations, self.bandwidth * length) for length in self.wavelengths]
        return self

    def check_params(self) -> None:
        """Raise InputError for the first parameter out of range, without fitting."""
        check_fields(self)
        for length in self.wavelengths:
            check("wavelengths", length, _Wavelength)
            if self.bandwidth * length < _NARROWEST:
                raise InputError(
                    f"bandwidth is {self.bandwidth:g}, expected at least {_NARROWEST / length:g} at a wavelength of {length:g}: "
                    f"the envelope of a wave has a standard deviation of at least {_NARROWEST:g} pixels"
                )

    def transform(self, X) -> np.ndarray:
        """Return the features, (n, features) float32."""
        check_is_fitted(self)
        X = np.asarray(validate_data(self, X, dtype=np.float32, reset=False))
        parts = [self._energies(torch.from_numpy(np.array(X[rows])).view(-1, *self.image_shape_)) for rows in slices(len(X), 512)]
        return torch.cat(parts).numpy()

    def _energies(self, images: Tensor) -> Tensor:
        n, c, h, w = images.shape
        planes = images.reshape(n * c, 1, h, w)
        maps = [planes]
        for bank in self.bank_:
            waves = conv2d(planes, bank, padding=bank.shape[-1] // 2)
            real, imaginary = waves.chunk(2, 1)
            maps.append(torch.hypot(real, imaginary))
        pooled = _smooth(torch.cat(maps, 1), self.pool).reshape(n, -1)
        return pooled / pooled.norm(dim=1, keepdim=True).clamp(min=1e-12)


def image_shape(d: int, shape: tuple[int, int, int] | None) -> tuple[int, int, int]:
    """Return the (c, h, w) of rows of d values. Raises InputError where they are no image."""
    if shape is not None:
        if not isinstance(shape, (tuple, list)) or len(shape) != 3 or not all(map(_is_count, shape)) or math.prod(shape) != d:
            raise InputError(f"image_shape is {shape!r}, expected three numbers whose product is {d}, the features of a row")
        return shape[0], shape[1], shape[2]
    for channels in (1, 3):
        side = math.isqrt(d // channels)
        if channels * side * side == d:
            return channels, side, side
    raise InputError(f"rows have {d} features, expected square images with one channel or three, or an image_shape")


def _is_count(value: object) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and bool(value >= 1)


def _wavelets(length: float, orientations: int, sigma: float) -> Tensor:
    """Return filters (2 orientations, 1, s, s): real parts, then imaginary ones, of waves under a round Gaussian; no mean, unit energy."""
    radius = math.ceil(2.5 * sigma)
    y, x = torch.meshgrid(*2 * [torch.arange(-radius, radius + 1.0)], indexing="ij")
    window = torch.exp(-(x**2 + y**2) / (2 * sigma**2))
    angles = torch.arange(orientations) * math.pi / orientations
    phase = 2 * math.pi / length * (x * angles.cos()[:, None, None] + y * angles.sin()[:, None, None])
    wave = torch.polar(window.expand_as(phase), phase)
    wave = wave - window * wave.sum((1, 2), keepdim=True) / window.sum()
    wave = wave / wave.abs().square().sum((1, 2), keepdim=True).sqrt()
    return torch.cat([wave.real, wave.imag])[:, None]


def _smooth(maps: Tensor, sigma: float) -> Tensor:
    """Return Gaussian averages on a grid."""
    stride, radius = max(1, math.ceil(sigma)), math.ceil(2 * sigma)
    t = torch.arange(-radius, radius + 1.0)
    window = torch.exp(-(t**2) / (2 * sigma**2))
    window = (window / window.sum()).expand(maps.shape[1], 1, -1)
    maps = conv2d(maps, window[..., None], padding=(radius, 0), stride=(stride, 1), groups=maps.shape[1])
    return conv2d(maps, window[..., None, :], padding=(0, radius), stride=(1, stride), groups=maps.shape[1])
