"""What makes a photo doubtful as evidence: hints for whoever judges it, never a judgement (design.md section 4).

Times are compared on one clock only: EXIF, capture and visit were all told by the phone, so that a phone whose clock is
two days wrong raises no flag. Distances are compared against what the positions themselves claim to be good for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from enum import Enum
from typing import Final

import msgspec
import prcoords

from contracts.kind import Position
from contracts.mutation import Capture
from sync.located import given

EARTH_RADIUS_M: Final = 6_371_000
GCJ02_TOLERANCE_M: Final = 100.0
NEAR_BITS_MAX: Final = 31  # of 256: the hash's authors call pictures the same up to here; the index relies on it
WORD_BITS: Final = 16
WORDS: Final = 256 // WORD_BITS


class Flag(str, Enum):
    """The value is what stands in the photo's `flags`."""

    SAME_PICTURE_BEFORE = "same_picture_before"
    NEAR_SAME_PICTURE_BEFORE = "near_same_picture_before"
    TAKEN_FAR_FROM_PLACE = "taken_far_from_place"
    TAKEN_LONG_BEFORE_VISIT = "taken_long_before_visit"
    POSITION_MISSING = "position_missing"
    POSITION_MOCKED = "position_mocked"
    EXIF_DIFFERS = "exif_differs"
    LOOKS_LIKE_GCJ02 = "looks_like_gcj02"  # as far off, and in the direction, as Chinese maps are shifted
    DAMAGED = "damaged"  # a part of the file is missing or broken: what is there is shown
    STAMP_WITHOUT_CHINESE = "stamp_without_chinese"  # no font was found: the stamp has codes instead of names


FLAG_TEXT_ZH: Final[dict[Flag, str]] = {
    Flag.SAME_PICTURE_BEFORE: "同一照片曾用于其他记录",
    Flag.NEAR_SAME_PICTURE_BEFORE: "与以前的照片近似",
    Flag.TAKEN_FAR_FROM_PLACE: "拍摄位置远离监管对象",
    Flag.TAKEN_LONG_BEFORE_VISIT: "拍摄时间远早于检查",
    Flag.POSITION_MISSING: "没有拍摄位置",
    Flag.POSITION_MOCKED: "位置可能为模拟定位",
    Flag.EXIF_DIFFERS: "照片内嵌信息与登记不一致",
    Flag.LOOKS_LIKE_GCJ02: "位置偏差与火星坐标（GCJ-02）一致，可能未换算坐标系",
    Flag.DAMAGED: "照片文件不完整，仅显示可读部分",
    Flag.STAMP_WITHOUT_CHINESE: "水印缺少中文字体，以编码代替",
}


