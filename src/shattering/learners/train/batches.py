"""The batches of an epoch, and the examples that they are made of, in memory or on disk."""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass

import torch

from shattering import seeds
from shattering.data.loader import Loader

Rows = torch.Tensor | slice
Read = Callable[[Sequence[Rows]], Iterator[torch.Tensor]]  # rows of each batch → their images on the device
Windows = tuple[torch.Tensor, int]  # (group (n,) of each row, groups per window)


@dataclass(frozen=True)
class Examples:
    """Labelled images of a split, handed to the network in batches.

    Args:
        labels: (n,) int64, on the device of the network.
        read: reads the images of each batch onto that device, in memory that a network may change.
        in_memory: True if the images are held in memory, False if they are read from disk.
        prepare: preprocesses a batch of what `read` gives; None: `read` gives preprocessed images.
        augment: makes this epoch's version of a batch, preprocessed: (images as read (b, c, h, w), draws (b, k)) → (b, c, h', w').
        draw: returns the random draws of an epoch, (n, k) on the CPU, for `augment`.
        windows: limits the order of reading, as `batch_rows` explains; None: any order is as quick.
    """

    labels: torch.Tensor
    read: Read
    in_memory: bool
    prepare: Callable[[torch.Tensor], torch.Tensor] | None = None
    augment: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None
    draw: Callable[[int], torch.Tensor] | None = None
    windows: Windows | None = None

    def epoch(self, epoch: int, batches: Sequence[torch.Tensor]) -> Generator[torch.Tensor, None, None]:
        """Yield the images of each batch as they are in this epoch."""
        if self.augment is None or self.draw is None:
            yield from self._prepared(batches)
            return
        draws = self.draw(epoch).to(self.labels.device)
        for rows, images in zip(batches, self.read(batches), strict=True):
            yield self.augment(images, draws.index_select(0, rows))

    def in_order(self, first: int, last: int, size: int) -> Iterator[torch.Tensor]:
        """Yield the images first…last-1 without augmentation, `size` at a time."""
        yield from self._prepared([slice(start, min(start + size, last)) for start in range(first, last, size)])

    def _prepared(self, batches: Sequence[Rows]) -> Iterator[torch.Tensor]:
        for images in self.read(batches):
            yield images if self.prepare is None else self.prepare(images)


def read_from_memory(images: torch.Tensor, channels_last: bool) -> Read:
    """Make the `Examples.read` of images on the device: (n, height, width, c) if channels_last, else (n, …)."""

    def read(batches: Sequence[Rows]) -> Iterator[torch.Tensor]:
        for rows in batches:
            # index_select is five times faster than images[rows]; a slice is cloned, as the network may change its input
            batch = images[rows].clone() if isinstance(rows, slice) else images.index_select(0, rows)
            yield batch.permute(0, 3, 1, 2) if channels_last else batch

    return read


def read_from_disk(loader: Loader, device: torch.device) -> Read:
    """Make the `Examples.read` of images on disk."""

    def read(batches: Sequence[Rows]) -> Iterator[torch.Tensor]:
        numbers = [torch.arange(rows.start, rows.stop) if isinstance(rows, slice) else rows.cpu() for rows in batches]
        for images in loader.batches(numbers):
            yield images.to(device, non_blocking=True)

    return read


def batch_rows(
    n: int,
    batch_size: int,
    seed: int,
    epoch: int,
    device: torch.device | str = "cpu",
    windows: Windows | None = None,
) -> list[torch.Tensor]:
    """Return the rows of each batch of an epoch. They depend on the seed, the epoch and the data alone.

    A last batch of one example joins the batch before it.

    Args:
        n: number of examples.
        batch_size: rows per batch.
        seed: seed of the batch order.
        epoch: number of the epoch, from 0.
        device: where the rows are to be.
        windows: the group (n,) of each row and the number of groups per window, for data that are slow to read in any order: the
            groups are shuffled, then the rows within each window of groups. None: all rows are shuffled together.
    """
    generator = torch.Generator().manual_seed(seeds.integer(seed, "order", epoch))
    order = torch.randperm(n, generator=generator)
    if windows is not None:
        groups, size = windows
        window = torch.randperm(int(groups.max()) + 1, generator=generator) // size  # of each group
        order = order[torch.argsort(window[groups[order]], stable=True)]
    batches = list(order.to(device).split(batch_size))
    if len(batches) > 1 and len(batches[-1]) == 1:  # batch normalization has no variance on one example
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches
