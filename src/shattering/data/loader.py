"""`Loader`: batches of a split's images from disk, decoded ahead by worker processes, in the order asked for."""

import math
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from shattering.data.lazy import ImagesOnDisk
from shattering.errors import InputError
from shattering.system.machine import own_cores

_AHEAD = 2  # batches that each worker prepares ahead


class Loader:
    """Images in batches; the same bytes in the same order for every number of workers.

    Args:
        images: to read from.
        workers: processes that read, decode and randomize; 0: this one does; None: as many as usable cores, divided among the
            processes that train on this machine, at most 16.
        pin: whether to hand over page-locked memory, from which copies to a GPU do not wait.
        persistent: whether the workers stay until this object goes, and not only until the end of `batches`.

    Example:
        >>> from pathlib import Path
        >>> import numpy as np
        >>> from PIL import Image
        >>> from shattering.data.encoded import ImageFiles
        >>> for i in range(5):
        ...     Image.new("RGB", (8, 8), (i, i, i)).save(f"{i}.png")
        >>> images = ImagesOnDisk(ImageFiles(Path(), np.array([f"{i}.png" for i in range(5)])), None)
        >>> batches = Loader(images, workers=0).batches([torch.tensor([4, 0]), torch.tensor([2])])
        >>> [batch[:, 0, 0, 0].tolist() for batch in batches]
        [[4, 0], [2]]
    """

    def __init__(self, images: ImagesOnDisk, workers: int | None = None, pin: bool = False, persistent: bool = False):
        self._order = _Order()
        workers = default_workers() if workers is None else workers
        with _uncomplaining():
            self._loader = DataLoader(
                _Batches(images),  # type: ignore[arg-type]  # its "indices" are rows of batches
                batch_size=None,
                sampler=self._order,  # type: ignore[arg-type]  # likewise
                num_workers=workers,
                prefetch_factor=_AHEAD if workers else None,
                persistent_workers=persistent and workers > 0,
                pin_memory=pin,
                generator=torch.Generator(),  # or it would draw from the global one
            )

    def batches(self, rows: Sequence[torch.Tensor]) -> Iterator[torch.Tensor]:
        """Yield the images of each batch, in memory that is written again when the next one has been asked for.

        rows: positions (b,) of each. Raises InputError for an image that cannot be read.
        """
        self._order.rows = rows
        with _uncomplaining():
            batches = iter(self._loader)
        for found in batches:
            if isinstance(found, Exception):
                raise found
            yield found


@contextmanager
def _uncomplaining() -> Iterator[None]:
    """Silence torch's warning about more workers than cores: their number is the caller's choice."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This DataLoader will create")
        yield


def default_workers() -> int:
    return min(16, own_cores())


class _Order:
    """A sampler whose "indices" are the rows of whole batches."""

    def __init__(self):
        self.rows: Sequence[torch.Tensor] = ()

    def __iter__(self) -> Iterator[torch.Tensor]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)


class _Batches(Dataset):
    """Batches as items. An error comes back as a value: raised here, it would reach the user wrapped in a traceback.

    A worker process decodes into shared memory, as it would else be copied there, and into the same few batches again and again, as
    new pages cost about a twelfth of what decoding does. Each worker keeps `_AHEAD` + 1 buffers: the prefetched batches and the one
    in use.
    """

    def __init__(self, images: ImagesOnDisk):
        self.images = images
        self._memory: deque[torch.Tensor] = deque(maxlen=_AHEAD + 1)  # bytes, those used longest ago first

    def __getitem__(self, rows: torch.Tensor) -> torch.Tensor | Exception:
        try:
            out = self._batch(len(rows))
            self.images.read_into(out, rows.numpy())
        except (InputError, OSError) as error:
            return error
        return out

    def _batch(self, n: int) -> torch.Tensor:
        shape, dtype = (n, *self.images.shape[1:]), self.images.dtype
        size = math.prod(shape) * dtype.itemsize
        if size == 0 or get_worker_info() is None:
            return torch.empty(shape, dtype=dtype)
        memory = self._memory.popleft() if len(self._memory) > _AHEAD else torch.empty(0, dtype=torch.uint8)
        if len(memory) < size:  # _new_shared is private, but the one way to reuse shared memory: share_memory_() would copy each batch
            memory = torch.empty(0, dtype=torch.uint8).set_(torch.UntypedStorage._new_shared(size))  # type: ignore[call-overload]  # a private method
        self._memory.append(memory)
        return memory[:size].view(dtype).view(shape)
