"""Decode one image to pixels. simplejpeg, if it is installed, gives the same pixels as Pillow, and is faster."""

import io
from contextlib import suppress

import numpy as np
from PIL import Image, UnidentifiedImageError

from shattering.data.pixels import Note, Refused, Unreadable, as_array, check_whole, deep, formats, is_too_large, plain, upright
from shattering.errors import reason

try:
    import simplejpeg
except ImportError:  # optional: the `fast` extra
    simplejpeg = None

_HEAD = 1 << 18  # bytes of a JPEG within which its EXIF data begin


def decode_one(data: bytes, note: Note = lambda _: None) -> np.ndarray:
    """Decode an image to (height, width, channels), with 1 channel for grey images, else 3: uint8, or float32 as `pixels.deep` has it.

    note: is told what was changed in reading. Raises `Unreadable` for what is no image, and `Refused` for what would be changed without a
    word; their messages go after the image's name.
    """
    found = _decoded(data, None, note)
    return found if isinstance(found, np.ndarray) else as_array(found)


def decode_square(data: bytes, size: int, note: Note = lambda _: None) -> np.ndarray:
    """Return the central square of an image as (size, size, 3), uint8 or float32: what a resize of the short side and a crop give.

    Bilinear with antialiasing (Pillow's). A JPEG of at least four times the size is first decoded at a half, a quarter or an
    eighth, as its format offers, but never below twice the size. That is quicker, and changes pixels by 1.7 levels of 255 on
    average (measured on ImageNet's, at 64 and 32 pixels). With and without simplejpeg the pixels are the same. Raises as `decode_one`.

    Example:
        >>> file = io.BytesIO()
        >>> Image.new("RGB", (80, 60), "red").save(file, "PNG")
        >>> decode_square(file.getvalue(), 32).shape
        (32, 32, 3)
    """
    found = _decoded(data, 2 * size, note)
    is_deep = isinstance(found, np.ndarray) and found.dtype == np.float32
    image = Image.fromarray(found.squeeze(2) if found.shape[2] == 1 else found) if isinstance(found, np.ndarray) else found
    short = min(image.size)
    left, top = (image.width - short) // 2, (image.height - short) // 2
    box = (left, top, left + short, top + short)
    image = image if image.mode == "RGB" or is_deep else image.convert("RGB")
    square = image.crop(box) if short == size else image.resize((size, size), Image.Resampling.BILINEAR, box)
    return np.repeat(np.asarray(square)[..., None], 3, axis=2) if is_deep else np.asarray(square)


def _decoded(data: bytes, least: int | None, note: Note) -> Image.Image | np.ndarray:
    """Return an upright picture, grey or RGB; reduced while decoding (JPEG alone) as far as its short side stays at least `least`."""
    try:
        found = _by_simplejpeg(data, least)
        return _by_pillow(data, least, note) if found is None else found
    except (Unreadable, Refused, MemoryError):
        raise
    except UnidentifiedImageError:
        why = "its format is not known" if data else "it is empty"
    except Exception as error:  # decoders raise many kinds
        why = reason(error)[:100]
    raise Unreadable(f"is not a readable image: {why}")


def _by_simplejpeg(data: bytes, least: int | None) -> np.ndarray | Image.Image | None:
    """Decode by simplejpeg; None for what it does not take, which Pillow may."""
    if simplejpeg is None or data[:2] != b"\xff\xd8":
        return None
    with suppress(ValueError):
        height, width, colorspace, _ = simplejpeg.decode_jpeg_header(data)
        if colorspace not in ("Gray", "YCbCr") or is_too_large(int(width), int(height)):
            return None
        by = _reduction(min(int(height), int(width)), least)
        size = (-(-int(height) // by), -(-int(width) // by)) if by > 1 else (0, 0)
        wanted = "GRAY" if colorspace == "Gray" else "RGB"
        pixels = simplejpeg.decode_jpeg(data, wanted, min_height=size[0], min_width=size[1], min_factor=by)
        head = data[:_HEAD]
        if b"Exif\0\0" not in head and b"tiff:Orientation" not in head:
            return pixels
        with Image.open(io.BytesIO(data), formats=formats()) as header:
            return upright(Image.fromarray(pixels.squeeze(2) if wanted == "GRAY" else pixels), header)
    return None


def _by_pillow(data: bytes, least: int | None, note: Note) -> Image.Image | np.ndarray:
    with Image.open(io.BytesIO(data), formats=formats()) as image:
        if image.mode[0] in "IF" and getattr(image, "n_frames", 1) == 1:
            return _deep(upright(image, image))
        check_whole(image, data)
        by = _reduction(min(image.size), least)
        if by > 1:
            image.draft(None, (image.width // by, image.height // by))  # type: ignore[arg-type]  # the stub lacks None
        image.load()
        return upright(plain(image, note), image)


def _deep(image: Image.Image) -> np.ndarray:
    pixels = deep(image)
    if pixels is None:
        raise Refused(f"is of mode {image.mode}, expected grey or RGB, or arrays, as (X, y)")
    return pixels


def _reduction(short: int, least: int | None) -> int:
    return 1 if least is None else next(by for by in (8, 4, 2, 1) if by == 1 or short // by >= least)
