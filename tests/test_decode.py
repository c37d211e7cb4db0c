"""Decoding one file: colours, orientation, framing, refusals, and mutated bytes."""

import re
import resource
import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from cdlib.data.decode import UnreadableImageError, decode

COLOUR = (200, 30, 90)


def encoded(image: Image.Image, form: str, **options) -> bytes:
    file = BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def solid(mode: str, colour) -> Image.Image:
    return Image.new(mode, (40, 30), colour)


def grey16(form: str, dtype: str, value: int) -> bytes:
    return encoded(Image.fromarray(np.full((30, 40), value, dtype)), form)


def over_white(colour: int, alpha: int) -> int:
    return round((colour * alpha + 255 * (255 - alpha)) / 255)


def photograph(side: int = 48) -> Image.Image:
    """Smooth and noisy parts, so that every encoder has something to write."""
    rng = np.random.default_rng(3)
    ramp = np.linspace(0, 200, side)[:, None, None] + rng.integers(0, 55, (side, side, 3))
    return Image.fromarray(ramp.astype(np.uint8))


half_blend = tuple(over_white(c, 51) for c in COLOUR)
CASES = {
    "png": (encoded(solid("RGB", COLOUR), "PNG"), COLOUR),
    "bmp": (encoded(solid("RGB", COLOUR), "BMP"), COLOUR),
    "tiff": (encoded(solid("RGB", COLOUR), "TIFF"), COLOUR),
    "webp": (encoded(solid("RGB", COLOUR), "WEBP", lossless=True), COLOUR),
    "jpeg": (encoded(solid("RGB", COLOUR), "JPEG", quality=95), COLOUR),
    "grey png": (encoded(solid("L", 77), "PNG"), (77,) * 3),
    "grey jpeg": (encoded(solid("L", 77), "JPEG"), (77,) * 3),
    "grey, alpha": (encoded(solid("LA", (100, 128)), "PNG"), (over_white(100, 128),) * 3),
    "bilevel": (encoded(solid("1", 1), "PNG"), (255,) * 3),
    "alpha": (encoded(solid("RGBA", (*COLOUR, 51)), "PNG"), half_blend),
    "alpha tiff": (encoded(solid("RGBA", (*COLOUR, 51)), "TIFF"), half_blend),
    "invisible": (encoded(solid("RGBA", (*COLOUR, 0)), "PNG"), (255,) * 3),
    "alpha webp": (encoded(solid("RGBA", (*COLOUR, 51)), "WEBP", lossless=True), half_blend),
    "palette": (encoded(solid("RGB", COLOUR).quantize(4), "PNG"), COLOUR),
    "palette, see-through": (
        encoded(solid("RGB", COLOUR).quantize(4), "PNG", transparency=bytes([0] * 4)),
        (255,) * 3,
    ),
    "see-through colour": (
        encoded(solid("RGB", COLOUR), "PNG", transparency=COLOUR),
        (255,) * 3,
    ),
    "cmyk jpeg": (encoded(solid("CMYK", (0, 255, 255, 0)), "JPEG", quality=95), (255, 0, 0)),
    "cmyk tiff": (encoded(solid("CMYK", (255, 0, 0, 51)), "TIFF"), (0, 204, 204)),
    "16-bit png": (grey16("PNG", "<u2", 140 * 257), (140,) * 3),
    "16-bit tiff": (grey16("TIFF", "<u2", 140 * 257), (140,) * 3),
    "16-bit tiff, big-endian": (grey16("TIFF", ">u2", 140 * 257), (140,) * 3),
}


@pytest.mark.parametrize("name", CASES)
def test_colours(name):
    data, expected = CASES[name]
    image = decode(data, 16)
    assert image.shape == (16, 16, 3)
    assert image.dtype == np.uint8
    tolerance = 4 if "jpeg" in name else 1
    assert np.abs(image.astype(int) - expected).max() <= tolerance


def test_16_bits_are_scaled_not_clipped():
    ramp = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    image = decode(encoded(Image.fromarray(ramp), "PNG"), 256)
    assert (image == np.round(ramp / 257)[..., None]).all()


@pytest.mark.filterwarnings("error")
def test_damaged_metadata_is_no_reason_to_refuse():
    damaged = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\xff\0\0\0\xff\xff\0\0"
    sound = encoded(photograph(), "JPEG")
    assert (decode(encoded(photograph(), "JPEG", exif=damaged), 16) == decode(sound, 16)).all()


# What a camera stores, made from the upright picture (EXIF 2.3, tag 274).
STORED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[::-1],
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a.swapaxes(0, 1)[:, ::-1],
}


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", STORED)
def test_orientation(orientation, form):
    upright = np.zeros((32, 48, 3), np.uint8)  # wide: the crop must follow the turn
    upright[:16, :24], upright[:16, 24:] = (255, 0, 0), (0, 255, 0)
    upright[16:, :24], upright[16:, 24:] = (0, 0, 255), (255, 255, 255)
    exif = Image.Exif()
    exif[274] = orientation
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](upright)))
    options = {"lossless": True} if form == "WEBP" else {"quality": 95} if form == "JPEG" else {}
    image = decode(encoded(stored, form, exif=exif, **options), 32)
    corners = image[[4, 4, 27, 27], [4, 27, 4, 27]].astype(int)
    expected = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)]
    assert np.abs(corners - expected).max() <= 8


