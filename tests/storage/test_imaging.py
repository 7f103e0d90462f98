"""Looking at photos: true ones, odd ones, and files that want to do harm."""

import io
import os
import struct
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
from msgspec.structs import replace
from PIL import Image

from contracts.problems import ProblemCode
from storage.children import ChildDied
from storage.image_pool import DECODING, ImagePool
from storage.imaging import look_at
from storage.looks import StampLine
from storage.stamp import find_font, has_chinese, write_stamped
from sync.evidence import NEAR_BITS_MAX, Exif, hash_words, probe_words
from tests.photo_builder import bomb, jpeg, noise, picture

PIXELS_MAX = 20_000_000
LINES = [
    StampLine("2026-11-21 09:30  汉滨区 瀛湖镇", "2026-11-21 09:30  610902101"),
    StampLine("李志强  N 32.6021 E 108.9012", "N 32.6021 E 108.9012"),
]


@pytest.fixture
def file(tmp_path: Path):
    def write(data: bytes) -> Path:
        path = tmp_path / "original"
        path.write_bytes(data)
        return path

    return write


def distance(a: str, b: str) -> int:
    return (int(a, 16) ^ int(b, 16)).bit_count()


def test_what_a_phone_wrote_is_read(file, tmp_path) -> None:
    taken = datetime(2026, 11, 21, 9, 30, 5, tzinfo=timezone(timedelta(hours=8)))
    look = look_at(file(jpeg(picture(1, 1600, 1200), taken=taken, lat=32.6021, lng=108.9012, device="Redmi 13C")), tmp_path, PIXELS_MAX)
    assert (look.format, look.width, look.height) == ("image/jpeg", 1600, 1200)
    assert look.exif.taken_at == "2026-11-21T09:30:05+08:00"
    assert (look.exif.lat, look.exif.lng) == pytest.approx((32.6021, 108.9012), abs=1e-6)
    assert look.exif.device == "Redmi 13C"
    for name, side in (("thumb_320", 320), ("thumb_1280", 1280)):
        with Image.open(tmp_path / f"{name}.jpg") as thumbnail:
            assert (max(thumbnail.size), thumbnail.format) == (side, "JPEG")


def test_a_picture_on_its_side_is_set_upright(file, tmp_path) -> None:
    look = look_at(file(jpeg(picture(1, 800, 600), orientation=6)), tmp_path, PIXELS_MAX)
    assert (look.width, look.height) == (600, 800)
    with Image.open(tmp_path / "thumb_320.jpg") as thumbnail:
        assert thumbnail.size == (240, 320)


def as_format(name: str, **options: object) -> bytes:
    out = io.BytesIO()
    picture(2).save(out, name, **options)
    return out.getvalue()


def heic() -> bytes:
    out = io.BytesIO()
    pillow_heif.from_pillow(picture(2)).save(out, quality=60)
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (as_format("PNG"), "image/png"),
        (as_format("WEBP"), "image/webp"),
        (heic(), "image/heic"),
        (as_format("MPO", save_all=True, append_images=[picture(3)]), "image/jpeg"),
    ],
    ids=["png", "webp", "heic", "jpeg with a second picture"],
)
def test_every_announced_format_is_seen(file, tmp_path, data, media_type) -> None:
    look = look_at(file(data), tmp_path, PIXELS_MAX)
    assert (look.format, look.width, look.height) == (media_type, 640, 480)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(b"", ProblemCode.PHOTO_NOT_AN_IMAGE, id="empty"),
        pytest.param(b"<?php system($_GET[0]) ?>" * 50, ProblemCode.PHOTO_NOT_AN_IMAGE, id="a script"),
        pytest.param(jpeg(picture(1))[:200] + b"\xff" * 3000, ProblemCode.PHOTO_NOT_AN_IMAGE, id="garbage after the header"),
        pytest.param(bomb(), ProblemCode.PHOTO_BOMB, id="900 million pixels in a few kilobytes"),
    ],
)
def test_what_is_no_picture_has_a_code(file, tmp_path, data, code) -> None:
    assert look_at(file(data), tmp_path, PIXELS_MAX) is code
    assert not (tmp_path / "thumb_320.jpg").exists()


def test_nonsense_in_exif_does_not_harm_the_picture(file, tmp_path) -> None:
    data = bytearray(jpeg(picture(1), taken=datetime(2026, 1, 1), lat=1, lng=1))
    start = data.index(b"Exif\0\0") + 6
    for cut in range(8, 120, 7):
        damaged = data.copy()
        damaged[start + cut : start + cut + 4] = struct.pack(">I", 0xFFFFFFF0)
        look = look_at(file(bytes(damaged)), tmp_path, PIXELS_MAX)
        assert (look.width, look.height) == (640, 480)


