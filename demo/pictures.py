"""Photos that no camera took: drawn hills with something in front, as JPEGs with EXIF, each different, of a phone's size."""

from __future__ import annotations

import io
from datetime import datetime
from random import Random
from typing import Final

from PIL import Image, ImageDraw, ImageFilter

from demo.hours import ANKANG

EXIF_IFD, GPS_IFD = 0x8769, 0x8825
MODEL, TAKEN, TAKEN_OFFSET = 0x0110, 0x9003, 0x9011
SIZE: Final = (1024, 768)
LARGE: Final = (2000, 1500)
SKIES: Final = {"dust": (208, 196, 170), "straw": (196, 200, 208), "outfall": (176, 204, 216), "inn": (170, 205, 235)}


def photo(scene: str, seed: str, *, wall_ms: int, lat: float, lng: float, large: bool = False) -> bytes:
    """`scene`: dust, straw, outfall or inn. `wall_ms`: what the phone's clock said, right or wrong."""
    image = _drawn(scene, Random(seed), LARGE if large else SIZE)
    exif = Image.Exif()
    exif[MODEL] = "XL-Demo"
    taken = datetime.fromtimestamp(wall_ms / 1000, ANKANG)
    exif.get_ifd(EXIF_IFD).update({TAKEN: taken.strftime("%Y:%m:%d %H:%M:%S"), TAKEN_OFFSET: "+08:00"})
    exif.get_ifd(GPS_IFD).update({1: "N", 2: _degrees(lat), 3: "E", 4: _degrees(lng)})
    out = io.BytesIO()
    image.save(out, "JPEG", quality=90 if large else 84, exif=exif)
    return out.getvalue()


def _drawn(scene: str, random: Random, size: tuple[int, int]) -> Image.Image:
    width, height = size
    image = Image.new("RGB", size, SKIES[scene])
    draw = ImageDraw.Draw(image)
    for layer in range(4):
        base = height * (0.35 + 0.13 * layer)
        ridge = [(x * width / 12, base - random.uniform(0, height * 0.18)) for x in range(13)]
        shade = 150 - 30 * layer
        draw.polygon([(0, height), *ridge, (width, height)], fill=(shade // 2 + random.randrange(20), shade, shade // 2))
    _FRONTS[scene](draw, random, width, height)
    grain = Image.effect_noise(size, 60 if size == LARGE else 42).convert("RGB")
    return Image.blend(image.filter(ImageFilter.GaussianBlur(1)), grain, 0.18)


def _dust(draw: ImageDraw.ImageDraw, random: Random, width: int, height: int) -> None:
    for tower in range(3):
        left = width * (0.1 + 0.28 * tower + random.uniform(0, 0.08))
        top = height * random.uniform(0.3, 0.5)
        draw.rectangle((left, top, left + width * 0.16, height * 0.85), fill=(150 + random.randrange(60), 140, 120))
        for floor in range(6):
            y = top + floor * height * 0.06
            draw.line((left, y, left + width * 0.16, y), fill=(90, 80, 70), width=4)


def _straw(draw: ImageDraw.ImageDraw, random: Random, width: int, height: int) -> None:
    x, y = width * random.uniform(0.3, 0.7), height * 0.8
    for puff in range(14):
        r = 20 + puff * 9
        cx, cy = x + random.uniform(-30, 30) + puff * 12, y - puff * height * 0.045
        draw.ellipse((cx - r, cy - r, cx + r, cy + r), fill=(165 + puff * 4, 165 + puff * 4, 165 + puff * 4))
    draw.polygon([(x - 70, y), (x, y - 110), (x + 70, y)], fill=(230, 110 + random.randrange(60), 30))


def _outfall(draw: ImageDraw.ImageDraw, random: Random, width: int, height: int) -> None:
    draw.rectangle((0, height * 0.68, width, height), fill=(60, 95 + random.randrange(50), 110))
    x, y, r = width * random.uniform(0.25, 0.6), height * 0.55, height * 0.09
    draw.ellipse((x - r, y - r, x + r, y + r), fill=(40, 40, 40), outline=(150, 150, 150), width=12)
    draw.polygon([(x - r * 0.6, y), (x + r * 0.6, y), (x + r * 1.6, height * 0.8), (x - r * 0.4, height * 0.8)], fill=(110, 90, 50))


def _inn(draw: ImageDraw.ImageDraw, random: Random, width: int, height: int) -> None:
    left, right, eaves, ground = width * 0.25, width * random.uniform(0.65, 0.8), height * 0.5, height * 0.85
    draw.rectangle((left, eaves, right, ground), fill=(235, 225, 205))
    draw.polygon([(left - 40, eaves), ((left + right) / 2, height * 0.3), (right + 40, eaves)], fill=(120, 50 + random.randrange(30), 40))
    for window in range(4):
        x = left + (right - left) * (0.1 + 0.22 * window)
        draw.rectangle((x, eaves + 40, x + 60, eaves + 110), fill=(90, 120, 150))


_FRONTS = {"dust": _dust, "straw": _straw, "outfall": _outfall, "inn": _inn}


def _degrees(value: float) -> tuple[float, float, float]:
    minutes = (value % 1) * 60
    return float(int(value)), float(int(minutes)), round((minutes % 1) * 60, 4)
