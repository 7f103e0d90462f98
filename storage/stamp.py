"""The stamped rendering: the picture with a bar below that says when, where, what and who. The original is never touched.

The bar stands below the picture, not on it: nothing of the evidence is covered. With a font that has Chinese the names
are written out; without one, their codes, which any font has.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from storage.imaging import draw_small
from storage.looks import StampLine

SIDE_PX: Final = 2048
QUALITY: Final = 85
LINE_SHARE: Final = 0.026  # height of a line by the picture's longest side: legible on a printed sheet
LINE_PX_MIN: Final = 14
BAR, INK = (24, 24, 24), (255, 255, 255)

# Debian's fonts-noto-cjk and fonts-wqy-microhei, and the places of other systems.
FONTS: Final = (
    "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/truetype/wqy/wqy-microhei.ttc",
    "/usr/share/fonts/truetype/wqy/wqy-zenhei.ttc",
    "/usr/share/fonts/google-noto-cjk/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/noto-cjk/NotoSansCJK-Regular.ttc",
    "/System/Library/Fonts/PingFang.ttc",
    "C:/Windows/Fonts/msyh.ttc",
)
PROBE: Final = "巡岭水"


def write_stamped(original: Path, out: Path, lines: Sequence[StampLine], font: Path | None, pixels_max: int) -> bool:
    """Write the stamped JPEG. True when its text is Chinese, False when it had to be codes."""
    picture, _ = draw_small(original, pixels_max, SIDE_PX)
    chosen = font or find_font()
    texts = [line.chinese if chosen else line.codes for line in lines]
    size = max(LINE_PX_MIN, round(max(picture.size) * LINE_SHARE))
    face = ImageFont.truetype(chosen, size) if chosen else ImageFont.load_default(size)
    rows = [row for text in texts for row in wrapped(text, face, picture.width - size)]
    stamped = Image.new("RGB", (picture.width, picture.height + round((len(rows) + 0.8) * size * 1.35)), BAR)
    stamped.paste(picture)
    draw = ImageDraw.Draw(stamped)
    for number, row in enumerate(rows):
        draw.text((size / 2, picture.height + size * (0.5 + number * 1.35)), row, INK, font=face)
    stamped.save(out, "JPEG", quality=QUALITY)
    return chosen is not None


def wrapped(text: str, face: ImageFont.FreeTypeFont | ImageFont.ImageFont, width_px: float) -> list[str]:
    """The text in rows no wider than the picture; Chinese breaks anywhere."""
    rows, row = [], ""
    for character in text:
        if row and face.getlength(row + character) > width_px:
            rows.append(row)
            row = ""
        row += character
    return [*rows, row]


@cache
def find_font() -> Path | None:
    """The first usual font that exists and really has Chinese characters."""
    return next((path for path in map(Path, FONTS) if path.exists() and has_chinese(path)), None)


def has_chinese(path: Path) -> bool:
    """Whether the font draws different characters differently: a font without them draws one box for all."""
    try:
        face = ImageFont.truetype(path, 24)
    except OSError:
        return False
    return len({drawn(character, face) for character in PROBE}) == len(PROBE)


def drawn(character: str, face: ImageFont.FreeTypeFont) -> bytes:
    canvas = Image.new("L", (48, 48))
    ImageDraw.Draw(canvas).text((4, 4), character, 255, font=face)
    return canvas.tobytes()
