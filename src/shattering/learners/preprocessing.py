"""`Preprocessing`: from the raw images of a split to the examples that a network is trained and evaluated on."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch

from shattering.data import preprocess
from shattering.data.augment import Augmentation, strengths
from shattering.data.kinds import Kind
from shattering.data.lazy import ImagesOnDisk
from shattering.data.loader import Loader
from shattering.errors import InputError, shown
from shattering.learners.train.batches import Examples, read_from_disk, read_from_memory
from shattering.system.machine import require_memory

Standardize = Literal["auto", "image", "feature", "range", "none"]
_BLOCK = 4096  # images preprocessed at a time


@dataclass
class Preprocessing:
    """Crop, standardization and memory layout of the images that a network is given.

    Args:
        raw_shape: shape of one image before cropping: (c, h, w), or (d,) for tables.
        crop: side in pixels of the central crop; None: no crop.
        standardization: "image", "feature", "range" or "none", as `NetworkClassifier` explains.
        scaler: moments of the features, for "feature".
        kind: of the inputs.
        channels_last: lay out images with the channels last in memory, which convolutions prefer.
    """

    raw_shape: tuple[int, ...]
    crop: int | None
    standardization: Standardize
    scaler: preprocess.FeatureScaler | None = None
    kind: Kind = "images"
    channels_last: bool = False

    @classmethod
    def of(
        cls, inputs: torch.Tensor, crop: int | Literal["auto"] | None, standardize: Standardize, network: object, kind: Kind
    ) -> "Preprocessing":
        """Resolve a `NetworkClassifier`'s crop and standardize for these training inputs (n, …) of a kind and its network.

        Raises:
            InputError: for a table with numbers that float64, or float32 without scaling, does not hold, and for what is done to images
                alone.
        """
        shape = tuple(inputs.shape[1:])
        if kind != "images":
            _check_as_given(kind, crop, standardize)
        if crop == "auto":
            crop = 28 if len(shape) == 3 and shape[1:] == (32, 32) else None
        if standardize == "auto":
            of_images = "range" if network == "inception-v3" else "image"
            standardize = "none" if kind in ("sequence", "tokens") else "feature" if kind == "table" else of_images
        scaler = None
        if standardize == "feature":
            scaler = preprocess.FeatureScaler(preprocess.center_crop(preprocess.to_float(inputs), crop))
        if kind in ("table", "sequence"):
            preprocess.check_whole_numbers(inputs)
        if kind in ("table", "sequence") and scaler is None:
            preprocess.check_float32(inputs.flatten(1), "standardize='feature', or smaller numbers")
        return cls(shape, crop, standardize, scaler, kind)

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Shape of an image after cropping."""
        return tuple(preprocess.center_crop(torch.empty(1, *self.raw_shape, device="meta"), self.crop).shape[1:])

    def standardize(self, images: torch.Tensor) -> torch.Tensor:
        """Standardize images (b, …) that are floats in 0…1 and cropped already. Returns float32."""
        if self.scaler:
            return self.scaler(images)
        images = images.float()
        if self.standardization == "image":
            return preprocess.standardize_images(images)
        return 2 * images - 1 if self.standardization == "range" else images

    def prepare(self, images: torch.Tensor) -> torch.Tensor:
        """Crop, scale and standardize raw images (b, …); tokens stay as they are."""
        if self.kind == "tokens":
            return images
        return self.standardize(preprocess.to_float(preprocess.center_crop(images, self.crop)))

    def examples(
        self, images: torch.Tensor, labels: torch.Tensor, device: torch.device, workers: int | None, persistent: bool = False
    ) -> Examples:
        """Make the examples of a split: held on the device already preprocessed, or read from disk and preprocessed batch by batch.

        Args:
            images: (n, …) raw, in memory or on disk.
            labels: (n,) int64.
            device: where the network is.
            workers: processes that read images from disk; None: one per core, at most 16.
            persistent: keep these processes between epochs.
        """
        channels_last = self.channels_last and images.ndim == 4
        labels = labels.to(device)
        if isinstance(images, ImagesOnDisk):
            memory_format = torch.channels_last if channels_last else torch.contiguous_format
            read = read_from_disk(Loader(images, workers, device.type == "cuda", persistent), device)
            groups = images.windows
            windows = None if groups is None else (torch.from_numpy(groups), images.window_size)
            return Examples(labels, read, False, lambda raw: self.prepare(raw).contiguous(memory_format=memory_format), windows=windows)
        shape = tuple(images.shape[1:]) if self.kind == "tokens" else self.image_shape  # padded documents may be longer than in fit
        dtype = torch.int64 if self.kind == "tokens" else torch.float32
        if device.type == "cuda":
            remedy = "use fewer or smaller ones, or device='cpu'"
            require_memory(len(images) * math.prod(shape) * dtype.itemsize, f"keeping {len(images):,} examples on {device}", remedy, device)
        out = torch.empty((len(images), *(shape[1:] + shape[:1] if channels_last else shape)), device=device, dtype=dtype)
        for start in range(0, len(images), _BLOCK):
            block = self.prepare(images[start : start + _BLOCK])
            out[start : start + _BLOCK] = block.permute(0, 2, 3, 1) if channels_last else block
        return Examples(labels, read_from_memory(out, channels_last), True)

    def augmented(
        self, clean: Examples, images: torch.Tensor, augment: str | Sequence[str] | Mapping[str, object] | None, seed: int
    ) -> Examples:
        """Make training examples whose images are augmented anew in every epoch; `clean` itself if there is no augmentation.

        Args:
            clean: the examples without augmentation, as `examples` makes them.
            images: their raw images.
            augment: see `NetworkClassifier`.
            seed: seed of the augmentation.
        """
        if not augment:
            return clean
        if self.kind != "images":
            raise InputError(f"augment is {shown(augment)} for inputs of kind {self.kind!r}, expected none: only images are augmented")
        augmentation = Augmentation(strengths(augment), self.image_shape[1:])
        augmentation.check(self.raw_shape)
        memory_format = torch.channels_last if self.channels_last else torch.contiguous_format

        def augment_batch(batch: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
            augmented = augmentation(preprocess.to_float(batch).float(), draws)
            return self.standardize(augmented).contiguous(memory_format=memory_format)

        def draw(epoch: int) -> torch.Tensor:
            return augmentation.draw(len(images), seed, epoch)

        read = read_from_memory(images.to(clean.labels.device), channels_last=False) if clean.in_memory else clean.read
        return replace(clean, read=read, augment=augment_batch, draw=draw)


def _check_as_given(kind: Kind, crop: int | str | None, standardize: Standardize) -> None:
    """Raise InputError for what is done to the pixels of images, and for standardized tokens."""
    if crop not in ("auto", None):
        raise InputError(f"crop is {crop} for inputs of kind {kind!r}, expected none: only images are cropped")
    allowed = ("auto", "none") if kind == "tokens" else ("auto", "none", "feature", "image")
    if kind != "table" and standardize not in allowed:
        raise InputError(f"standardize is {standardize!r} for inputs of kind {kind!r}, expected {' or '.join(map(repr, allowed))}")
