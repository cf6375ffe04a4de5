"""What becomes of a picture, by its format and mode: the pixels that must come out, or the sentence."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from shattering.data import decode
from shattering.data.decode import decode_one, decode_square
from shattering.data.pixels import Refused, Unreadable, formats, suffixes

RGB = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
GREY = RGB[..., 0]
DEEP = RGB.astype(np.uint16)[..., 0] * 257
ALPHA = np.full((6, 8), 255, np.uint8)
HOLE = np.where(np.arange(48).reshape(6, 8) == 7, 254, 255).astype(np.uint8)
GREY3 = np.repeat(GREY[..., None], 3, 2)


def saved(image: Image.Image, kind: str, **options) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def of(array: np.ndarray, mode: str | None = None) -> Image.Image:
    image = Image.fromarray(array)
    return image if mode is None else image.convert(mode)


def palette() -> Image.Image:
    image = Image.fromarray(GREY % 4).copy()
    image = image.convert("P")
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120])
    return image


PALETTE = np.asarray(palette().convert("RGB"))
BITS = (GREY > 127).astype(np.uint8) * 255


def turned(kind: str, orientation: int, array=RGB, **options) -> bytes:
    exif = Image.Exif()
    exif[274] = orientation
    return saved(of(array), kind, exif=exif, **options)


def png(bits: int, colours: int, rows: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of 2x2 pixels."""
    parts = [(b"IHDR", struct.pack(">IIBBBBB", 2, 2, bits, colours, 0, 0, 0)), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    body = b"".join(struct.pack(">I", len(d)) + name + d + struct.pack(">I", zlib.crc32(name + d)) for name, d in parts)
    return b"\x89PNG\r\n\x1a\n" + body


def jpeg2000_of_12_bits() -> bytes:
    """An 8-bit one that says 12 in its size segment."""
    data = bytearray(saved(of(RGB), "JPEG2000"))
    start = data.find(b"\xff\x4f\xff\x51")
    data[start + 42 : start + 51 : 3] = b"\x0b" * 3
    return bytes(data)


EXACT = {
    "grey PNG": (saved(of(GREY), "PNG"), GREY[..., None]),
    "colour PNG": (saved(of(RGB), "PNG"), RGB),
    "1 bit PNG": (saved(of(BITS, "1"), "PNG"), BITS[..., None]),
    "4 bits of grey": (png(4, 0, b"\0\x0f\0\xf0"), np.array([[[0], [255]], [[255], [0]]])),
    "palette PNG": (saved(palette(), "PNG"), PALETTE),
    "palette GIF": (saved(palette(), "GIF"), PALETTE),
    "opaque palette": (saved(palette(), "PNG", transparency=200), PALETTE),
    "opaque LA": (saved(Image.merge("LA", [of(GREY), of(ALPHA)]), "PNG"), GREY[..., None]),
    "opaque RGBA": (saved(of(np.dstack([RGB, ALPHA])), "PNG"), RGB),
    "opaque RGBA TIFF": (saved(of(np.dstack([RGB, ALPHA])), "TIFF"), RGB),
    "opaque RGBA WebP": (saved(of(np.dstack([RGB, ALPHA])), "WEBP", lossless=True), RGB),
    "an unused transparent colour": (png(8, 2, b"\0" + bytes(6) + b"\0" + b"\xff" * 6, (b"tRNS", bytes([0, 1, 0, 2, 0, 3]))), None),
    "BMP": (saved(of(RGB), "BMP"), RGB),
    "grey BMP": (saved(of(GREY), "BMP"), GREY[..., None]),
    "TIFF": (saved(of(RGB), "TIFF"), RGB),
    "grey TIFF": (saved(of(GREY), "TIFF", compression="tiff_lzw"), GREY[..., None]),
    "WebP": (saved(of(RGB), "WEBP", lossless=True), RGB),
    "PPM": (saved(of(RGB), "PPM"), RGB),
    "PGM": (saved(of(GREY), "PPM"), GREY[..., None]),
    "TGA": (saved(of(RGB), "TGA"), RGB),
    "SGI": (saved(of(RGB), "SGI"), RGB),
    "PCX": (saved(of(RGB), "PCX"), RGB),
    "JPEG 2000": (saved(of(RGB), "JPEG2000"), RGB),
    **{f"PNG turned by EXIF {k}": (turned("PNG", k), None) for k in range(1, 9)},
    **{f"TIFF turned by EXIF {k}": (saved(of(RGB), "TIFF", tiffinfo={274: k}), None) for k in (1, 6, 7)},
}
_MOVED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}


@pytest.mark.parametrize("name", EXACT)
def test_what_8_bits_hold_comes_out_exactly(name):
    data, expected = EXACT[name]
    if "turned" in name:
        expected = _MOVED[int(name[-1])](RGB)
    elif expected is None:
        expected = np.array([[[0] * 3] * 2, [[255] * 3] * 2])
    found = decode_one(data)
    assert found.dtype == np.uint8
    assert found.shape == expected.shape
    assert (found == expected).all()


