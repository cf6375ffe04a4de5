"""Read pictures as pixels: grey or RGB of 8 bits, or grey of 16 bits or floats. A picture that this would change is refused."""

import re
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

from shattering.errors import InputError

_NOT_PICTURES = ("BUFR", "EPS", "GRIB", "HDF5", "IPTC", "MPEG", "PDF", "WMF")  # no pixels, or another program is run to make some
_FIRST_IS_WHOLE = ("MPO", "PSD")  # formats whose further frames are previews or layers of the first
_ORIENTATION, _BITS_PER_SAMPLE, _EXTRA_SAMPLES = 274, 258, 338  # EXIF's tag, and two of TIFF's
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
Note = Callable[[str], object]  # is called with what reading changed, in words that go after "is"


class Unreadable(InputError):
    """Bytes that are no image, or only a part of one: `skip_corrupt` leaves them out. The message goes after the image's name."""


class Refused(InputError):
    """An image that would be changed by reading it. The message goes after the image's name."""


@cache
def formats() -> tuple[str, ...]:
    """Return Pillow's names of the formats of pictures that it reads, in its order."""
    Image.init()
    return tuple(name for name in Image.ID if name in Image.OPEN and name not in _NOT_PICTURES)


@cache
def suffixes() -> frozenset[str]:
    """Return the endings of the names of files in these formats, with the dot, in lower case."""
    known = formats()
    return frozenset(suffix for suffix, name in Image.EXTENSION.items() if name in known)


def is_too_large(width: int, height: int) -> bool:
    """Return whether Pillow refuses to decode so many pixels, as they may be an attack on memory."""
    return Image.MAX_IMAGE_PIXELS is not None and width * height > 2 * Image.MAX_IMAGE_PIXELS


def check_whole(image: Image.Image, data: bytes) -> None:
    """Raise Refused for an opened picture whose frames, channels or bits 8-bit pixels would not all hold.

    Where Pillow does not say how many bits a channel has, it is read from the encoded data.
    """
    frames = 1 if image.format in _FIRST_IS_WHOLE else getattr(image, "n_frames", 1)
    if frames > 1:
        raise Refused(f"has {frames} frames, expected one picture: save the frame that is meant")
    if image.mode == "RGBX" or 0 in getattr(image, "tag_v2", {}).get(_EXTRA_SAMPLES, ()):
        raise Refused("has a channel beside its colours that is not transparency, expected grey or RGB, or arrays, as (X, y)")
    if _is_deep(image, data):
        raise Refused(f"has more than 8 bits a channel, {_TOO_FINE}")


def deep(image: Image.Image) -> np.ndarray | None:
    """Return a grey picture of 16 bits or of floats as (height, width, 1) float32; None for any other picture.

    16 bits become 0…1, which float32 holds exactly enough to tell all of them apart; floats stay as they are. Raises Refused for whole
    numbers beyond 16 bits, and for NaN or infinite pixels.
    """
    if image.mode == "F":
        pixels = np.asarray(image, dtype=np.float32)
        if not np.isfinite(pixels).all():
            raise Refused("has NaN or infinite pixels, expected finite ones")
        return pixels[..., None]
    if image.mode == "I" or image.mode.startswith("I;16"):
        pixels = np.asarray(image).astype(np.int64)
        if pixels.min() < 0 or pixels.max() > _DEEPEST:
            raise Refused(f"has pixels of {pixels.min()}…{pixels.max()}, expected 0…{_DEEPEST}, or arrays of floats in 0…1, as (X, y)")
        return (pixels / _DEEPEST).astype(np.float32)[..., None]
    return None


_DEEPEST = 2**16 - 1
_TOO_FINE = "which 8 bits would cut; expected pictures of 8 bits, or arrays of floats in 0…1, as (X, y)"


def plain(image: Image.Image, note: Note) -> Image.Image:
    """Return a picture in mode L or RGB with the same pixels. Raises Refused where there are no such.

    1 bit and palettes are looked up; transparency goes if there is none to be seen. note: is told of CMYK, of which RGB is a conversion.
    """
    mode = image.mode
    if "transparency" in image.info or mode in ("LA", "La", "PA", "RGBA", "RGBa"):
        return _opaque(image)
    if mode in ("L", "RGB"):
        return image
    if mode == "1":
        return image.convert("L")
    if mode == "P":
        return image.convert("RGB")
    if mode == "CMYK":
        note("CMYK, read as RGB by Pillow's formula, without a colour profile")
        return image.convert("RGB")
    raise Refused(f"is of mode {mode}, expected grey or RGB, or arrays, as (X, y)")


def upright(image: Image.Image, header: Image.Image) -> Image.Image:
    """Return a picture as it is meant to be seen: turned and mirrored as its EXIF orientation says, which moves pixels and changes none.

    header: what holds the EXIF data.
    """
    method = _UPRIGHT.get(_orientation(header))
    return image if method is None else image.transpose(method)


def as_array(image: Image.Image) -> np.ndarray:
    """Return a picture in mode L or RGB as (height, width, channels) uint8."""
    pixels = np.asarray(image)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _opaque(image: Image.Image) -> Image.Image:
    seen = image.convert("LA").convert("RGBA") if image.mode == "La" else image.convert("RGBA")
    lowest, _ = seen.getchannel("A").getextrema()
    if lowest != 255:
        raise Refused("has transparent pixels, whose colour is open; expected opaque pictures: paste them on a background")
    return seen.getchannel("R") if image.mode in ("1", "L", "LA", "La") else seen.convert("RGB")


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # what cannot be parsed says nothing; many kinds of errors
        return 1


def _is_deep(image: Image.Image, data: bytes) -> bool:
    if any(bits > 8 for bits in getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, ())):
        return True
    if image.format == "JPEG2000":
        start = data.find(b"\xff\x4f\xff\x51")  # the size segment: bits of each channel, less one, at its end
        channels = int.from_bytes(data[start + 40 : start + 42], "big")
        return any((bits & 0x7F) > 7 for bits in data[start + 42 : start + 42 + 3 * channels : 3])
    if image.format == "AVIF":
        start = data.find(b"av1C")
        return start >= 0 and bool(data[start + 6] & 0x40)
    return any(_is_deep_tile(codec, args) for codec, _, _, args in getattr(image, "tile", ()))


def _is_deep_tile(codec: str, args: Any) -> bool:
    parts: tuple[Any, ...] = args if isinstance(args, tuple) else (args,)
    if codec.startswith("ppm"):
        return parts[-1] > 255  # the largest value
    if codec == "sgi_rle":
        return parts[-1] == 2  # bytes
    return any(isinstance(part, str) and re.search(r";(12|16|32)[BLN]", part) is not None for part in parts)
