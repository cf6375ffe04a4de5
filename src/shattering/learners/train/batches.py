"""`Stream`: training examples whose images come from disk, a batch at a time."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from shattering.data.lazy import ImagesOnDisk
from shattering.data.loader import Loader


@dataclass(frozen=True)
class Stream:
    """As `Examples`, of images on disk.

    Args:
        images: on disk.
        labels: (n,) on the device.
        loader: of the images.
        prepare: raw images on the device (b, c, h, w) → what the network is given.
        augment, draw: as for `Examples`.
    """

    images: ImagesOnDisk
    labels: torch.Tensor
    loader: Loader
    prepare: Callable[[torch.Tensor], torch.Tensor]
    augment: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None
    draw: Callable[[int], torch.Tensor] | None = None

    @property
    def windows(self) -> tuple[torch.Tensor, int] | None:
        """See `batch_rows`."""
        groups = self.images.windows
        return None if groups is None else (torch.from_numpy(groups), self.images.window_size)

    def epoch(self, epoch: int, batches: Sequence[torch.Tensor]) -> Iterator[torch.Tensor]:
        """The images of each batch, as they are in this epoch."""
        draws = None if self.draw is None else self.draw(epoch)
        for rows, raw in zip(batches, self._raw(batches), strict=True):
            if self.augment is None or draws is None:
                yield self.prepare(raw)
            else:
                yield self.augment(raw, draws[rows.cpu()].to(raw.device))

    def in_order(self, first: int, last: int, size: int) -> Iterator[torch.Tensor]:
        """The images first…last-1 without augmentation, `size` at a time."""
        for raw in self._raw(torch.arange(first, last).split(size)):
            yield self.prepare(raw)

    def _raw(self, batches: Sequence[torch.Tensor]) -> Iterator[torch.Tensor]:
        for raw in self.loader.batches([rows.cpu() for rows in batches]):
            yield raw.to(self.labels.device, non_blocking=True)