class Exif(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the camera wrote. `taken_at`: ISO 8601, without a zone when the camera gave none. Position in WGS-84."""

    taken_at: str | None = None
    lat: float | None = None
    lng: float | None = None
    device: str | None = None
    orientation: int = 1


class EvidenceRules(msgspec.Struct, frozen=True, kw_only=True):
    """Thresholds of one installation: no source states any, so they are configuration."""

    far_m: float = 500
    long_before: timedelta = timedelta(hours=12)
    exif_differs_m: float = 500
    exif_differs_time: timedelta = timedelta(minutes=30)
    zone: timezone = timezone(timedelta(hours=8))  # of a camera that gives none


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """One photo record with what is known around it. `taken`, `visit_ms`: by the phone's own clock, Unix time in milliseconds.

    visit_recorded  that clock when the visit was entered
    """

    position: Position | None
    place: Position | None  # of the site
    taken: Capture | None
    visit_ms: int | None
    visit_recorded: Capture | None = None
    exif: Exif
    is_repeated: bool  # the same bytes were announced before for another record
    is_near_repeated: bool  # a near-same picture was received before

    @property
    def taken_ms(self) -> int | None:
        return self.taken.wall_ms if self.taken is not None else None


def evidence_flags(shown: Shown, rules: EvidenceRules) -> list[Flag]:
    """In the order of the catalogue, so that the same evidence always gives the same list."""
    exif_ms = exif_unix_ms(shown.exif, rules.zone)
    position, place, seen = given(shown.position), given(shown.place), exif_position(shown.exif)
    far, differs = is_far(position, place, rules.far_m), is_far(position, seen, rules.exif_differs_m)
    far_by_datum, differs_by_datum = far and is_gcj02_shift(position, place), differs and is_gcj02_shift(position, seen)
    raised = {
        Flag.SAME_PICTURE_BEFORE: shown.is_repeated,
        Flag.NEAR_SAME_PICTURE_BEFORE: shown.is_near_repeated and not shown.is_repeated,
        Flag.TAKEN_FAR_FROM_PLACE: far and not far_by_datum,
        Flag.TAKEN_LONG_BEFORE_VISIT: was_long_before(shown, exif_ms, rules.long_before),
        Flag.POSITION_MISSING: position is None,
        Flag.POSITION_MOCKED: shown.position is not None and shown.position.mocked is True,
        Flag.EXIF_DIFFERS: exif_time_differs(shown, exif_ms, rules) or (differs and not differs_by_datum),
        Flag.LOOKS_LIKE_GCJ02: far_by_datum or differs_by_datum,
    }
    return [flag for flag in Flag if raised.get(flag)]


def is_far(position: Position | None, place: Position | None, far_m: float) -> bool:
    """Farther than `far_m` even if both positions err by as much as they admit."""
    if position is None or place is None:
        return False
    return distance_m(position, place) > far_m + errors_m(position, place)


def errors_m(a: Position, b: Position) -> float:
    return (a.error_m or 0) + (b.error_m or 0)


def exif_position(exif: Exif) -> Position | None:
    return None if exif.lat is None or exif.lng is None else given(Position(lat=exif.lat, lng=exif.lng))


def is_gcj02_shift(a: Position | None, b: Position | None) -> bool:
    """Whether one is where Chinese maps show the other: a coordinate that was not converted from GCJ-02, no other place."""
    if a is None or b is None:
        return False
    tolerance_m = GCJ02_TOLERANCE_M + errors_m(a, b)
    return any(distance_m(shifted(true), other) <= tolerance_m for true, other in ((a, b), (b, a)))


def shifted(position: Position) -> Position:
    """Where a map in GCJ-02 shows it."""
    lat, lng = prcoords.wgs_gcj((position.lat, position.lng), False)
    return Position(lat=lat, lng=lng)


def was_long_before(shown: Shown, exif_ms: int | None, long_before: timedelta) -> bool:
    """Both moments on the clock by which the visit was entered: in one session the monotonic clock tells how far it was set since."""
    visit_ms, set_by_ms, entered = shown.visit_ms, 0, shown.visit_recorded
    if entered is not None and shown.taken is not None and entered.session == shown.taken.session:
        set_by_ms = shown.taken.wall_ms - entered.wall_ms - (shown.taken.mono_ms - entered.mono_ms)
        visit_ms = min(visit_ms, entered.wall_ms) if visit_ms is not None else None  # it had begun when it was entered
    taken = [None if moment is None else moment - set_by_ms for moment in (shown.taken_ms, exif_ms)]
    return is_long_before(visit_ms, taken, long_before)


def is_long_before(visit_ms: int | None, taken: Sequence[int | None], long_before: timedelta) -> bool:
    """Whether the earlier of the moments it may have been taken at lies long before the visit."""
    known = [moment for moment in taken if moment is not None]
    return visit_ms is not None and bool(known) and visit_ms - min(known) > long_before / timedelta(milliseconds=1)


def exif_time_differs(shown: Shown, exif_ms: int | None, rules: EvidenceRules) -> bool:
    """The picture's own time is not the announced one."""
    drift_ms_max = rules.exif_differs_time / timedelta(milliseconds=1)
    return exif_ms is not None and shown.taken_ms is not None and abs(exif_ms - shown.taken_ms) > drift_ms_max


def exif_unix_ms(exif: Exif, zone: timezone) -> int | None:
    if exif.taken_at is None:
        return None
    moment = datetime.fromisoformat(exif.taken_at)
    return int((moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp() * 1000)


def distance_m(a: Position, b: Position) -> float:
    """Great circle (haversine); a sphere is good to half a percent."""
    lat_a, lat_b = math.radians(a.lat), math.radians(b.lat)
    half_lat, half_lng = (lat_b - lat_a) / 2, math.radians(b.lng - a.lng) / 2
    h = math.sin(half_lat) ** 2 + math.cos(lat_a) * math.cos(lat_b) * math.sin(half_lng) ** 2
    return 2 * EARTH_RADIUS_M * math.asin(min(1.0, math.sqrt(h)))


# Finding near pictures: hashes at most 31 bits apart have, of 16 words, one that differs in at most one bit


def hash_words(county: int, pdq: str) -> list[int]:
    """The hash (64 hex digits) as 16 numbers that name county, place and word."""
    bits = int(pdq, 16)
    return [county << 20 | place << WORD_BITS | bits >> (WORD_BITS * (WORDS - 1 - place)) & 0xFFFF for place in range(WORDS)]


def probe_words(county: int, pdq: str) -> list[int]:
    """All words that a near hash may share: each word as it is, and with each one bit turned."""
    return [word ^ turned for word in hash_words(county, pdq) for turned in (0, *(1 << bit for bit in range(WORD_BITS)))]