FINE = {
    "16-bit grey PNG": (saved(of(DEEP), "PNG"), DEEP / 65535),
    "16-bit grey TIFF": (saved(of(DEEP), "TIFF"), DEEP / 65535),
    "16-bit numbers in 32": (saved(Image.fromarray(DEEP.astype(np.int32)), "TIFF"), DEEP / 65535),
    "float TIFF": (saved(Image.fromarray(GREY.astype(np.float32) / 7), "TIFF"), GREY.astype(np.float32) / 7),
    "16-bit PGM": (b"P5 2 2 65535\n" + bytes([0, 0, 0, 1, 128, 0, 255, 255]), np.array([[0, 1], [32768, 65535]]) / 65535),
}


@pytest.mark.parametrize("name", FINE)
def test_16_bits_and_floats_keep_all_their_levels(name):
    data, expected = FINE[name]
    found = decode_one(data)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found[..., 0], expected.astype(np.float32))
    assert decode_square(data, 2).shape == (2, 2, 3)


REFUSED = {
    "16-bit colour PNG": (png(16, 2, b"\0" + bytes(12) + b"\0" + bytes(12)), "has more than 8 bits a channel, which 8 bits would cut"),
    "16-bit LA PNG": (png(16, 4, b"\0" + bytes(8) + b"\0" + bytes(8)), "has more than 8 bits a channel"),
    "16-bit RGBA PNG": (png(16, 6, b"\0" + b"\xff" * 16 + b"\0" + b"\xff" * 16), "has more than 8 bits a channel"),
    "32-bit TIFF": (saved(Image.fromarray(DEEP.astype(np.int32) + 2**16), "TIFF"), r"has pixels of .*, expected 0…65535"),
    "NaN TIFF": (saved(Image.fromarray(np.full((2, 2), np.nan, np.float32)), "TIFF"), "has NaN or infinite pixels, expected finite"),
    "16-bit PPM": (b"P6 2 2 1000\n" + bytes(24), "has more than 8 bits a channel"),
    "12-bit JPEG 2000": (jpeg2000_of_12_bits(), "has more than 8 bits a channel"),
    "transparent RGBA": (saved(of(np.dstack([RGB, HOLE])), "PNG"), r"has transparent pixels, .*: paste them on a background"),
    "transparent LA": (saved(Image.merge("LA", [of(GREY), of(HOLE)]), "PNG"), "has transparent pixels"),
    "transparent palette": (saved(palette(), "PNG", transparency=2), "has transparent pixels"),
    "transparent GIF": (saved(palette(), "GIF", transparency=2), "has transparent pixels"),
    "a used transparent colour": (png(8, 2, b"\0" + bytes(6) + b"\0" + bytes(6), (b"tRNS", bytes(6))), "has transparent pixels"),
    "a used transparent grey": (png(8, 0, b"\0\1\2\0\3\4", (b"tRNS", b"\0\3")), "has transparent pixels"),
    "animated GIF": (saved(of(GREY), "GIF", save_all=True, append_images=[of(GREY.T.copy().reshape(6, 8))]), "has 2 frames, expected one"),
    "animated PNG": (saved(of(GREY), "PNG", save_all=True, append_images=[of(255 - GREY)]), "has 2 frames, expected one picture"),
    "animated WebP": (saved(of(RGB), "WEBP", save_all=True, append_images=[of(255 - RGB)]), "has 2 frames, expected one picture"),
    "TIFF of pages": (saved(of(RGB), "TIFF", save_all=True, append_images=[of(RGB)] * 2), "has 3 frames, expected one picture"),
    "a fourth channel": (saved(Image.merge("RGBX", [of(GREY)] * 4), "TIFF"), "has a channel beside its colours that is not transparency"),
    "LAB TIFF": (saved(Image.new("LAB", (2, 2)), "TIFF"), "is of mode LAB, expected grey or RGB"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_be_changed_is_refused(name):
    data, message = REFUSED[name]
    for read in (decode_one, lambda data: decode_square(data, 4)):
        with pytest.raises(Refused, match=message) as caught:
            read(data)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is not a readable image: it is empty"),
        (b"\0" * 1000, "is not a readable image: its format is not known"),
        (b"no image\n" * 9, "is not a readable image: its format is not known"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n", "is not a readable image: its format is not known"),
        (saved(of(RGB), "PNG")[:-40], "is not a readable image: "),
        (saved(of(RGB), "JPEG")[:-40], "is not a readable image: "),
        (saved(of(RGB), "JPEG")[:20], "is not a readable image: "),
        (saved(of(RGB), "GIF")[:-40], "is not a readable image: "),
        (saved(of(RGB), "WEBP")[:-40], "is not a readable image: "),
        (saved(of(RGB), "TIFF")[:-200], "is not a readable image: "),
        (saved(of(RGB), "BMP").replace(struct.pack("<ii", 8, 6), struct.pack("<ii", 60000, 60000)), "is not a readable image: .*exceeds"),
        (b"\x89PNG\r\n\x1a\n" + b"\xff" * 99, "is not a readable image: "),
    ],
)
def test_what_is_no_image_is_told_so_by_either_decoder(monkeypatch, data, message):
    for fast in (decode.simplejpeg, None):
        monkeypatch.setattr(decode, "simplejpeg", fast)
        for read in (decode_one, lambda data: decode_square(data, 4)):
            with pytest.raises(Unreadable, match=f"^{message}") as caught:
                read(data)
            assert "\n" not in str(caught.value)
            assert "0x" not in str(caught.value), "no address of an object"


def test_a_jpeg_of_too_many_pixels_is_refused_by_either_decoder(monkeypatch):
    data = saved(of(np.zeros((64, 64, 3), np.uint8)), "JPEG")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)
    for fast in (decode.simplejpeg, None):
        monkeypatch.setattr(decode, "simplejpeg", fast)
        with pytest.raises(Unreadable, match=r"is not a readable image: Image size \(4096 pixels\) exceeds limit of 4000"):
            decode_one(data)


