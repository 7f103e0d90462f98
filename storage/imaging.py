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

# What galleries of phones show. Of what moves, the first picture.
FORMATS: Final = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "HEIF": "image/heic",
    "AVIF": "image/avif",
    "GIF": "image/gif",
    "BMP": "image/bmp",
}
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
BOMB_PIXELS_PER_BYTE: Final = 500  # a plain wall as HEIC has some hundred
JPEG_REDUCTION: Final = 4  # its decoder reduces while it reads: what is unpacked is a 16th, or a 64th

pillow_heif.register_heif_opener(thumbnails=False)
Image.MAX_IMAGE_PIXELS = None  # counted here, by `opened`, against the installation's limit
ImageFile.LOAD_TRUNCATED_IMAGES = False


def look_at(original: Path, folder: Path, pixels_max: int) -> Look | ProblemCode:
    """Decode once, write each thumbnail as `folder/<name>.jpg`. ProblemCode when no picture can be made of it."""
    try:
        with opened(original, pixels_max) as image:
            format_name, exif = str(image.format), read_exif(image)
            width, height = upright_size(image.size, exif.orientation)
        small, is_damaged = draw_small(original, pixels_max, max(THUMBNAILS.values()))
    except TooManyPixels as many:
        return ProblemCode.PHOTO_BOMB if many.is_bomb else ProblemCode.PHOTO_TOO_MANY_PIXELS
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError, ArithmeticError):
        return ProblemCode.PHOTO_NOT_AN_IMAGE
    for name, side_px in THUMBNAILS.items():
        thumbnail = small.copy()
        thumbnail.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
        thumbnail.save(folder / f"{name}.jpg", "JPEG", quality=THUMBNAIL_QUALITY, optimize=True)
    pdq, quality = perceptual_hash(small)
    return Look(
        format=FORMATS_SEEN[format_name],
        width=width,
        height=height,
        exif=exif,
        pdq=pdq,
        pdq_quality=quality,
        is_damaged=is_damaged,
    )


class TooManyPixels(Exception):
    """The header promises more pixels than this installation unpacks. `is_bomb`: and far more than so few bytes can hold."""

    def __init__(self, width: int, height: int, size: int) -> None:
        super().__init__(f"{width} x {height}")
        self.is_bomb = width * height > BOMB_PIXELS_PER_BYTE * size


def draw_small(original: Path, pixels_max: int, side_px: int) -> tuple[Image.Image, bool]:
    """The picture, no longer than asked, and whether it is damaged: as every gallery does, what is there is drawn."""
    try:
        with opened(original, pixels_max) as image:
            return reduced(image, side_px), is_cut_short(original, str(image.format))
    except (OSError, SyntaxError, ValueError, EOFError):
        ImageFile.LOAD_TRUNCATED_IMAGES = True
        try:
            with opened(original, pixels_max) as image:
                return reduced(image, side_px), True
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES = False


def is_cut_short(path: Path, format_name: str) -> bool:
    """Whether a HEIC or AVIF file is shorter than its boxes say: their decoders draw what is there without a word."""
    if format_name not in ("HEIF", "AVIF"):
        return False
    size, offset = path.stat().st_size, 0
    with path.open("rb") as file:
        while offset + 8 <= size:
            file.seek(offset)
            length = int.from_bytes(file.read(4))
            if length == 1:
                file.seek(offset + 8)
                length = int.from_bytes(file.read(8))
            if length < 8:
                return length != 0  # 0: to the end of the file
            offset += length
    return offset > size


@contextmanager
def opened(path: Path, pixels_max: int) -> Iterator[Image.Image]:
    """An image of an allowed format, header read, pixels counted, nothing unpacked yet."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about odd metadata; what matters raises
        with Image.open(path, formats=tuple(FORMATS)) as image:
            bound = pixels_max * JPEG_REDUCTION if image.format in ("JPEG", "MPO") else pixels_max
            if image.width * image.height > bound:
                raise TooManyPixels(image.width, image.height, path.stat().st_size)
            yield image


def reduced(image: Image.Image, side_px: int) -> Image.Image:
    """An upright RGB picture no longer than asked. JPEG decoders reduce while they decode: a tenth of the work."""
    image.draft("RGB", (side_px, side_px))
    picture = opaque(ImageOps.exif_transpose(image))
    picture.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
    return picture


def opaque(image: Image.Image) -> Image.Image:
    """RGB as a gallery shows it: 16 bits as 8, what is transparent on white."""
    if image.mode.startswith("I") or image.mode == "F":
        return image.convert("F").point(lambda value: value / 257).convert("L").convert("RGB")
    if image.has_transparency_data:
        picture = image.convert("RGBA")
        ground = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(ground, picture).convert("RGB")
    return image.convert("RGB")


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
