"""Augmentation: a new random version of every image in every epoch, computed a batch at a time on the images' device.

The random numbers of an image are a function of (seed, epoch, position), so they depend neither on the batch order nor
on the device, and switching one augmentation on shifts no other.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from shattering import seeds
from shattering.errors import InputError, unknown

AUGMENTATIONS: dict[str, tuple[float, float]] = {  # name → (default strength, greatest)
    "crop": (-1.0, 1024.0),  # zeros padded on each side before a window is cut; -1: see `Augmentation`
    "flip": (0.5, 1.0),  # probability of a left-right flip
    "rotation": (25.0, 180.0),  # largest angle in degrees; ICLR 2017, appendix E
    "brightness": (32 / 255, 1.0),  # largest shift; this and the next three as in TensorFlow's training of Inception
    "contrast": (0.5, 1.0),  # largest relative change of the distance from the mean of each channel
    "saturation": (0.5, 1.0),  # largest relative change
    "hue": (0.2, 0.5),  # largest shift, in turns of the colour circle
    "resized-crop": (0.05, 1.0),  # least share of the image's area in a window that is resized; from the same training
    "stretch": (1 / 3, 3.0),  # largest relative change of the window's aspect ratio: 1/3 is 3:4 to 4:3
}
_WINDOW = ("resized-crop", "stretch")
_DRAWS = ("top", "left", *[name for name in AUGMENTATIONS if name not in ("crop", *_WINDOW)], *_WINDOW)
_COLOURS = ("saturation", "hue")


def strengths(augment: str | Sequence[str] | Mapping[str, object] | None) -> dict[str, float]:
    """Return the strength of each augmentation that is on.

    augment: None, a name in `AUGMENTATIONS`, a list of names, or a mapping from names to strengths (None: the
    default). Raises InputError for unknown names and strengths out of range.

    Example:
        >>> strengths(["flip", "rotation"])
        {'flip': 0.5, 'rotation': 25.0}
        >>> strengths({"rotation": 10})
        {'rotation': 10.0}
    """
    if isinstance(augment, Mapping):
        named: Mapping = augment
    elif isinstance(augment, str):
        named = {augment: None}
    else:
        named = dict.fromkeys(augment or [])
    out = {}
    for name, value in named.items():
        if name not in AUGMENTATIONS:
            raise unknown("augmentation", name, AUGMENTATIONS)
        default, most = AUGMENTATIONS[name]
        value = default if value is None else value
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not (value == default or 0 <= value <= most):
            raise InputError(f"augmentation {name} is {value!r}, expected a number in 0…{most:g}")
        out[name] = float(value)
    return out


@dataclass(frozen=True)
class Augmentation:
    """Random versions of images.

    Args:
        strengths: of the augmentations that are on, as `strengths` gives them.
        size: (height, width) of what comes out. "crop" cuts it at a random place; the others leave it at the centre.
            By default "crop" pads images that are no larger than `size` with zeros: an eighth of their side, on each side.
            "resized-crop" cuts a window at a random place within the image (or its padding, with "crop") and resizes it to
            this size. The window's share of the area is even between the strength and 1. It has the shape of `size`;
            with "stretch" the logarithm of the change of its aspect ratio is even over what fits into the image.
            Only a window that fits in no other way is stretched further.

    Example:
        >>> augmentation = Augmentation({"flip": 1.0}, (2, 2))
        >>> augmentation(torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]]), augmentation.draw(1, seed=0, epoch=0)).tolist()
        [[[[1.0, 0.0], [3.0, 2.0]]]]
    """

    strengths: Mapping[str, float]
    size: tuple[int, ...]

    def draw(self, n: int, seed: int, epoch: int) -> torch.Tensor:
        """Return the random numbers of an epoch: (n, 10) in [0, 1), on the CPU."""
        parts = []
        for purpose, columns in (("augment", len(_DRAWS) - len(_WINDOW)), ("augment/window", len(_WINDOW))):
            generator = torch.Generator().manual_seed(seeds.integer(seed, purpose, epoch))
            parts.append(torch.rand(n, columns, generator=generator))
        return torch.cat(parts, 1)

    def __call__(self, images: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
        """Return the versions of images (b, c, h, w), float in original units, that draws (b, 10) stand for: (b, c, *size).

        Geometry by one bilinear interpolation, without smoothing where images shrink, with zeros outside. Where colours
        change, pixels are clipped to 0…1.
        """
        of = dict(zip(_DRAWS, draws.to(images.device).unbind(1), strict=True))
        images = F.grid_sample(images, self._grid(images.shape[2:], of), align_corners=False)
        if self.strengths.keys() & {"brightness", "contrast", "saturation", "hue"}:
            images = self._recolour(images, {k: v[:, None, None, None] for k, v in of.items()}).clamp(0, 1)
        return images

    def check(self, image_shape: tuple[int, ...]) -> None:
        """Raise InputError if images of this shape cannot be augmented in this way."""
        if len(image_shape) != 3:
            raise InputError(f"augmentation got examples of shape {image_shape}, expected images (channels, height, width)")
        for name in _COLOURS:
            if name in self.strengths and image_shape[0] != 3:
                raise InputError(f"augmentation {name} got images with {image_shape[0]} channels, expected 3 (red, green, blue)")

    def _grid(self, full: torch.Size, of: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return where each output pixel comes from: (b, height, width, 2), in grid_sample's coordinates."""
        height, width = self._window(full, of)
        y = self._along("top", full[0], self.size[0], height, of)[:, :, None]
        x = self._along("left", full[1], self.size[1], width, of)[:, None, :]
        y, x = y - (full[0] - 1) / 2, x - (full[1] - 1) / 2  # from the centre of the image
        x = torch.where((of["flip"] < self.strengths.get("flip", 0.0))[:, None, None], -x, x)
        angle = (2 * of["rotation"] - 1) * math.radians(self.strengths.get("rotation", 0.0))
        cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
        return torch.stack([2 * (cos * x - sin * y) / full[1], 2 * (sin * x + cos * y) / full[0]], -1)

    def _window(self, full: torch.Size, of: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return heights and widths (b,), in pixels of the image, of the windows that become the output."""
        most = 1 + self.strengths.get("stretch", 0.0)
        if "resized-crop" not in self.strengths:
            root = most ** (of["stretch"] - 0.5)
            return self.size[0] / root, self.size[1] * root
        least = self.strengths["resized-crop"]
        area = least + (1 - least) * of["resized-crop"]
        shape = self.size[1] * full[0] / (self.size[0] * full[1])  # share of the image's width over share of its height
        low, high = ((shape * change).clamp(area, 1 / area) for change in (torch.full_like(area, 1 / most), torch.full_like(area, most)))
        share = low * (high / low) ** of["stretch"]
        return full[0] * (area / share).sqrt(), full[1] * (area * share).sqrt()

    def _along(self, name: str, whole: int, size: int, part: torch.Tensor, of: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return the rows (or columns) of the image that those of the output come from: (b, size)."""
        start = self._start(name, whole, size, part, of)[:, None]
        pixels = torch.arange(size, device=part.device, dtype=torch.float32)
        along = start + (pixels + 0.5) * (part / size)[:, None] - 0.5
        inside = "resized-crop" in self.strengths and "crop" not in self.strengths
        return along.clamp(0, whole - 1) if inside else along  # no zeros within half a pixel of the border

    def _start(self, name: str, whole: int, size: int, part: torch.Tensor, of: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return where each window starts, (b,): a whole pixel, unless it is resized."""
        resized = bool(self.strengths.keys() & set(_WINDOW))
        if not self.strengths.keys() & {"crop", "resized-crop"}:
            return (whole - part) / 2 if resized else (whole - part) // 2
        given = self.strengths.get("crop", 0.0)
        pad = int(given) if given >= 0 else 0 if whole > size else max(1, whole // 8)
        room = whole + 2 * pad - part
        return of[name] * room - pad if resized else (of[name] * (room + 1)).floor() - pad

    def _recolour(self, images: torch.Tensor, of: dict[str, torch.Tensor]) -> torch.Tensor:
        change = {name: (2 * of[name] - 1) * self.strengths.get(name, 0.0) for name in ("brightness", "contrast", *_COLOURS)}
        images = images + change["brightness"]
        mean = images.mean((2, 3), keepdim=True)
        images = mean + (1 + change["contrast"]) * (images - mean)
        if not self.strengths.keys() & set(_COLOURS):
            return images
        hue, saturation, value = to_hsv(images.clamp(0, 1))
        return from_hsv(hue + change["hue"][:, 0], (saturation * (1 + change["saturation"][:, 0])).clamp(0, 1), value)


def to_hsv(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return hue in turns, saturation and value, (b, h, w) each, of images (b, 3, h, w) in 0…1."""
    red, green, blue = images.unbind(1)
    value, low = images.amax(1), images.amin(1)
    spread = value - low
    safe = spread.clamp(min=1e-12)
    sector = torch.where(
        value == red, (green - blue) / safe, torch.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe)
    )
    return (sector / 6) % 1, spread / value.clamp(min=1e-12), value


def from_hsv(hue: torch.Tensor, saturation: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Return the images (b, 3, h, w) in 0…1 of hue (any number of turns), saturation and value (b, h, w)."""

    def channel(offset: int) -> torch.Tensor:
        k = (offset + 6 * hue) % 6
        return value - value * saturation * torch.minimum(k, 4 - k).clamp(0, 1)

    return torch.stack([channel(5), channel(3), channel(1)], 1)
