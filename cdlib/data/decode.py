"""One image file -> one square uint8 RGB image, or one kind of error.

Colours are taken as the file stores them: embedded colour profiles are not applied, and CMYK is
turned into RGB by Pillow's plain formula.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
# A JPEG may be read at 1/2, 1/4 or 1/8 of its size, which is several times faster. So much
# larger than wanted it must stay, for the filter to have the last word.
_OVERSIZE = 3


class UnreadableImageError(ValueError):
    """The file gives no image; the message is a short reason in one line."""


def decode(data: bytes | Path, size: int) -> np.ndarray:
    """Decode, turn upright (EXIF), crop to the centred square and resize: uint8 (size,size,3) RGB.

    Transparent pixels are laid over white. 16-bit grey is scaled to 8 bits (divided by 257), not
    clipped. Of an animation or a file of many pages the first is taken. Resizing is bicubic with
    antialiasing; an image that is smaller than `size` is enlarged.

    Raises:
        UnreadableImageError: a file that is missing, empty, broken, cut short, in another format,
            in 32-bit grey, or of more pixels than `PIL.Image.MAX_IMAGE_PIXELS`. Never another.
    """
    with opened(BytesIO(data) if isinstance(data, bytes) else data) as image:
        image.draft(None, (_OVERSIZE * size, _OVERSIZE * size))
        return np.asarray(_square(_rgb(ImageOps.exif_transpose(image)), size))


@contextmanager
def opened(file: BytesIO | Path) -> Iterator[Image.Image]:
    """An image file with its pixels yet to be read, in one of `FORMATS`.

    Raises:
        UnreadableImageError: see `decode`; for what fails within the block, too.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # damaged metadata beside a sound image
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file, formats=FORMATS) as image:
                yield image
    except UnreadableImageError:
        raise
    except UnidentifiedImageError:
        formats = f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
        raise UnreadableImageError(f"not a {formats} image, or its head is broken") from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        limit = f"{Image.MAX_IMAGE_PIXELS:,}"
        raise UnreadableImageError(f"more than {limit} pixels: make it smaller") from None
    except Exception as error:
        # Pillow's decoders raise almost any exception on damaged files.
        raise UnreadableImageError(_reason(error)) from error


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        wide = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((wide + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise UnreadableImageError("32-bit grey values, of which none is known to be white")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def _square(image: Image.Image, size: int) -> Image.Image:
    side = min(image.size)
    if side == 0:
        raise UnreadableImageError("no pixels")
    left, top = (image.width - side) // 2, (image.height - side) // 2
    box = (left, top, left + side, top + side)
    return image.resize((size, size), Image.Resampling.BICUBIC, box, reducing_gap=_OVERSIZE)


def _reason(error: Exception) -> str:
    text = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return " ".join(text.split())[:120] or type(error).__name__
