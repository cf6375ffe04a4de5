"""Images → what a network sees: scaling, centre crop, whitening (ICLR 2017, appendix A).

Applied after randomization, so noise is drawn in raw pixel space.
"""

import torch

from shattering.data.on_disk import ImagesOnDisk
from shattering.errors import InputError

ROUNDING = 1e-3  # of a feature's standard deviation, the most that float32 may change of its numbers


def to_float(images: torch.Tensor) -> torch.Tensor:
    """Images (n, c, h, w) of uint8 as float32 in 0…1; images of floats and tables as they are.

    The type carries the scale, so 255 is divided out once. Raises InputError for images on disk.
    """
    if isinstance(images, ImagesOnDisk):
        images.numpy()
    return images.float().div_(255) if images.dtype == torch.uint8 and images.ndim != 2 else images


def table_moments(table: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of each feature of a table (n, features) in float64, also of numbers whose squares it cannot hold."""
    values = table.double()
    low, high = values.amin(0), values.amax(0)
    exponent = torch.maximum(low.abs(), high.abs()).frexp().exponent.clamp(-1000, 1000)
    scale = torch.exp2(exponent.double())  # a power of two, so that scaling is exact
    std, mean = torch.std_mean(values / scale, dim=0, correction=0)
    varies = high > low
    return torch.where(varies, mean * scale, low), torch.where(varies, std * scale, 0.0)


def check_float32(table: torch.Tensor, remedy: str) -> None:
    """Raise InputError where float32 rounds away a part of what is different in a feature of a table, or cannot hold its numbers.

    remedy: what to do instead.
    """
    if table.dtype in (torch.float32, torch.float16, torch.bool, torch.uint8, torch.int8, torch.int16):
        return  # float32 holds them
    values = table.double()
    lost, spread = (values.float().double() - values).abs().amax(0), table_moments(table)[1]
    bad = ((lost > ROUNDING * spread) & (spread > 0)) | ~values.float().isfinite().all(0)
    if bool(bad.any()):
        feature = int(bad.nonzero()[0])
        example, rounded = values[0, feature].item(), values[0, feature].float().item()
        found = f"feature {feature} of the table, in all {int(bad.sum())} of them, loses in float32 what is different in it"
        raise InputError(f"{found} ({example:.17g} becomes {rounded:.17g}); expected {remedy}")


def center_crop(images: torch.Tensor, size: int | None) -> torch.Tensor:
    """The central size x size pixels of (n, c, h, w) images; None leaves them whole.

    Raises InputError if the images are smaller.
    """
    if size is None or images.ndim == 2:
        return images
    height, width = images.shape[2:]
    if not 1 <= size <= min(height, width):
        raise InputError(f"crop is {size}, expected 1…{min(height, width)} for images of {width}x{height} pixels")
    top, left = (height - size) // 2, (width - size) // 2
    return images[:, :, top : top + size, left : left + size]


def standardize_images(images: torch.Tensor) -> torch.Tensor:
    """Per image: subtract the mean, divide by max(standard deviation, 1/sqrt(N)) with N values an image."""
    flat = images.flatten(1)
    std, mean = torch.std_mean(flat, dim=1, correction=0, keepdim=True)
    floor = flat.shape[1] ** -0.5
    return ((flat - mean) / std.clamp(min=floor)).view(images.shape)


class FeatureScaler:
    """Per feature: subtract the mean of the training set, divide by its standard deviation (1 where it is 0)."""

    def __init__(self, images: torch.Tensor):
        mean, std = table_moments(images.flatten(1))
        shape = images.shape[1:]
        self.mean, self.std = mean.view(shape), torch.where(std > 0, std, 1.0).view(shape)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Float32. Tables are standardized in float64 first: rounded before, large numbers would lose what is different in them."""
        if images.ndim == 2:
            return ((images.double() - self.mean) / self.std).float()
        return (images.float() - self.mean.float().to(images.device)) / self.std.float().to(images.device)