@pytest.mark.parametrize("turn", [0, 1])
def test_the_centre_is_kept(turn):
    tall = np.zeros((60, 20, 3), np.uint8)
    tall[20:40] = (0, 255, 0)
    image = Image.fromarray(np.rot90(tall, turn).copy())
    assert (decode(encoded(image, "PNG"), 20) == (0, 255, 0)).all()


def test_an_image_of_the_right_size_is_not_touched():
    image = photograph()
    assert (decode(encoded(image, "PNG"), 48) == np.asarray(image)).all()
    wider = Image.new("RGB", (59, 48))
    wider.paste(image, (5, 0))
    assert (decode(encoded(wider, "PNG"), 48) == np.asarray(image)).all()


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_shrinking_averages(form):
    board = (np.indices((512, 512)).sum(0) % 2 * 255).astype(np.uint8)
    image = decode(
        encoded(Image.fromarray(board), form, **{"quality": 95} if form == "JPEG" else {}), 32
    )
    assert np.abs(image.astype(int) - 127).max() <= 2


def test_reading_a_large_jpeg_at_a_part_of_its_size_costs_no_sharpness():
    large = encoded(photograph(1000), "JPEG")
    whole = encoded(Image.open(BytesIO(large)).convert("RGB"), "PNG")
    error = np.abs(decode(large, 100).astype(int) - decode(whole, 100))
    assert error.mean() < 0.5
    assert error.max() < 4


@pytest.mark.parametrize("form", ["PNG", "WEBP", "TIFF"])
def test_first_frame(form):
    frames = [solid("RGB", c) for c in ((255, 0, 0), (0, 255, 0))]
    options = {"lossless": True} if form == "WEBP" else {}
    data = encoded(frames[0], form, save_all=True, append_images=frames[1:], **options)
    assert np.abs(decode(data, 8).astype(int) - (255, 0, 0)).max() <= 1


def test_from_a_path(tmp_path):
    path = tmp_path / "é a.png"
    path.write_bytes(encoded(photograph(), "PNG"))
    assert (decode(path, 16) == decode(path.read_bytes(), 16)).all()


def png_of(width: int, height: int) -> bytes:
    """A PNG whose head claims any size, with checksums that are right."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = (chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(b"\0" * 8)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


jpeg, png = encoded(photograph(), "JPEG"), encoded(photograph(), "PNG")
REFUSED = {
    "empty": (b"", "not a JPEG"),
    "text": (b"this is not a photograph\n" * 50, "not a JPEG"),
    "gif": (encoded(photograph(), "GIF"), "not a JPEG"),
    "cut jpeg": (jpeg[:-300], "truncated"),
    "cut png": (png[: len(png) // 2], "truncated"),
    "no pixels": (png_of(0, 5), "not a JPEG"),
    "bomb": (png_of(10_000, 10_000), "more than 89,478,485 pixels"),
    "larger bomb": (png_of(100_000, 100_000), "more than 89,478,485 pixels"),
    "float": (encoded(Image.fromarray(np.ones((9, 9), np.float32)), "TIFF"), "32-bit grey"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.filterwarnings("error")
def test_refusals(name):
    data, reason = REFUSED[name]
    with pytest.raises(UnreadableImageError, match=re.escape(reason)) as caught:
        decode(data, 16)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) <= 130


def test_a_missing_file_and_a_folder(tmp_path):
    with pytest.raises(UnreadableImageError, match="No such file"):
        decode(tmp_path / "gone.jpg", 16)
    with pytest.raises(UnreadableImageError):
        decode(tmp_path, 16)


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """Bytes changed, cut off, cut out, doubled or put in; more often in the head."""
    content = bytearray(data)
    for _ in range(rng.integers(1, 6)):
        end = len(content) if rng.random() < 0.5 else min(len(content), 200)
        place, length = int(rng.integers(end)), int(rng.integers(1, 40))
        match rng.integers(6):
            case 0 | 1 | 2:
                content[place] = rng.integers(256)
            case 3:
                del content[place : place + length]
            case 4:
                content[place:place] = content[place : place + length]
            case 5:
                content[place:place] = rng.bytes(length)
        if not content:
            break
    return bytes(content[: rng.integers(len(content) + 1)] if rng.random() < 0.15 else content)


def test_mutated_files_decode_or_are_refused():
    exif = Image.Exif()
    exif[274] = 6
    image = photograph()
    seeds = [
        encoded(image, "JPEG", exif=exif),
        encoded(image, "JPEG", progressive=True),
        encoded(image.convert("CMYK"), "JPEG"),
        encoded(image, "PNG", exif=exif),
        encoded(image.quantize(16), "PNG", transparency=0),
        encoded(image, "WEBP"),
        encoded(image, "WEBP", lossless=True, exif=exif),
        encoded(image, "TIFF", compression="tiff_lzw"),
        encoded(image, "BMP"),
    ]

    def run() -> tuple[int, int]:
        rng = np.random.default_rng(0)
        good = bad = 0
        for round_ in range(900):
            try:
                result = decode(mutated(seeds[round_ % len(seeds)], rng), 24)
            except UnreadableImageError:
                bad += 1
            else:
                assert result.shape == (24, 24, 3)
                assert result.dtype == np.uint8
                good += 1
        return good, bad

    first = run()
    assert min(first) > 100  # both ends are reached
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert run() == first
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 32 * 1024  # KiB: nothing is left behind
