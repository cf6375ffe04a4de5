"""The images of a split → what the loop of a `NetworkClassifier` trains on."""

from dataclasses import replace
from typing import Any

import torch

from shattering.data import preprocess
from shattering.data.augment import Augmentation, strengths
from shattering.data.lazy import ImagesOnDisk
from shattering.data.loader import Loader
from shattering.learners.train import loop
from shattering.learners.train.batches import Stream


def standardization(model: Any) -> str:
    """ "image", "feature", "range" or "none": what its `standardize` means for its images."""
    if model.standardize != "auto":
        return model.standardize
    return "feature" if len(model._raw_shape) == 1 else "range" if model.network == "inception-v3" else "image"


def cropped_side(crop: int | str | None, shape: tuple[int, ...]) -> int | None:
    """Side in pixels of the central crop of images of this shape; None: no crop."""
    if crop == "auto":
        return 28 if len(shape) == 3 and shape[1:] == (32, 32) else None
    return crop  # type: ignore[return-value]


def standardized(model: Any, images: torch.Tensor) -> torch.Tensor:
    """Images of `to_float`, cropped already, as the network is given them: float32."""
    if model._scaler:
        return model._scaler(images)
    kind, images = model._standardization, images.float()
    return preprocess.standardize_images(images) if kind == "image" else 2 * images - 1 if kind == "range" else images


def make_examples(model: Any, images: torch.Tensor, labels: torch.Tensor, persistent: bool = False) -> loop.Examples | Stream:
    """Preprocess in blocks, straight into place on the device; images on disk a batch at a time. persistent: keep the workers."""
    channels_last = model._channels_last and images.ndim == 4
    if isinstance(images, ImagesOnDisk):
        memory_format = torch.channels_last if channels_last else torch.contiguous_format

        def prepare(raw: torch.Tensor) -> torch.Tensor:
            cropped = preprocess.to_float(preprocess.center_crop(raw, model._crop))
            return standardized(model, cropped).contiguous(memory_format=memory_format)

        loader = Loader(images, model.workers, model.device_.type == "cuda", persistent)
        return Stream(images, labels.to(model.device_), loader, prepare)
    shape = model.image_shape_[1:] + model.image_shape_[:1] if channels_last else model.image_shape_
    out = torch.empty((len(images), *shape), device=model.device_)
    for start in range(0, len(images), 4096):
        block = standardized(model, preprocess.to_float(preprocess.center_crop(images[start : start + 4096], model._crop)))
        out[start : start + 4096] = block.permute(0, 2, 3, 1) if channels_last else block
    return loop.Examples(out, labels.to(model.device_), channels_last)


def augmented(model: Any, images: torch.Tensor, clean: loop.Examples | Stream, order_seed: int) -> loop.Examples | Stream | None:
    """Examples whose images are augmented when they are used; None without augmentation."""
    if not model.augment:
        return None
    augmentation = Augmentation(strengths(model.augment), model.image_shape_[1:])
    augmentation.check(model._raw_shape)
    memory_format = torch.channels_last if model._channels_last else torch.contiguous_format

    def augment(batch: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
        return standardized(model, augmentation(preprocess.to_float(batch).float(), draws)).contiguous(memory_format=memory_format)

    def draw(epoch: int) -> torch.Tensor:
        return augmentation.draw(len(images), order_seed, epoch)

    if isinstance(clean, Stream):
        return replace(clean, augment=augment, draw=draw)
    return loop.Examples(images.to(model.device_), clean.labels, False, augment, draw)
