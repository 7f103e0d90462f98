"""Evidence flags as a table: what is shown, what is raised. And the index that finds near pictures misses none."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.kind import Position
from contracts.mutation import Capture
from sync.evidence import (
    FLAG_TEXT_ZH,
    NEAR_BITS_MAX,
    EvidenceRules,
    Exif,
    Flag,
    Shown,
    distance_m,
    evidence_flags,
    hash_words,
    probe_words,
    shifted,
)

HOUR_MS = 3_600_000
NINE = int(datetime(2026, 11, 21, 9, tzinfo=UTC).timestamp() * 1000)
HERE = Position(lat=32.60, lng=108.90, accuracy_m=10)
NEAR_BY = Position(lat=32.601, lng=108.90, accuracy_m=10)  # 111 m
FAR = Position(lat=32.65, lng=108.90, accuracy_m=10)  # 5.6 km

SOUND = Shown(
    position=NEAR_BY,
    place=HERE,
    taken=Capture(wall_ms=NINE, mono_ms=0, session="s"),
    visit_ms=NINE,
    exif=Exif(taken_at="2026-11-21T17:00:30", lat=32.601, lng=108.90),  # the camera tells Beijing time
    is_repeated=False,
    is_near_repeated=False,
)


@pytest.mark.parametrize(
    ("changes", "raised"),
    [
        pytest.param({}, [], id="sound"),
        pytest.param({"is_repeated": True}, [Flag.SAME_PICTURE_BEFORE], id="same picture"),
        pytest.param({"is_near_repeated": True}, [Flag.NEAR_SAME_PICTURE_BEFORE], id="near-same picture"),
        pytest.param({"is_repeated": True, "is_near_repeated": True}, [Flag.SAME_PICTURE_BEFORE], id="same is not near-same"),
        pytest.param({"place": FAR}, [Flag.TAKEN_FAR_FROM_PLACE], id="kilometres away"),
        pytest.param(
            {"place": msgspec.structs.replace(FAR, accuracy_m=6000)}, [], id="kilometres away, but the site's place is only rough"
        ),
        pytest.param({"place": None}, [], id="the site has no position"),
        pytest.param({"position": None}, [Flag.POSITION_MISSING], id="no position"),
        pytest.param({"position": msgspec.structs.replace(NEAR_BY, mocked=True)}, [Flag.POSITION_MOCKED], id="mocked"),
        pytest.param({"visit_ms": NINE + 11 * HOUR_MS}, [], id="written down in the evening"),
        pytest.param({"visit_ms": NINE + 13 * HOUR_MS}, [Flag.TAKEN_LONG_BEFORE_VISIT], id="taken the night before"),
        pytest.param(
            {"exif": Exif(taken_at="2026-03-01T10:00:00")},
            [Flag.TAKEN_LONG_BEFORE_VISIT, Flag.EXIF_DIFFERS],
            id="an old picture from the gallery",
        ),
        pytest.param({"exif": Exif(taken_at="2026-11-21T09:00:30+00:00")}, [], id="the camera gave its zone"),
        pytest.param({"exif": Exif(taken_at="2026-11-21T17:40:00")}, [Flag.EXIF_DIFFERS], id="other time"),
        pytest.param({"exif": Exif(lat=33.0, lng=108.9)}, [Flag.EXIF_DIFFERS], id="other place"),
        pytest.param({"exif": Exif(lat=33.0, lng=108.9), "position": None}, [Flag.POSITION_MISSING], id="nothing to compare with"),
        pytest.param({"exif": Exif()}, [], id="no EXIF at all"),
        pytest.param({"taken": None, "visit_ms": None, "exif": Exif()}, [], id="no times at all"),
    ],
)
def test_flags(changes: dict[str, object], raised: list[Flag]) -> None:
    assert evidence_flags(msgspec.structs.replace(SOUND, **changes), EvidenceRules()) == raised


@given(wrong=st.timedeltas(min_value=timedelta(days=-3000), max_value=timedelta(days=3000)))
def test_a_wrong_phone_clock_raises_nothing(wrong: timedelta) -> None:
    """Promise 8: all times come from the same phone and are wrong by the same amount."""
    off_ms = wrong // timedelta(milliseconds=1)
    told = datetime.fromisoformat(SOUND.exif.taken_at or "") + wrong
    shown = msgspec.structs.replace(
        SOUND,
        taken=Capture(wall_ms=NINE + off_ms, mono_ms=0, session="s"),
        visit_ms=NINE + off_ms,
        exif=msgspec.structs.replace(SOUND.exif, taken_at=told.isoformat()),
    )
    assert evidence_flags(shown, EvidenceRules()) == []


DAYS_AHEAD_MS = 48 * HOUR_MS
FIVE_MINUTES_MS = 300_000


@pytest.mark.parametrize(("session", "raised"), [("s", []), ("t", [Flag.TAKEN_LONG_BEFORE_VISIT])])
def test_a_clock_that_is_put_right_in_the_middle_of_a_visit_raises_nothing_in_one_session(session: str, raised: list[Flag]) -> None:
    """The visit was entered by a clock two days ahead; five minutes later, by the monotonic clock, the network had corrected it."""
    later = datetime.fromtimestamp((NINE + FIVE_MINUTES_MS) / 1000, UTC)
    shown = msgspec.structs.replace(
        SOUND,
        visit_ms=NINE + DAYS_AHEAD_MS - 1,
        visit_recorded=Capture(wall_ms=NINE + DAYS_AHEAD_MS, mono_ms=1_000, session="s"),
        taken=Capture(wall_ms=NINE + FIVE_MINUTES_MS, mono_ms=1_000 + FIVE_MINUTES_MS, session=session),
        exif=msgspec.structs.replace(SOUND.exif, taken_at=later.isoformat()),
    )
    assert evidence_flags(shown, EvidenceRules()) == raised


def test_an_old_picture_is_told_from_a_clock_that_was_set() -> None:
    """The monotonic clock mends the phone's wall clock; a picture that the camera dates months back is old all the same."""
    entered = Capture(wall_ms=NINE + DAYS_AHEAD_MS, mono_ms=0, session="s")
    taken = Capture(wall_ms=NINE, mono_ms=60_000, session="s")
    old = Exif(taken_at="2026-03-01T10:00:00")
    shown = msgspec.structs.replace(SOUND, visit_ms=NINE + DAYS_AHEAD_MS, visit_recorded=entered, taken=taken, exif=old)
    assert evidence_flags(shown, EvidenceRules()) == [Flag.TAKEN_LONG_BEFORE_VISIT, Flag.EXIF_DIFFERS]


