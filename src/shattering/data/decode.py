"""Encoded images → uint8 tensors, in threads; decoded arrays are cached on disk."""

import hashlib
import io
import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from PIL import Image, UnidentifiedImageError
from safetensors import SafetensorError

from shattering.errors import InputError, reason

try:
    import simplejpeg
except ImportError:  # optional: the `fast` extra
    simplejpeg = None

UNREADABLE = (UnidentifiedImageError, OSError, ValueError, SyntaxError)  # what decoders raise
_CHUNK = 1000


def cache_folder() -> Path:
    """Where decoded images are kept: `SHATTERING_CACHE`, else the user's cache folder."""
    base = os.environ.get("SHATTERING_CACHE")
    if base:
        return Path(base)
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "shattering"


def decode_one(data: bytes) -> np.ndarray:
    """(height, width, channels) uint8 with 1 channel for grey images, else 3."""
    if simplejpeg is not None and data[:2] == b"\xff\xd8":
        _, _, colorspace, _ = simplejpeg.decode_jpeg_header(data)
        if colorspace in ("Gray", "YCbCr"):
            return simplejpeg.decode_jpeg(data, colorspace="GRAY" if colorspace == "Gray" else "RGB")
    with Image.open(io.BytesIO(data)) as image:
        mode = "L" if image.mode in ("1", "L") else "RGB"
        pixels = np.asarray(image if image.mode == mode else image.convert(mode))
    return pixels[..., None] if pixels.ndim == 2 else pixels


def decode_square(data: bytes, size: int) -> np.ndarray:
    """The central square of an image as (size, size, 3) uint8: what a resize of the short side and a centre crop give.

    Bilinear with antialiasing (Pillow's). A JPEG of at least four times the size is first decoded at a half, a quarter or an
    eighth, as its format offers, but never below twice the size. That is quicker, and changes pixels by 1.7 levels of 255 on
    average (measured on ImageNet's, at 64 and 32 pixels). With and without simplejpeg the pixels are the same. Raises one
    of `UNREADABLE` for what is not an image.
    """
    image = _reduced(data, 2 * size)
    short = min(image.size)
    left, top = (image.width - short) // 2, (image.height - short) // 2
    box = (left, top, left + short, top + short)
    square = image.crop(box) if short == size else image.resize((size, size), Image.Resampling.BILINEAR, box)
    return np.asarray(square)


def _reduced(data: bytes, least: int) -> Image.Image:
    """An RGB image, reduced while decoding (JPEG alone) as far as its short side stays at least `least`."""
    if simplejpeg is not None and data[:2] == b"\xff\xd8":
        with suppress(ValueError):  # what simplejpeg does not take, Pillow may
            header = simplejpeg.decode_jpeg_header(data)
            height, width, colorspace = int(header[0]), int(header[1]), header[2]
            if colorspace in ("Gray", "YCbCr"):
                by = _reduction(min(height, width), least)
                size = (-(-height // by), -(-width // by)) if by > 1 else (0, 0)
                return Image.fromarray(simplejpeg.decode_jpeg(data, "RGB", min_height=size[0], min_width=size[1], min_factor=by))
    with Image.open(io.BytesIO(data)) as image:
        by = _reduction(min(image.size), least)
        if by > 1:
            image.draft("RGB", (image.width // by, image.height // by))
        image.load()
        return image if image.mode == "RGB" else image.convert("RGB")


def _reduction(short: int, least: int) -> int:
    return next(by for by in (8, 4, 2, 1) if by == 1 or short // by >= least)


def decode_images(read: Callable[[int], bytes], n: int, describe: Callable[[int], str]) -> torch.Tensor:
    """Decode n images of one size to (n, channels, height, width) uint8; grey ones join coloured ones as RGB.

    read(i) gives the encoded bytes of image i, describe(i) names it in messages. Raises InputError for
    an image that cannot be decoded and for mixed sizes.
    """

    def chunk(start: int) -> list[np.ndarray]:
        out = []
        for i in range(start, min(start + _CHUNK, n)):
            try:
                out.append(decode_one(read(i)))
            except UNREADABLE as error:
                raise InputError(f"{describe(i)} is not a readable image: {reason(error)[:100]}") from None
            if out[-1].shape[:2] != out[0].shape[:2]:
                raise InputError(_mixed(describe(i), out[-1], describe(start), out[0]))
        return out

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        chunks = list(pool.map(chunk, range(0, n, _CHUNK)))
    first = chunks[0][0]
    channels = max(image.shape[2] for part in chunks for image in part)
    images = torch.empty((n, *first.shape[:2], channels), dtype=torch.uint8)
    target = images.numpy()
    row = 0
    for part in chunks:
        for image in part:
            if image.shape[:2] != first.shape[:2]:
                raise InputError(_mixed(describe(row), image, describe(0), first))
            target[row] = image  # a grey image is broadcast over the channels
            row += 1
        part.clear()
    return images.permute(0, 3, 1, 2).contiguous()


def _mixed(name: str, image: np.ndarray, other: str, first: np.ndarray) -> str:
    return (
        f"images have mixed sizes: {other} is {first.shape[1]}x{first.shape[0]} and {name} is "
        f"{image.shape[1]}x{image.shape[0]} pixels, expected one size"
    )


def files_key(files: Sequence[Path]) -> str:
    """What the decoded images of these very files (same path, size and time of change) are cached under."""
    stamp = [f"{file.resolve()} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in files]
    return hashlib.sha256("\n".join(["1", *stamp]).encode()).hexdigest()[:32]


def cached(key: str, decode: Callable[[], torch.Tensor]) -> torch.Tensor:
    """decode(), or what it gave last time under this key."""
    path = cache_folder() / f"{key}.safetensors"
    if path.exists():
        try:
            return safetensors.torch.load_file(path)["images"]
        except (SafetensorError, KeyError, OSError):
            path.unlink(missing_ok=True)  # a damaged cache file is made anew
    images = decode()
    aside = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        safetensors.torch.save_file({"images": images}, aside)
        os.replace(aside, path)
    except OSError as error:
        with suppress(OSError):
            aside.unlink()
        warnings.warn(f"decoded images are not cached in {path.parent}: {error.strerror}", stacklevel=2)
    return images
