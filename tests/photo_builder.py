"""Photos as phones take them: generated JPEGs that look different, with EXIF. And some that no phone takes."""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from datetime import datetime

import numpy as np
from PIL import Image

GPS_IFD, EXIF_IFD = 0x8825, 0x8769


def picture(seed: int, width: int = 640, height: int = 480) -> Image.Image:
    """A picture with structure at several scales: no two seeds look alike, also to a perceptual hash."""
    random = np.random.default_rng(seed)
    image = np.zeros((height, width, 3))
    for cells in (4, 8, 16):
        coarse = Image.fromarray(random.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        image += np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), dtype=float)
    return Image.fromarray((image / 3).astype(np.uint8))


def noise(seed: int, width: int, height: int) -> Image.Image:
    """Incompressible: about three bytes a pixel as JPEG, to make large files."""
    random = np.random.default_rng(seed)
    return Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8))


def jpeg(
    image: Image.Image,
    *,
    taken: datetime | None = None,
    lat: float | None = None,
    lng: float | None = None,
    device: str = "",
    orientation: int = 1,
    quality: int = 85,
) -> bytes:
    """A JPEG; `taken` as the camera's local time without zone, when it has none."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    if device:
        exif[0x0110] = device
    if taken:
        exif.get_ifd(EXIF_IFD)[0x9003] = taken.strftime("%Y:%m:%d %H:%M:%S")
        if taken.tzinfo:
            exif.get_ifd(EXIF_IFD)[0x9011] = taken.strftime("%z")[:3] + ":" + taken.strftime("%z")[3:]
    if lat is not None and lng is not None:
        exif.get_ifd(GPS_IFD).update({1: "N" if lat >= 0 else "S", 2: degrees(lat), 3: "E" if lng >= 0 else "W", 4: degrees(lng)})
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality, exif=exif)
    return out.getvalue()


def degrees(value: float) -> tuple[float, float, float]:
    value = abs(value)
    minutes = (value % 1) * 60
    return float(int(value)), float(int(minutes)), round((minutes % 1) * 60, 4)


def bomb(side: int = 30_000) -> bytes:
    """A small PNG that unpacks to `side` * `side` pixels."""
    rows = zlib.compress(b"\0" * (side // 8 + 1) * side, 9)
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def sha256_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