def test_impossible_positions_and_times_are_left_out(file, tmp_path) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8825).update({1: "N", 2: (400.0, 0.0, 0.0), 3: "E", 4: (12.0, 99.0, 11_000_000.0)})
    exif.get_ifd(0x8769)[0x9003] = "2026:13:45 99:00:00"
    out = io.BytesIO()
    picture(1).save(out, "JPEG", exif=exif)
    assert look_at(file(out.getvalue()), tmp_path, PIXELS_MAX).exif == Exif()


def test_a_picture_saved_again_smaller_and_worse_is_near_and_another_is_not(file, tmp_path) -> None:
    first = look_at(file(jpeg(picture(5, 1600, 1200))), tmp_path, PIXELS_MAX)
    again = look_at(file(jpeg(picture(5, 1600, 1200).resize((800, 600)), quality=40)), tmp_path, PIXELS_MAX)
    other = look_at(file(jpeg(picture(6, 1600, 1200))), tmp_path, PIXELS_MAX)
    assert distance(first.pdq, again.pdq) <= NEAR_BITS_MAX < distance(first.pdq, other.pdq)
    assert set(probe_words(610902, again.pdq)) & set(hash_words(610902, first.pdq))
    assert not set(probe_words(610921, again.pdq)) & set(hash_words(610902, first.pdq))


