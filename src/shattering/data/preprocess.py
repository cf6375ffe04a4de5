"""Turn images into the inputs of a network: scaling, centre crop, whitening (ICLR 2017, appendix A).

Applied after randomization, so noise is drawn in raw pixel space.
"""

import torch

from shattering.data import moments
from shattering.data.lazy import ImagesOnDisk
from shattering.errors import InputError

ROUNDING = 1e-3  # of a feature's standard deviation, the most that float32 may change of its numbers


def to_float(images: torch.Tensor) -> torch.Tensor:
    """Return images (n, c, h, w) of uint8 as float32 in 0…1, and images of floats and tables as they are.

    Raises InputError for images on disk.
    """
    if isinstance(images, ImagesOnDisk):
        images.numpy()
    return moments.to_float(images)


def check_float32(table: torch.Tensor, remedy: str) -> None:
    """Raise InputError where float32 rounds away a part of what is different in a feature of a table, or cannot hold its numbers.

    remedy: what to do instead.
    """
    if table.dtype in (torch.float32, torch.float16, torch.bool, torch.uint8, torch.int8, torch.int16):
        return  # float32 holds them
    bad = torch.cat([_is_lost(values) for values in moments.in_float64(table)])
    if bool(bad.any()):
        feature = int(bad.nonzero()[0])
        example, rounded = table[0, feature].item(), table[0, feature].float().item()
        found = f"feature {feature} of the table, in all {int(bad.sum())} of them, loses in float32 what is different in it"
        raise InputError(f"{found} ({example:.17g} becomes {rounded:.17g}); expected {remedy}")


def check_whole_numbers(table: torch.Tensor) -> None:
    """Raise InputError for whole numbers that float64 does not hold exactly."""
    if table.dtype in (torch.int64, torch.uint64):
        values = table.numpy()
        largest = max(int(values.max()), -int(values.min()))
        if largest > 2**53:
            raise InputError(f"the table has a whole number of {largest:,}, which float64 does not hold exactly, expected at most 2^53")


def _is_lost(values: torch.Tensor) -> torch.Tensor:
    """Return which features (k,) of a float64 table (n, k) differ by less than float32 can hold."""
    rounded, spread = values.float(), moments.column_moments(values)[1]
    lost = (rounded.double() - values).abs().amax(0)
    return ((lost > ROUNDING * spread) & (spread > 0)) | ~rounded.isfinite().all(0)


def center_crop(images: torch.Tensor, size: int | None) -> torch.Tensor:
    """Return the central size x size pixels of images (n, c, h, w); size None leaves images, and tables, whole.

    Raises InputError if the images are smaller.
    """
    if size is None:
        return images
    height, width = images.shape[2:]
    if not 1 <= size <= min(height, width):
        raise InputError(f"crop is {size}, expected 1…{min(height, width)} for images of {width}x{height} pixels")
    top, left = (height - size) // 2, (width - size) // 2
    return images[:, :, top : top + size, left : left + size]


def standardize_images(images: torch.Tensor) -> torch.Tensor:
    """Subtract each image's mean and divide by max(standard deviation, 1/sqrt(N)), with N values per image."""
    flat = images.flatten(1)
    std, mean = torch.std_mean(flat, dim=1, correction=0, keepdim=True)
    floor = flat.shape[1] ** -0.5
    return ((flat - mean) / std.clamp(min=floor)).view(images.shape)


class FeatureScaler:
    """Per feature: subtract the mean of the training set, divide by its standard deviation (1 where it is 0)."""

    def __init__(self, images: torch.Tensor):
        mean, std = moments.feature_moments(images.flatten(1))
        shape = images.shape[1:]
        self.mean, self.std = mean.view(shape), torch.where(std > 0, std, 1.0).view(shape)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Return standardized float32. Tables are standardized in float64: rounded first, large numbers would lose their differences."""
        if images.ndim == 2:
            return ((images.double() - self.mean) / self.std).float()
        return (images.float() - self.mean.float().to(images.device)) / self.std.float().to(images.device)
