"""`ImagesOnDisk`: the images of a split that are read and decoded when they are asked for, in whatever process asks."""

import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import NoReturn, TypeVar

import numpy as np
import torch

from shattering.data.decode import UNREADABLE, cache_folder, cached, decode_one, decode_square
from shattering.data.encoded import Encoded, ParquetRows
from shattering.errors import InputError, reason
from shattering.files import write_aside
from shattering.machine import usable_cores

CACHE = 256 << 20  # encoded bytes of row groups that a process keeps
LARGE = 4 << 30  # decoded bytes from which images never live in memory
_CHUNK = 256  # images held at a time where all are passed through

Result = TypeVar("Result")
Transform = Callable[[np.ndarray, int], np.ndarray]  # (image (c, h, w), example id) → randomized image of the same shape


class ImagesOnDisk:
    """Images (n, 3, height, width) uint8 on disk, behind what a learner needs of a tensor: `shape`, `dtype`, `ndim`, `len`, and `[rows]`.

    Of Parquet files a process keeps the wanted rows of as many row groups as fit into 256 MiB (at least one); image files are
    read one by one. Grey images become RGB.

    Args:
        source: where the encoded images are.
        size: of the square that an image is resized and cropped to, see `decode_square`; None: all have the size of the first, and
            are left as they are.
        rows: (n,) of the source that these are; None: all.
        transforms: applied in turn to every decoded image, with the example ids (n,) of the rows. Picklable.
        dtype: that they leave.
    """

    ndim = 4

    def __init__(
        self,
        source: Encoded,
        size: int | None,
        rows: np.ndarray | None = None,
        transforms: Sequence[tuple[Transform, np.ndarray]] = (),
        dtype: torch.dtype = torch.uint8,
    ):
        self.source, self.size, self.dtype, self.transforms = source, size, dtype, tuple(transforms)
        self.rows = np.arange(len(source)) if rows is None else rows
        self._wanted = np.sort(self.rows) if isinstance(source, ParquetRows) else None
        self._kept: OrderedDict[int, tuple[np.ndarray, list[bytes]]] = OrderedDict()
        self._kept_bytes = 0
        self._image_shape = (3, size, size) if size else None

    def __getstate__(self) -> dict:
        return {**vars(self), "_kept": OrderedDict(), "_kept_bytes": 0}

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def shape(self) -> tuple[int, ...]:
        if self._image_shape is None:
            self._image_shape = (3, *self._decode(0, self._encoded(0)).shape[:2])
        return (len(self.rows), *self._image_shape)

    @property
    def nbytes(self) -> int:
        """That the decoded images would take."""
        return int(np.prod(self.shape)) * self.dtype.itemsize

    def __getitem__(self, rows) -> torch.Tensor:
        """The images at these positions (a slice, or integers), decoded: (b, 3, h, w). Raises InputError for one that is unreadable."""
        chosen = np.arange(len(self))[rows if isinstance(rows, slice) else np.asarray(rows)]
        out = torch.empty((len(chosen), *self.shape[1:]), dtype=self.dtype)
        self.read_into(out, chosen)
        return out

    def read_into(self, out: torch.Tensor, rows: np.ndarray) -> None:
        """Decode the images at positions (b,) into out (b, 3, h, w). Raises InputError for one that is unreadable."""
        target = out.numpy()
        for place, i in enumerate(rows.tolist()):
            target[place] = self._image(i, self._encoded(i))

    def subset(self, rows) -> "ImagesOnDisk":
        """The images at these positions; nothing is read."""
        rows = np.asarray(rows)
        transforms = [(transform, ids[rows]) for transform, ids in self.transforms]
        out = ImagesOnDisk(self.source, self.size, self.rows[rows], transforms, self.dtype)
        out._image_shape = self._image_shape
        return out

    def randomized(self, transform: Transform, ids: torch.Tensor, dtype: torch.dtype) -> "ImagesOnDisk":
        """The same images, each to be transformed as it is read. ids: (n,) of the examples."""
        out = ImagesOnDisk(self.source, self.size, self.rows, [*self.transforms, (transform, ids.numpy())], dtype)
        out._image_shape = self._image_shape
        return out

    @property
    def windows(self) -> np.ndarray | None:
        """Which row group (n,) each image is of, if the images are to be shuffled within windows of row groups; else None.

        That is so if they come from Parquet files and have more than `LARGE` pixel values: a function of the data alone, so that
        the order of a training does not depend on the machine.
        """
        if not isinstance(self.source, ParquetRows) or int(np.prod(self.shape)) <= LARGE:
            return None
        return np.unique(self.source.group_of(self.rows), return_inverse=True)[1]

    @property
    def window_size(self) -> int:
        """Row groups in a window: as many as are kept at a time."""
        groups = len(np.unique(self.source.group_of(self.rows))) if isinstance(self.source, ParquetRows) else 1
        return max(1, CACHE * groups // max(1, self.source.size_of(self.rows)))

    def in_chunks(self) -> Iterator[torch.Tensor]:
        """All images in order, a few at a time, decoded in threads."""
        images = self._in_threads(self._image)
        for start in range(0, len(self), _CHUNK):
            out = self._empty(min(_CHUNK, len(self) - start))
            for place in range(len(out)):
                out[place] = next(images)
            yield torch.from_numpy(out)

    def load(self) -> torch.Tensor:
        """All of them, decoded; or what the last decoding gave, from the cache folder."""

        def decode() -> torch.Tensor:
            out = self._empty(len(self))
            for i, image in enumerate(self._in_threads(self._image)):
                out[i] = image
            return torch.from_numpy(out)

        return decode() if self.transforms else cached(self._key("images"), decode)

    def unreadable(self) -> list[int]:
        """Positions of the images that cannot be decoded. Every image is decoded once; the answer is kept in the cache folder."""

        def is_readable(i: int, data: bytes) -> bool:
            try:
                self._decode(i, data)
            except InputError:
                return False
            return True

        return self._remembered("unreadable", lambda: [i for i, good in enumerate(self._in_threads(is_readable)) if not good])

    def moments(self) -> tuple[list[float], list[float]]:
        """Mean and standard deviation of each channel, pixels in 0…1; kept in the cache folder.

        From sums of whole numbers, so the same in whatever order. Raises InputError for images that are Gaussian already.
        """
        if self.dtype != torch.uint8:
            raise InputError("the images are Gaussian already, expected pixels to take the moments of")

        def compute() -> list[list[float]]:
            total, squares, n = torch.zeros(3, dtype=torch.int64), torch.zeros(3, dtype=torch.int64), 0
            for chunk in self.in_chunks():
                values = chunk.to(torch.int32)
                total += values.sum((0, 2, 3))
                squares += values.square().sum((0, 2, 3))
                n += values[:, 0].numel()
            mean = total.double() / n
            return [(mean / 255).tolist(), ((squares.double() / n - mean.square()).clamp(min=0).sqrt() / 255).tolist()]

        mean, std = compute() if self.transforms else self._remembered("moments", compute)
        return mean, std

    def fingerprint(self) -> str:
        """SHA-256 over the files' names, sizes and (of Parquet) footers, the rows, the size, and the pixels of 16 images.

        Not over all bytes, which would take as long as an epoch.
        """
        digest = hashlib.sha256(f"{self.source.digest()}{self.shape}{self.dtype}".encode())
        digest.update(self.rows.tobytes())
        digest.update(self[np.unique(np.linspace(0, len(self) - 1, 16).astype(np.int64))].numpy().tobytes())
        return digest.hexdigest()

    def numpy(self) -> NoReturn:
        """There is no array of them. Raises InputError."""
        n, gigabytes = len(self), self.nbytes / 1e9
        raise InputError(
            f"{n:,} images of {self.shape[3]}x{self.shape[2]} pixels stay on disk, as decoded they take {gigabytes:.1f} GB; expected fewer "
            "(n_train, n_test) or smaller ones (image_size) for what needs them in memory"
        )

    def _remembered(self, what: str, compute: Callable[[], list]) -> list:
        """compute(), or what it gave last time for the same files, rows and size."""
        path = cache_folder() / f"{self._key(what)}.json"
        with suppress(OSError, ValueError):
            return json.loads(path.read_text())
        found = compute()
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_aside(path, lambda aside: aside.write_text(json.dumps(found)))
        return found

    def _key(self, what: str) -> str:
        return hashlib.sha256(f"{what} {self.source.stamp()} {self.size} ".encode() + self.rows.tobytes()).hexdigest()[:32]

    def _empty(self, n: int) -> np.ndarray:
        return np.empty((n, *self.shape[1:]), np.float32 if self.dtype == torch.float32 else np.uint8)

    def _in_threads(self, work: Callable[[int, bytes], Result]) -> Iterator[Result]:
        """work(position, encoded bytes) of all images in order; this thread reads, others work."""
        with ThreadPoolExecutor(usable_cores()) as pool:
            for start in range(0, len(self), _CHUNK):
                positions = range(start, min(start + _CHUNK, len(self)))
                yield from pool.map(work, positions, [self._encoded(i) for i in positions])

    def _image(self, i: int, data: bytes) -> np.ndarray:
        """The image at a position, (3, h, w), as it is to be."""
        image = self._decode(i, data).transpose(2, 0, 1)
        for transform, ids in self.transforms:
            image = transform(np.ascontiguousarray(image), int(ids[i]))
        return image

    def _decode(self, i: int, data: bytes) -> np.ndarray:
        """(height, width, 3) uint8."""
        where = self.source.describe
        try:
            image = decode_square(data, self.size) if self.size else decode_one(data)
        except UNREADABLE as error:
            raise InputError(f"{where(int(self.rows[i]))} is not a readable image: {reason(error)[:100]}") from None
        if self._image_shape and image.shape[:2] != self._image_shape[1:]:
            found, first = f"{image.shape[1]}x{image.shape[0]}", f"{self._image_shape[2]}x{self._image_shape[1]}"
            raise InputError(
                f"images have mixed sizes: {where(int(self.rows[i]))} is {found} pixels and {where(int(self.rows[0]))} is {first}, "
                "expected one size, or an image_size to bring them to"
            )
        return np.broadcast_to(image, (*image.shape[:2], 3))

    def _encoded(self, i: int) -> bytes:
        row = int(self.rows[i])
        if not isinstance(self.source, ParquetRows):
            return self.source.read(row)
        group = int(self.source.group_of(row))
        rows, values = self._kept.get(group) or self._keep(group)
        self._kept.move_to_end(group)
        return values[int(np.searchsorted(rows, row))]

    def _keep(self, group: int) -> tuple[np.ndarray, list[bytes]]:
        """Read the wanted rows of a row group, and forget those used longest ago if there are too many bytes."""
        assert isinstance(self.source, ParquetRows)
        assert self._wanted is not None
        first, last = np.searchsorted(self._wanted, self.source.starts[group : group + 2])
        rows = self._wanted[first:last]
        values = [value or b"" for value in self.source.read_group(group, rows)]
        self._kept[group] = rows, values
        self._kept_bytes += sum(map(len, values))
        while self._kept_bytes > CACHE and len(self._kept) > 1:
            self._kept_bytes -= sum(map(len, self._kept.popitem(last=False)[1][1]))
        return rows, values
