"""The images of a split → what the loop of a `NetworkClassifier` trains on."""

from dataclasses import replace
from typing import Any

import torch

from shattering.data import preprocess
from shattering.data.augment import Augmentation, strengths
from shattering.data.loader import Loader
from shattering.data.on_disk import ImagesOnDisk
from shattering.learners import training
from shattering.learners.stream import Stream


def make_examples(learner: Any, images: torch.Tensor, labels: torch.Tensor, persistent: bool = False) -> training.Examples | Stream:
    """Preprocess in blocks, straight into place on the device; images on disk a batch at a time. persistent: keep the workers."""
    channels_last = learner._channels_last and images.ndim == 4
    if isinstance(images, ImagesOnDisk):
        memory_format = torch.channels_last if channels_last else torch.contiguous_format

        def prepare(raw: torch.Tensor) -> torch.Tensor:
            cropped = preprocess.to_float(preprocess.center_crop(raw, learner._crop()))
            return learner._standardized(cropped).contiguous(memory_format=memory_format)

        loader = Loader(images, learner.workers, learner.device_.type == "cuda", persistent)
        return Stream(images, labels.to(learner.device_), loader, prepare)
    shape = learner.image_shape_[1:] + learner.image_shape_[:1] if channels_last else learner.image_shape_
    out = torch.empty((len(images), *shape), device=learner.device_)
    for start in range(0, len(images), 4096):
        block = learner._standardized(preprocess.to_float(preprocess.center_crop(images[start : start + 4096], learner._crop())))
        out[start : start + 4096] = block.permute(0, 2, 3, 1) if channels_last else block
    return training.Examples(out, labels.to(learner.device_), channels_last)


def augmented(learner: Any, images: torch.Tensor, clean: training.Examples | Stream, order_seed: int) -> training.Examples | Stream | None:
    """Examples whose images are augmented when they are used; None without augmentation."""
    if not learner.augment:
        return None
    augmentation = Augmentation(strengths(learner.augment), learner.image_shape_[1:])
    augmentation.check(learner._raw_shape)
    memory_format = torch.channels_last if learner._channels_last else torch.contiguous_format

    def augment(batch: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
        return learner._standardized(augmentation(preprocess.to_float(batch), draws)).contiguous(memory_format=memory_format)

    def draw(epoch: int) -> torch.Tensor:
        return augmentation.draw(len(images), order_seed, epoch)

    if isinstance(clean, Stream):
        return replace(clean, augment=augment, draw=draw)
    return training.Examples(images.to(learner.device_), clean.labels, False, augment, draw)