def test_every_flag_has_chinese_text() -> None:
    assert set(FLAG_TEXT_ZH) == set(Flag)


def test_distance_is_that_of_the_globe() -> None:
    assert distance_m(Position(lat=0, lng=0), Position(lat=0, lng=1)) == pytest.approx(111_195, rel=1e-3)
    assert distance_m(HERE, HERE) == 0


@given(bits=st.integers(0, 2**256 - 1), turned=st.sets(st.integers(0, 255), max_size=NEAR_BITS_MAX))
def test_a_near_hash_always_shares_a_probed_word(bits: int, turned: set[int]) -> None:
    near = bits ^ sum(1 << bit for bit in turned)
    assert set(probe_words(610902, f"{near:064x}")) & set(hash_words(610902, f"{bits:064x}"))


TRUE = Position(lat=32.69, lng=109.03, accuracy_m=5)
ON_A_CHINESE_MAP = shifted(TRUE)


def flags_at(position: Position | None, place: Position | None, exif: Exif | None = None) -> list[Flag]:
    shown = Shown(
        position=position,
        place=place,
        taken=None,
        visit_ms=None,
        visit_recorded=None,
        exif=exif or Exif(),
        is_repeated=False,
        is_near_repeated=False,
    )
    return evidence_flags(shown, EvidenceRules())


def test_nobody_is_suspected_because_a_phone_had_no_fix() -> None:
    nowhere = Position(lat=0, lng=0, accuracy_m=0)
    assert flags_at(nowhere, TRUE, Exif(lat=TRUE.lat, lng=TRUE.lng)) == [Flag.POSITION_MISSING]
    assert flags_at(TRUE, TRUE, Exif(lat=0.0, lng=0.0)) == []
    assert flags_at(TRUE, nowhere) == []


def test_a_coordinate_that_was_not_converted_is_no_other_place() -> None:
    for position, place in ((TRUE, ON_A_CHINESE_MAP), (ON_A_CHINESE_MAP, TRUE)):
        assert flags_at(position, place) == [Flag.LOOKS_LIKE_GCJ02]
    assert flags_at(TRUE, TRUE, Exif(lat=ON_A_CHINESE_MAP.lat, lng=ON_A_CHINESE_MAP.lng)) == [Flag.LOOKS_LIKE_GCJ02]
    across = Position(lat=TRUE.lat + (ON_A_CHINESE_MAP.lng - TRUE.lng), lng=TRUE.lng - (ON_A_CHINESE_MAP.lat - TRUE.lat))
    assert flags_at(TRUE, across) == [Flag.TAKEN_FAR_FROM_PLACE]  # as far, in another direction


def test_an_accuracy_that_means_nothing_excuses_nothing_and_accuses_of_nothing() -> None:
    near = Position(lat=TRUE.lat + 0.0043, lng=TRUE.lng)  # 480 m
    for accuracy_m in (-1, -500, 3e9):
        assert flags_at(Position(lat=TRUE.lat, lng=TRUE.lng, accuracy_m=accuracy_m), near) == []
