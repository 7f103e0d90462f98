"""Looking at a photo: what format, how large, what its EXIF says, thumbnails, perceptual hash. Files in, files out.

Runs in a process of its own (storage/image_pool.py), because the bytes come from outside: formats are fixed, pixels are
counted before they are unpacked, memory is limited, and a decoder that crashes takes nobody with it. No network, no
database, no clock.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pdqhash
import pillow_heif
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from contracts.problems import ProblemCode
from storage.looks import Look
from sync.evidence import Exif

FORMATS: Final = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "HEIF": "image/heic"}
# many phones append a second picture to their JPEGs; Pillow then calls it by another name
FORMATS_SEEN: Final = {**FORMATS, "MPO": "image/jpeg"}
THUMBNAILS: Final[Mapping[str, int]] = {"thumb_320": 320, "thumb_1280": 1280}  # name -> longest side in pixels
THUMBNAIL_QUALITY: Final = 80
PDQ_SIDE_PX: Final = 512  # of the reference implementation: larger pictures are reduced to it first

EXIF_IFD, GPS_IFD = 0x8769, 0x8825
MAKE, MODEL, ORIENTATION, CHANGED_AT = 0x010F, 0x0110, 0x0112, 0x0132
TAKEN_AT, TAKEN_OFFSET = 0x9003, 0x9011
LAT_REF, LAT, LNG_REF, LNG = 1, 2, 3, 4
DEVICE_CHARACTERS_MAX: Final = 80

pillow_heif.register_heif_opener(thumbnails=False)
Image.MAX_IMAGE_PIXELS = None  # counted here, by `opened`, against the installation's limit
ImageFile.LOAD_TRUNCATED_IMAGES = False


def look_at(original: Path, folder: Path, pixels_max: int) -> Look | ProblemCode:
    """Decode once, write each thumbnail as `folder/<name>.jpg`. ProblemCode when no picture can be made of it."""
    try:
        with opened(original, pixels_max) as image:
            format_name, exif = str(image.format), read_exif(image)
            width, height = upright_size(image.size, exif.orientation)
            small = reduced(image, max(THUMBNAILS.values()))
    except TooManyPixels:
        return ProblemCode.PHOTO_BOMB
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError, ArithmeticError):
        return ProblemCode.PHOTO_NOT_AN_IMAGE
    for name, side_px in THUMBNAILS.items():
        thumbnail = small.copy()
        thumbnail.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
        thumbnail.save(folder / f"{name}.jpg", "JPEG", quality=THUMBNAIL_QUALITY, optimize=True)
    pdq, quality = perceptual_hash(small)
    return Look(format=FORMATS_SEEN[format_name], width=width, height=height, exif=exif, pdq=pdq, pdq_quality=quality)


class TooManyPixels(Exception):
    """The header promises more pixels than this installation unpacks."""


@contextmanager
def opened(path: Path, pixels_max: int) -> Iterator[Image.Image]:
    """An image of an allowed format, header read, pixels counted, nothing unpacked yet."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about odd metadata; what matters raises
        with Image.open(path, formats=tuple(FORMATS)) as image:
            if image.width * image.height > pixels_max:
                raise TooManyPixels(f"{image.width} x {image.height}")
            yield image


def reduced(image: Image.Image, side_px: int) -> Image.Image:
    """An upright RGB picture no longer than asked. JPEG decoders reduce while they decode: a tenth of the work."""
    image.draft("RGB", (side_px, side_px))
    picture = ImageOps.exif_transpose(image).convert("RGB")
    picture.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
    return picture


def upright_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Orientations 5 to 8 lie on their side."""
    return (size[1], size[0]) if orientation in (5, 6, 7, 8) else size


def perceptual_hash(picture: Image.Image) -> tuple[str, int]:
    """PDQ: 256 bits that near-same pictures share but for a few; and how much there is to go by, 0 to 100."""
    small = picture.copy()
    small.thumbnail((PDQ_SIDE_PX, PDQ_SIDE_PX), Image.Resampling.BILINEAR)
    bits, quality = pdqhash.compute(np.asarray(small))
    return np.packbits(bits.astype(np.uint8)).tobytes().hex(), int(quality)


# EXIF: written by phones, cameras and liars; every field may be missing or nonsense


def read_exif(image: Image.Image) -> Exif:
    """What the camera says. A field that makes no sense is left out; never an error."""
    try:
        tags = image.getexif()
        detail, gps = tags.get_ifd(EXIF_IFD), tags.get_ifd(GPS_IFD)
    except Exception:  # noqa: BLE001 - Pillow's parser raises whatever broken bytes lead it to; the picture itself may be fine
        return Exif()
    orientation = tags.get(ORIENTATION)
    return Exif(
        taken_at=exif_time(detail.get(TAKEN_AT) or tags.get(CHANGED_AT), detail.get(TAKEN_OFFSET)),
        lat=exif_degrees(gps.get(LAT), gps.get(LAT_REF), "S", 90),
        lng=exif_degrees(gps.get(LNG), gps.get(LNG_REF), "W", 180),
        device=" ".join(exif_text(tags.get(tag)) for tag in (MAKE, MODEL)).strip()[:DEVICE_CHARACTERS_MAX] or None,
        orientation=orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1,
    )


def exif_text(value: Any) -> str:
    return "".join(c for c in str(value) if c.isprintable()).strip() if isinstance(value, str) else ""


def exif_time(moment: Any, offset: Any) -> str | None:
    """ISO 8601; with a zone only when the camera gave one."""
    try:
        local = datetime.strptime(exif_text(moment), "%Y:%m:%d %H:%M:%S")
    except ValueError:
        return None
    try:
        return datetime.fromisoformat(local.isoformat() + exif_text(offset)).isoformat()
    except ValueError:
        return local.isoformat()


def exif_degrees(parts: Any, reference: Any, negative: str, bound: float) -> float | None:
    try:
        degrees, minutes, seconds = (float(part) for part in parts)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    value = degrees + minutes / 60 + seconds / 3600
    if not 0 <= value <= bound:  # also when it is not a number
        return None
    return round(-value if exif_text(reference).upper() == negative else value, 7)
