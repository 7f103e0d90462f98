"""Who may administer whom, for all duties and units of a small county."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from contracts.people import Duty, Level, Role, Unit
from sync.administration import (
    ADMINS,
    ROLE_LEVELS,
    Refusal,
    end_refusal,
    grant_refusal,
    last_admin_refusal,
    person_refusal,
    unit_refusal,
    units_with,
)
from sync.places import Places

NOW = datetime(2026, 6, 1, tzinfo=UTC)
UNITS = [
    Unit(code="610900", county=610900, parent=None, level=Level.CITY, name="市"),
    Unit(code="610902", county=610902, parent="610900", level=Level.COUNTY, name="区"),
    Unit(code="610902-d", county=610902, parent="610902", level=Level.DEPARTMENT, name="局"),
    Unit(code="610902101", county=610902, parent="610902", level=Level.TOWNSHIP, name="镇"),
    Unit(code="610902101001", county=610902, parent="610902101", level=Level.VILLAGE, name="村"),
    Unit(code="610921", county=610921, parent="610900", level=Level.COUNTY, name="县"),
    Unit(code="610921100", county=610921, parent="610921", level=Level.TOWNSHIP, name="镇二"),
]
PLACES = Places(UNITS)
CODES = [u.code for u in UNITS]

moments = st.integers(-5, 5).map(lambda days: NOW + timedelta(days=days))
codes = st.sampled_from(CODES)


@st.composite
def duty(draw: st.DrawFn) -> Duty:
    starts = draw(moments)
    ends = draw(st.none() | st.integers(1, 8).map(lambda days: starts + timedelta(days=days)))
    return Duty(person=UUID(int=1), role=draw(st.sampled_from(Role)), unit=draw(codes), starts=starts, ends=ends)


duties = st.lists(duty(), max_size=5)


@given(duties, st.sampled_from(Role), codes, moments, st.none() | moments)
def test_a_grant_lies_inside_what_an_admin_holds_now(
    admin: list[Duty], role: Role, unit: str, starts: datetime, ends: datetime | None
) -> None:
    refused = grant_refusal(admin, role, unit, starts, ends, PLACES, NOW)
    inside = any(
        d.role is Role.ADMIN and d.starts <= NOW and (d.ends is None or d.ends > NOW) and PLACES.covers(d.unit, unit) for d in admin
    )
    if refused is None:
        assert inside
        assert PLACES.units[unit].level in ROLE_LEVELS[role]
        assert role is not Role.SYSTEM
        assert ends is None or starts < ends
    if not inside:
        assert refused is Refusal.OUTSIDE_YOUR_UNITS


@given(duties, duties)
def test_a_person_is_administered_only_by_an_admin_of_all_their_open_duties(admin: list[Duty], theirs: list[Duty]) -> None:
    mine = units_with(ADMINS, admin, PLACES, NOW)
    if person_refusal(admin, theirs, PLACES, NOW) is None:
        assert theirs
        assert all(d.unit in mine for d in theirs if d.ends is None or d.ends > NOW)


@given(duties, duties, duty())
def test_more_duties_of_theirs_never_make_a_person_easier_to_administer(admin: list[Duty], theirs: list[Duty], more: Duty) -> None:
    still_open = [d for d in theirs if d.ends is None or d.ends > NOW]
    if still_open and person_refusal(admin, theirs, PLACES, NOW) is not None:
        assert person_refusal(admin, [*theirs, more], PLACES, NOW) is not None


@given(duties, duty(), moments)
def test_a_duty_is_not_ended_in_the_past_nor_twice(admin: list[Duty], one: Duty, ends: datetime) -> None:
    refused = end_refusal(admin, one, ends, PLACES, NOW)
    if refused is None:
        assert ends >= NOW
        assert ends > one.starts
        assert one.ends is None or one.ends > NOW
        assert one.unit in units_with(ADMINS, admin, PLACES, NOW)


@given(duties, codes, st.sampled_from(Level))
def test_only_grids_teams_and_departments_are_added_and_only_below_me(admin: list[Duty], parent: str, level: Level) -> None:
    if unit_refusal(admin, parent, level, PLACES, NOW) is None:
        assert level in (Level.GRID, Level.TEAM, Level.DEPARTMENT)
        assert parent in units_with(ADMINS, admin, PLACES, NOW)


@given(duties, st.sampled_from(["", "999999", "610902101001x"]))
def test_an_unknown_unit_is_said_to_be_unknown(admin: list[Duty], unit: str) -> None:
    assert grant_refusal(admin, Role.ADMIN, unit, NOW, None, PLACES, NOW) is Refusal.UNKNOWN_UNIT
    assert unit_refusal(admin, unit, Level.GRID, PLACES, NOW) is Refusal.UNKNOWN_UNIT


def test_every_role_has_its_levels() -> None:
    assert set(ROLE_LEVELS) == set(Role)


@given(duty(), duties)
def test_nobody_is_left_without_an_admin(ending: Duty, others: list[Duty]) -> None:
    """A unit that had an admin still has one when the last of a chain of ends is through."""
    refused = last_admin_refusal([ending], others, NOW, PLACES)
    left = [d for d in others if d.role is Role.ADMIN and d.starts <= NOW and (d.ends is None or d.ends > NOW)]
    if ending.role is not Role.ADMIN:
        assert refused is None
    elif refused is None:
        assert any(PLACES.covers(d.unit, ending.unit) for d in left)
    else:
        assert refused is Refusal.LAST_ADMIN
        assert not any(PLACES.covers(d.unit, ending.unit) for d in left)
