"""Images → what a network sees: scaling, centre crop, whitening (ICLR 2017, appendix A).

Applied after randomization, so noise is drawn in raw pixel space.
"""

import torch

from shattering.data.on_disk import ImagesOnDisk
from shattering.errors import InputError


def to_float(images: torch.Tensor) -> torch.Tensor:
    """uint8 as float32 in 0…1; float32 unchanged. The type carries the scale, so 255 is divided out once.

    Raises InputError for images on disk.
    """
    if isinstance(images, ImagesOnDisk):
        images.numpy()
    return images.float().div_(255) if images.dtype == torch.uint8 else images


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
        std, mean = torch.std_mean(images.double(), dim=0, correction=0)
        self.mean, self.std = mean.float(), torch.where(std > 0, std, 1.0).float()

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        return (images - self.mean.to(images.device)) / self.std.to(images.device)