def jpegs() -> dict[str, bytes]:
    big = np.kron(RGB, np.ones((9, 9, 1), np.uint8))
    plain = {"colour": saved(of(big), "JPEG"), "grey": saved(of(big[..., 0]), "JPEG"), "CMYK": saved(of(big, "CMYK"), "JPEG")}
    turned_ones = {f"turned by EXIF {k}": turned("JPEG", k, big) for k in (3, 6, 8)}
    head, rest = plain["colour"][:2], plain["colour"][2:]
    odd = {
        "EXIF that is none": head + b"\xff\xe1" + struct.pack(">H", 40) + b"Exif\0\0" + b"\xff" * 32 + rest,
        "bytes between its segments": head + rest[: rest.find(b"\xff\xdb")] + b"\0\0\0" + rest[rest.find(b"\xff\xdb") :],
        "two pictures": saved(of(big), "MPO", save_all=True, append_images=[of(255 - big)]),
    }
    return plain | turned_ones | odd


@pytest.mark.parametrize("name", jpegs())
def test_either_decoder_gives_the_same_pixels(monkeypatch, name):
    pytest.importorskip("simplejpeg")
    data = jpegs()[name]

    def read(decoder):
        try:
            return decoder(data).astype(int)
        except (Refused, Unreadable) as error:
            return str(error)

    for decoder in (decode_one, lambda data: decode_square(data, 6), lambda data: decode_square(data, 40)):
        with monkeypatch.context() as without:
            fast = read(decoder)
            without.setattr(decode, "simplejpeg", None)
            slow = read(decoder)
        assert type(fast) is type(slow)
        if isinstance(fast, str):
            assert fast == slow
        else:
            assert fast.shape == slow.shape
            assert np.abs(fast - slow).max() <= 1


@pytest.mark.parametrize("k", [3, 6, 8])
@pytest.mark.parametrize("with_simplejpeg", [True, False])
def test_a_photograph_is_turned_as_it_is_meant_to_be_seen(monkeypatch, k, with_simplejpeg):
    if not with_simplejpeg:
        monkeypatch.setattr(decode, "simplejpeg", None)
    ramp = np.tile(np.arange(64, dtype=np.uint8)[:, None, None] * 3, (1, 96, 3))  # dark above
    found = decode_one(turned("JPEG", k, ramp, quality=95)).astype(int)
    expected = _MOVED[k](ramp)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 4
    square = decode_square(turned("JPEG", k, ramp, quality=95), 8).astype(int)
    steps = np.diff(square[..., 0], axis=0 if k == 3 else 1)
    assert (steps < 0).all() if k in (3, 6) else (steps > 0).all()


def test_a_conversion_that_changes_pixels_is_noted():
    notes: list[str] = []
    data = saved(of(RGB, "CMYK"), "TIFF")
    assert (decode_one(data, notes.append) == np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))).all()
    decode_square(data, 4, notes.append)
    assert notes == ["CMYK, read as RGB by Pillow's formula, without a colour profile"] * 2
    decode_one(saved(of(RGB), "PNG"), notes.append)
    assert len(notes) == 2


def test_formats_are_pillows_but_for_those_that_hold_no_pixels():
    assert {"PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM"} <= set(formats())
    assert not {"EPS", "PDF", "HDF5", "WMF"} & set(formats())
    assert {".png", ".jpg", ".jpeg", ".jpe", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm"} <= suffixes()
    assert not {".eps", ".pdf", ".h5", ".txt"} & suffixes()