def test_without_a_chinese_font_the_stamp_has_codes_and_says_so(file, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("storage.stamp.find_font", lambda: None)
    out = tmp_path / "stamped.jpg"
    assert write_stamped(file(jpeg(picture(1, 1200, 900))), out, LINES, None, PIXELS_MAX) is False
    with Image.open(out) as stamped:
        assert stamped.width == 1200
        assert stamped.height > 900
        bar = stamped.crop((0, 900, *stamped.size)).convert("L")
        assert bar.getextrema() > (0, 200)
        assert len(bar.getcolors(bar.width * bar.height)) > 2


def test_a_font_without_chinese_is_not_taken_for_one() -> None:
    latin = Path("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf")
    if not latin.exists():
        pytest.skip("needs Debian's fonts-dejavu-core")
    assert not has_chinese(latin)
    assert not has_chinese(Path(__file__))


def test_with_a_chinese_font_names_are_written_out(file, tmp_path) -> None:
    named = os.environ.get("CJK_FONT")
    font = Path(named) if named else find_font()
    if font is None:
        pytest.skip("needs Debian's fonts-wqy-microhei or fonts-noto-cjk, or a font named by CJK_FONT")
    assert has_chinese(font)
    original = file(jpeg(picture(1, 1200, 900)))
    assert write_stamped(original, tmp_path / "a.jpg", LINES, font, PIXELS_MAX) is True
    write_stamped(original, tmp_path / "b.jpg", [StampLine("口口", "x"), StampLine("口", "y")], font, PIXELS_MAX)
    assert (tmp_path / "a.jpg").read_bytes() != (tmp_path / "b.jpg").read_bytes()


async def test_the_pool_looks_and_survives_a_bomb(file, tmp_path) -> None:
    pool = ImagePool(processes=1, pixels_max=PIXELS_MAX)
    try:
        assert await pool.look_at(file(bomb()), tmp_path) is ProblemCode.PHOTO_BOMB
        assert (await pool.look_at(file(jpeg(picture(1))), tmp_path)).width == 640
    finally:
        await pool.close()


async def test_a_decoder_that_hangs_is_killed_and_the_next_picture_is_seen(file, tmp_path) -> None:
    pool = ImagePool(processes=1, pixels_max=PIXELS_MAX, bounds=replace(DECODING, seconds=0.001))
    next_pool = ImagePool(processes=1, pixels_max=PIXELS_MAX)
    try:
        with pytest.raises(ChildDied):
            await pool.look_at(file(jpeg(noise(1, 2000, 2000))), tmp_path)
        assert (await next_pool.look_at(file(jpeg(picture(1))), tmp_path)).width == 640
    finally:
        await pool.close()
        await next_pool.close()


PLAIN = picture(1, 1200, 900)


def encoded(image: Image.Image, name: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, name, **options)
    return out.getvalue()


WHOLE_JPEG = jpeg(PLAIN, taken=datetime(2026, 11, 1, 9, 30))
WHOLE_HEIC = encoded(PLAIN, "HEIF")


@pytest.mark.parametrize(
    ("data", "format_name"),
    [
        pytest.param(WHOLE_JPEG[:-2], "image/jpeg", id="no end marker"),
        pytest.param(WHOLE_JPEG[: len(WHOLE_JPEG) * 98 // 100], "image/jpeg", id="last 2 percent missing"),
        pytest.param(WHOLE_JPEG[:-200] + bytes(200), "image/jpeg", id="last 200 bytes zero"),
        pytest.param(WHOLE_JPEG[: len(WHOLE_JPEG) // 2], "image/jpeg", id="half"),
        pytest.param(WHOLE_HEIC[: len(WHOLE_HEIC) * 9 // 10], "image/heic", id="heic cut"),
    ],
)
def test_of_a_damaged_picture_what_is_there_is_drawn(file, tmp_path, data, format_name) -> None:
    look = look_at(file(data), tmp_path, PIXELS_MAX)
    assert (look.format, look.width, look.height, look.is_damaged) == (format_name, 1200, 900, True)
    assert format_name == "image/heic" or look.exif.taken_at == "2026-11-01T09:30:00"
    assert Image.open(tmp_path / "thumb_320.jpg").getpixel((5, 5)) != (128, 128, 128)
    assert write_stamped(file(data), tmp_path / "stamped.jpg", LINES, None, PIXELS_MAX) in (True, False)
    assert not look_at(file(WHOLE_JPEG), tmp_path, PIXELS_MAX).is_damaged
    assert not look_at(file(WHOLE_HEIC + b"trailer"), tmp_path, PIXELS_MAX).is_damaged


GRAY = PLAIN.convert("L")
CLEAR = PLAIN.convert("RGBA")
CLEAR.putalpha(0)


@pytest.mark.parametrize(
    ("data", "format_name", "corner"),
    [
        pytest.param(encoded(PLAIN.convert("CMYK"), "JPEG"), "image/jpeg", None, id="CMYK"),
        pytest.param(encoded(GRAY, "JPEG"), "image/jpeg", None, id="gray"),
        pytest.param(encoded(PLAIN, "JPEG", progressive=True), "image/jpeg", None, id="progressive"),
        pytest.param(encoded(PLAIN, "MPO", save_all=True, append_images=[PLAIN]), "image/jpeg", None, id="two in one"),
        pytest.param(encoded(PLAIN.convert("P"), "PNG"), "image/png", None, id="palette"),
        pytest.param(encoded(CLEAR, "PNG"), "image/png", (255, 255, 255), id="transparent"),
        pytest.param(encoded(Image.fromarray(np.asarray(GRAY).astype(np.uint16) * 257), "PNG"), "image/png", None, id="16 bits"),
        pytest.param(
            encoded(PLAIN.convert("P"), "GIF", save_all=True, append_images=[GRAY.convert("P")]), "image/gif", None, id="moving GIF"
        ),
        pytest.param(encoded(PLAIN, "WEBP", save_all=True, append_images=[CLEAR]), "image/webp", None, id="moving WebP"),
        pytest.param(encoded(PLAIN, "AVIF"), "image/avif", None, id="AVIF"),
        pytest.param(encoded(PLAIN, "BMP"), "image/bmp", None, id="BMP"),
    ],
)
def test_what_a_gallery_shows_is_shown(file, tmp_path, data, format_name, corner) -> None:
    """Of what moves, the first picture; what is transparent on white; 16 bits as bright as 8."""
    look = look_at(file(data), tmp_path, PIXELS_MAX)
    assert (look.format, look.width, look.height, look.is_damaged) == (format_name, 1200, 900, False)
    seen = Image.open(tmp_path / "thumb_320.jpg").convert("RGB")
    if corner:
        assert seen.getpixel((5, 5)) == corner
    else:
        assert abs(np.asarray(seen.convert("L")).mean() - np.asarray(GRAY).mean()) < 25


def test_a_hundred_megapixels_are_reduced_while_they_are_read_and_too_many_are_no_bomb(file, tmp_path) -> None:
    large = encoded(Image.new("RGB", (9000, 7000), (90, 120, 60)), "JPEG")
    look = look_at(file(large), tmp_path, PIXELS_MAX)
    assert (look.width, look.height) == (9000, 7000)
    assert look_at(file(encoded(noise(1, 1200, 1000), "PNG")), tmp_path, 1_000_000) is ProblemCode.PHOTO_TOO_MANY_PIXELS
    assert look_at(file(bomb()), tmp_path, PIXELS_MAX) is ProblemCode.PHOTO_BOMB
