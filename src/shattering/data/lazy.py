"""`ImagesOnDisk`: the images of a split that are read and decoded when they are asked for, in whatever process asks."""

import hashlib
import json
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn, TypeVar

import numpy as np
import safetensors.torch
import torch
from safetensors import safe_open

from shattering.data import row_groups as groups_kept
from shattering.data.decode import decode_one, decode_square
from shattering.data.encoded import Encoded, ParquetRows
from shattering.data.moments import channel_moments
from shattering.data.pixels import Refused, Unreadable
from shattering.data.row_groups import RowGroups
from shattering.data.threads import in_order
from shattering.errors import InputError
from shattering.system.cache import kept, kept_json
from shattering.system.progress import QUICK, Progress

LARGE = 4 << 30  # decoded bytes from which images never live in memory
_CHUNK = 64  # images at most that a thread takes at a time
_CHUNK_BYTES = 64 << 20  # decoded bytes at most that it makes of them, or one image
_READING = 2  # what all that is kept of decoded images depends on: another number when the same bytes give other pixels

Result = TypeVar("Result")
Transform = Callable[[np.ndarray, int], np.ndarray]  # (image (c, h, w), example id) → randomized image of the same shape


class ImagesOnDisk:
    """Images (n, channels, height, width) on disk, behind what models need of a tensor: `shape`, `dtype`, `ndim`, `len`, `[rows]`.

    They are uint8, or float32 where they have 16 bits or floats.

    Of Parquet files a process keeps the wanted rows of as many row groups as fit into 256 MiB (at least one); image files are
    read one by one.

    Args:
        source: where the encoded images are.
        size: of the square that an image is resized and cropped to, as RGB, see `decode_square`; None: all have the size of the first, and
            are left as they are. Grey ones among coloured ones become RGB.
        rows: (n,) of the source that these are; None: all.
        transforms: applied in turn to every decoded image, with the example ids (n,) of the rows. Picklable.
        dtype: of the images after the transforms; None: the type of the first image.
        skip_corrupt: True takes the first image that can be decoded as the first one, from which the size and the channels follow.

    Example:
        >>> from PIL import Image
        >>> from shattering.data.encoded import ImageFiles
        >>> Image.new("RGB", (4, 2)).save("one.png")
        >>> images = ImagesOnDisk(ImageFiles(Path(), np.array([b"one.png"])), None)
        >>> images.shape, images[[0]].dtype
        ((1, 3, 2, 4), torch.uint8)
    """

    ndim = 4

    def __init__(
        self,
        source: Encoded,
        size: int | None,
        rows: np.ndarray | None = None,
        transforms: Sequence[tuple[Transform, np.ndarray]] = (),
        dtype: torch.dtype | None = None,
        skip_corrupt: bool = False,
    ):
        self.source, self.size, self._dtype, self.transforms = source, size, dtype, tuple(transforms)
        self.rows = np.arange(len(source)) if rows is None else rows
        self._groups = RowGroups(source, self.rows) if isinstance(source, ParquetRows) else None
        self.skip_corrupt = skip_corrupt
        self._image_shape = (3, size, size) if size else None
        self._first = ""  # the image that the shape is of
        self._noted = False

    def __len__(self) -> int:
        return len(self.rows)

    def describe(self, i: int) -> str:
        """Return in words where the image at a position comes from."""
        return self.source.describe(int(self.rows[i]))

    @property
    def shape(self) -> tuple[int, ...]:
        if self._image_shape is None:
            self._look_at_first()
        assert self._image_shape is not None
        return (len(self.rows), *self._image_shape)

    @property
    def dtype(self) -> torch.dtype:
        """The type of the decoded images, after the transforms."""
        if self._dtype is None:
            self._look_at_first()
        assert self._dtype is not None
        return self._dtype

    def _look_at_first(self) -> None:
        """Take shape and type from the first image, where they are not known."""
        first, name = self._first_decoded()
        height, width, channels = first.shape
        self._dtype = self._dtype or (torch.float32 if first.dtype == np.float32 else torch.uint8)
        if self._image_shape is None:
            self._image_shape, self._first = (channels, height, width), name

    def _first_decoded(self) -> tuple[np.ndarray, str]:
        """Return the first image that can be decoded, and where it comes from."""
        for i in range(len(self)):
            try:
                return self._decode(i, self._encoded(i)), self.describe(i)
            except Unreadable:
                if not self.skip_corrupt:
                    raise
        raise InputError(f"none of {len(self):,} images can be decoded (first: {self.describe(0)})")

    @property
    def nbytes(self) -> int:
        """The bytes of the decoded images."""
        return int(np.prod(self.shape)) * self.dtype.itemsize

    def __getitem__(self, rows) -> torch.Tensor:
        """Return the decoded images (b, c, h, w) at these positions (a slice, or integers). Raises InputError for an unreadable one."""
        chosen = np.arange(len(self))[rows if isinstance(rows, slice) else np.asarray(rows)]
        out = torch.empty((len(chosen), *self.shape[1:]), dtype=self.dtype)
        self.read_into(out, chosen)
        return out

    def read_into(self, out: torch.Tensor, rows: np.ndarray) -> None:
        """Decode the images at positions (b,) into out (b, c, h, w). Raises InputError for one that is unreadable."""
        target = out.numpy()
        for place, i in enumerate(rows.tolist()):
            target[place] = self._image(i, self._encoded(i))

    def subset(self, rows) -> "ImagesOnDisk":
        """Return the images at these positions; nothing is read."""
        rows = np.asarray(rows)
        transforms = [(transform, ids[rows]) for transform, ids in self.transforms]
        return self._like(self.rows[rows], transforms, self._dtype)

    def randomized(self, transform: Transform, ids: torch.Tensor, dtype: torch.dtype) -> "ImagesOnDisk":
        """Return the same images, each to be transformed as it is read. ids: (n,) of the examples."""
        return self._like(self.rows, [*self.transforms, (transform, ids.numpy())], dtype)

    def _like(self, rows: np.ndarray, transforms: Sequence[tuple[Transform, np.ndarray]], dtype: torch.dtype | None) -> "ImagesOnDisk":
        out = ImagesOnDisk(self.source, self.size, rows, transforms, dtype, self.skip_corrupt)
        out._image_shape, out._first = self._image_shape, self._first
        return out

    @property
    def windows(self) -> np.ndarray | None:
        """Return the row group (n,) of each image if the images are to be shuffled within windows of row groups, else None.

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
        return max(1, groups_kept.CACHE * groups // max(1, self.source.size_of(self.rows)))

    def in_chunks(self) -> Iterator[torch.Tensor]:
        """Yield all images in order, a few at a time, decoded in threads."""
        images = self._in_threads(self._image)
        for start in range(0, len(self), _CHUNK):
            out = self._empty(min(_CHUNK, len(self) - start))
            for place in range(len(out)):
                out[place] = next(images)
            yield torch.from_numpy(out)

    def load(self) -> torch.Tensor:
        """Return all images decoded, from the cache folder if they have been decoded before.

        Raises InputError for an image that cannot be read, for mixed sizes, and for files that change meanwhile.
        """
        if self.transforms or (key := self._key("images")) is None:
            images, notes = self._load()
        else:
            images, notes = kept(f"{key}.safetensors", self._read, self._load_unchanged, _write)
        for text in notes:
            warnings.warn(text, stacklevel=2)
        return images

    def _load(self) -> tuple[torch.Tensor, list[str]]:
        """Load the images, and notes of what was changed in reading them."""
        out = self._empty(len(self))
        notes: dict[int, list[str]] = {}

        def image(i: int, data: bytes) -> np.ndarray:
            if self.transforms:
                return self._image(i, data)
            return self._decode(i, data, lambda text: notes.setdefault(i, []).append(text)).transpose(2, 0, 1)

        with Progress("images decoded", len(self), after=QUICK) as shown:
            for i, pixels in enumerate(self._in_threads(image)):
                if len(pixels) > out.shape[1]:
                    out = np.repeat(out, len(pixels), axis=1)  # the first colours among grey images
                out[i] = pixels
                shown.update(i + 1)
        told: dict[str, list[int]] = {}
        for i in sorted(notes):
            for text in notes[i]:
                told.setdefault(text, []).append(i)
        first = {text: self.describe(rows[0]) for text, rows in told.items()}
        return torch.from_numpy(out), [f"{len(r):,} of {len(self):,} images are {t} (first: {first[t]})" for t, r in told.items()]

    def _load_unchanged(self) -> tuple[torch.Tensor, list[str]]:
        before = self.source.stamp()
        found = self._load()
        if self.source.stamp() != before:
            raise InputError(f"{self.describe(0)} or others changed while they were read, expected files at rest")
        return found

    def _read(self, path: Path) -> tuple[torch.Tensor, list[str]]:
        with safe_open(path, "pt") as file:
            images, notes = file.get_tensor("images"), json.loads(file.metadata()["notes"])
        if images.dtype != self.dtype or len(images) != len(self) or images.ndim != 4:
            raise ValueError
        return images, notes

    def unreadable(self) -> list[int]:
        """Return positions of the images that cannot be decoded. Every image is decoded once; the answer is kept in the cache folder."""

        def is_readable(i: int, data: bytes) -> bool:
            try:
                self._image(i, data)
            except Unreadable:
                return False
            return True

        def check(found: object) -> bool:
            return isinstance(found, list) and all(type(i) is int and 0 <= i < len(self) for i in found)

        def compute() -> list[int]:
            found = []
            with Progress("images tried", len(self), after=QUICK) as shown:
                for i, good in enumerate(self._in_threads(is_readable)):
                    found += [] if good else [i]
                    shown.update(i + 1)
            return found

        return self._remembered("unreadable", compute, check)

    def moments(self) -> tuple[list[float], list[float]]:
        """Return mean and standard deviation of each channel, pixels in 0…1; kept in the cache folder.

        Raises InputError for images that are Gaussian already.
        """
        if self.transforms and self.dtype != torch.uint8:
            raise InputError("the images are Gaussian already, expected pixels to take the moments of")

        def compute() -> list[list[float]]:
            with Progress("images measured", len(self), after=QUICK) as shown:
                return [values.tolist() for values in channel_moments(_counted(self.in_chunks(), shown))]

        def check(found: object) -> bool:
            return np.shape(found) == (2, self.shape[1]) and bool(np.isfinite(found).all())  # type: ignore[call-overload, arg-type]  # JSON

        mean, std = compute() if self.transforms else self._remembered("channel-moments", compute, check)
        return mean, std

    def fingerprint(self) -> str:
        """Return a SHA-256 over the encoded bytes of all images, which are read once, and the decoded pixels of 16 of them."""

        def compute() -> str:
            digest = hashlib.sha256()
            with Progress("images read", len(self), after=QUICK) as shown:
                for i, data in enumerate(self._in_threads(lambda _, data: data)):
                    digest.update(f"{len(data)} ".encode() + data)
                    shown.update(i + 1)
            return digest.hexdigest()

        content = self._remembered("content", compute, lambda found: isinstance(found, str))
        digest = hashlib.sha256(f"{content}{self.shape}{self.dtype}".encode())
        digest.update(self[np.unique(np.linspace(0, len(self) - 1, 16).astype(np.int64))].numpy().tobytes())
        return digest.hexdigest()

    def numpy(self) -> NoReturn:
        """Raise InputError: images on disk are no array."""
        n, gigabytes = len(self), self.nbytes / 1e9
        raise InputError(
            f"{n:,} images of {self.shape[3]}x{self.shape[2]} pixels stay on disk, as decoded they take {gigabytes:.1f} GB; expected fewer "
            "(n_train, n_test) or smaller ones (image_size) for what needs them in memory"
        )

    def _remembered(self, what: str, compute: Callable[[], Result], check: Callable[[object], bool]) -> Result:
        """Return compute(), or its last result for the same files, rows and size."""
        key = self._key(what)
        return compute() if key is None else kept_json(f"{key}.json", compute, check)

    def _key(self, what: str) -> str | None:
        """Return the cache key of something made of these images; None: it is not kept."""
        stamp = self.source.stamp()
        if stamp is None:
            return None
        return hashlib.sha256(f"{what} {_READING} {stamp} {self.size} ".encode() + self.rows.tobytes()).hexdigest()[:32]

    def _empty(self, n: int) -> np.ndarray:
        return np.empty((n, *self.shape[1:]), np.float32 if self.dtype == torch.float32 else np.uint8)

    def _in_threads(self, work: Callable[[int, bytes], Result]) -> Iterator[Result]:
        """Yield work(position, encoded bytes) of all images in order. Threads do it; this thread reads row groups."""
        chunk = max(1, min(_CHUNK, _CHUNK_BYTES // max(1, self.nbytes // max(1, len(self)))))
        return in_order(len(self), chunk, self._encoded, work, read_here=self._groups is not None)

    def _image(self, i: int, data: bytes) -> np.ndarray:
        """Return the image (c, h, w) at a position, after the transforms."""
        image = self._decode(i, data, self._warn(i))
        channels = self.shape[1]
        if image.shape[2] > channels:
            raise InputError(
                f"{self.describe(i)} is in colour and {self._first} is grey, expected one kind of images where they "
                "stay on disk, or an image_size, which makes all RGB"
            )
        image = np.broadcast_to(image, (*image.shape[:2], channels)).transpose(2, 0, 1)
        for transform, ids in self.transforms:
            image = transform(np.ascontiguousarray(image), int(ids[i]))
        return image

    def _warn(self, i: int) -> Callable[[str], None]:
        def warn(text: str) -> None:
            if not self._noted:
                self._noted = True
                warnings.warn(f"{self.describe(i)}, and perhaps others, are {text}", stacklevel=2)

        return warn

    def _decode(self, i: int, data: bytes, note: Callable[[str], object] = lambda _: None) -> np.ndarray:
        """Decode an image to (height, width, channels), uint8 or float32."""
        try:
            image = decode_square(data, self.size, note) if self.size else decode_one(data, note)
        except (Unreadable, Refused) as error:
            raise type(error)(f"{self.describe(i)} {error}") from None
        except MemoryError:
            raise InputError(f"{self.describe(i)} needs more memory to be decoded than there is") from None
        is_float = image.dtype == np.float32
        if not self.transforms and self._dtype is not None and is_float != (self._dtype == torch.float32):
            kinds = "8 bits a channel", "16 bits or floats"
            raise InputError(f"{self.describe(i)} has {kinds[is_float]} and others {kinds[not is_float]}, expected one kind of images")
        if self._image_shape and image.shape[:2] != self._image_shape[1:]:
            found, first = f"{image.shape[1]}x{image.shape[0]}", f"{self._image_shape[2]}x{self._image_shape[1]}"
            raise InputError(
                f"images have mixed sizes: {self.describe(i)} is {found} pixels and {self._first} is {first}, "
                "expected one size, or an image_size to bring them to"
            )
        return image

    def _encoded(self, i: int) -> bytes:
        row = int(self.rows[i])
        return self._groups.read(row) if self._groups else self.source.read(row)  # type: ignore[union-attr]  # rows of Parquet have groups


def _counted(chunks: Iterable[torch.Tensor], shown: Progress) -> Iterator[torch.Tensor]:
    """Yield chunks of images, and tell how many have been used."""
    done = 0
    for chunk in chunks:
        yield chunk
        done += len(chunk)
        shown.update(done)


def _write(path: Path, made: tuple[torch.Tensor, list[str]]) -> None:
    images, notes = made
    safetensors.torch.save_file({"images": images}, path, {"notes": json.dumps(notes)})
