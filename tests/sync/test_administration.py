"""Who may administer whom, for all duties and units of a small county."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from contracts.people import Account, Duty, Level, Role, Unit
from sync.administration import (
    ADMINS,
    DUTIES_MAX,
    ROLE_LEVELS,
    Refusal,
    answered_for,
    apart_refusal,
    duty_refusal,
    end_refusal,
    grant_refusal,
    last_admin_refusal,
    number_refusal,
    person_refusal,
    unit_refusal,
)
from sync.places import Places
from sync.scope import is_within, units_with

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
DAYS = 31
SOMEBODY = UUID(int=99)


def wanted(role: Role, unit: str, starts: datetime = NOW, ends: datetime | None = None) -> Duty:
    return Duty(person=SOMEBODY, role=role, unit=unit, starts=starts, ends=ends)


@given(duties, st.sampled_from(Role), codes, moments, st.none() | moments)
def test_a_grant_lies_inside_what_an_admin_holds_now(
    admin: list[Duty], role: Role, unit: str, starts: datetime, ends: datetime | None
) -> None:
    refused = duty_refusal(admin, wanted(role, unit, starts, ends), (), PLACES, NOW, DAYS)
    inside = any(
        d.role is Role.ADMIN and d.starts <= NOW and (d.ends is None or d.ends > NOW) and PLACES.covers(d.unit, unit) for d in admin
    )
    if refused is None:
        assert inside
        assert PLACES.units[unit].level in ROLE_LEVELS[role]
        assert role is not Role.SYSTEM
        assert ends is None or starts < ends
        assert starts > NOW - timedelta(days=DAYS + 1)
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
    assert duty_refusal(admin, wanted(Role.ADMIN, unit), (), PLACES, NOW, DAYS) is Refusal.UNKNOWN_UNIT
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


# ------------------------------------------------------------------------------------------------ decision 0030

COUNTY, TOWN, VILLAGE, OTHER_TOWN = "610902", "610902101", "610902101001", "610921100"
VILLAGE_ADMIN = [Duty(person=UUID(int=1), role=Role.ADMIN, unit=VILLAGE, starts=NOW - timedelta(days=300))]


def ended(role: Role, unit: str, days_ago: float) -> Duty:
    return wanted(role, unit, NOW - timedelta(days=400), NOW - timedelta(days=days_ago))


def test_who_was_county_supervisor_is_not_taken_over_by_a_village() -> None:
    """The chain of an admin of one village to a supervisor's powers ends at its first step."""
    supervisor = [ended(Role.COUNTY_SUPERVISOR, COUNTY, 5)]
    grant = wanted(Role.GRID_MEMBER, VILLAGE)
    assert grant_refusal(VILLAGE_ADMIN, grant, supervisor, PLACES, NOW, DAYS) is Refusal.PERSON_OUTSIDE_YOUR_UNITS
    with_field_duty = [*supervisor, grant]  # somebody above gave a duty in the village
    assert person_refusal(VILLAGE_ADMIN, with_field_duty, PLACES, NOW) is Refusal.PERSON_OUTSIDE_YOUR_UNITS
    long_ago = [ended(Role.COUNTY_SUPERVISOR, COUNTY, 181), grant]
    assert person_refusal(VILLAGE_ADMIN, long_ago, PLACES, NOW) is None


def test_without_an_open_duty_those_count_that_ended_last() -> None:
    theirs = [ended(Role.GRID_MEMBER, OTHER_TOWN, 200), ended(Role.GRID_MEMBER, VILLAGE, 190), ended(Role.VILLAGE_LEAD, VILLAGE, 190)]
    assert answered_for(theirs, NOW) == theirs[1:]
    assert answered_for(theirs[::-1], NOW) == theirs[:0:-1]
    assert person_refusal(VILLAGE_ADMIN, theirs, PLACES, NOW) is None
    assert person_refusal(VILLAGE_ADMIN, [theirs[0]], PLACES, NOW) is Refusal.PERSON_OUTSIDE_YOUR_UNITS
    assert person_refusal(VILLAGE_ADMIN, [], PLACES, NOW) is Refusal.PERSON_OUTSIDE_YOUR_UNITS


def test_a_field_duty_elsewhere_that_has_ended_is_no_hindrance() -> None:
    theirs = [ended(Role.GRID_MEMBER, OTHER_TOWN, 3), wanted(Role.GRID_MEMBER, VILLAGE)]
    assert person_refusal(VILLAGE_ADMIN, theirs, PLACES, NOW) is None


@given(duties, duty(), duties)
def test_what_is_granted_is_never_to_oneself_and_only_to_people_one_administers(admin: list[Duty], one: Duty, theirs: list[Duty]) -> None:
    refused = grant_refusal(admin, one, theirs, PLACES, NOW, DAYS)
    if refused is None:
        assert one.person not in {d.person for d in admin}
        assert person_refusal(admin, theirs, PLACES, NOW) is None
        assert duty_refusal(admin, one, theirs, PLACES, NOW, DAYS) is None


def test_a_county_admin_gives_nothing_to_themselves() -> None:
    admin = [Duty(person=SOMEBODY, role=Role.ADMIN, unit=COUNTY, starts=NOW - timedelta(days=9))]
    grant = wanted(Role.COUNTY_SUPERVISOR, COUNTY)
    assert grant_refusal(admin, grant, admin, PLACES, NOW, DAYS) is Refusal.NOT_TO_YOURSELF


def test_who_audits_neither_administers_nor_supervises_at_the_same_moment() -> None:
    auditor = wanted(Role.AUDITOR, COUNTY, NOW - timedelta(days=9), NOW + timedelta(days=9))
    for role, unit in ((Role.ADMIN, VILLAGE), (Role.COUNTY_SUPERVISOR, "610921"), (Role.CITY_SUPERVISOR, "610900")):
        for one, other in ((auditor, wanted(role, unit)), (wanted(role, unit), auditor)):
            assert apart_refusal(one, [other]) is Refusal.AUDITOR_IS_APART
        assert apart_refusal(wanted(role, unit, NOW + timedelta(days=9)), [auditor]) is None, "afterwards"
    assert apart_refusal(auditor, [wanted(Role.GRID_MEMBER, VILLAGE)]) is None


def test_a_duty_starts_a_month_ago_at_most_and_in_the_future_as_one_likes() -> None:
    admin = [Duty(person=UUID(int=1), role=Role.ADMIN, unit=COUNTY, starts=NOW - timedelta(days=900))]

    def starting(days: int) -> Refusal | None:
        return duty_refusal(admin, wanted(Role.GRID_MEMBER, VILLAGE, NOW + timedelta(days=days)), (), PLACES, NOW, DAYS)

    assert (starting(-31), starting(-32), starting(4000)) == (None, Refusal.STARTS_TOO_EARLY, None)


def test_somebody_has_a_bounded_number_of_duties() -> None:
    admin = [Duty(person=UUID(int=1), role=Role.ADMIN, unit=COUNTY, starts=NOW - timedelta(days=900))]
    many = [ended(Role.GRID_MEMBER, VILLAGE, day) for day in range(DUTIES_MAX)]
    assert duty_refusal(admin, wanted(Role.GRID_MEMBER, VILLAGE), many, PLACES, NOW, DAYS) is Refusal.TOO_MANY_DUTIES
    assert duty_refusal(admin, wanted(Role.GRID_MEMBER, VILLAGE), many[1:], PLACES, NOW, DAYS) is None


def test_a_number_goes_on_from_a_disabled_account_and_tells_nothing_of_others() -> None:
    def holder(unit: str, *, disabled: bool) -> Account:
        return Account(person=SOMEBODY, phone="13611112222", name="王小河", is_disabled=disabled, duties=(wanted(Role.GRID_MEMBER, unit),))

    def refused(name: str, account: Account | None) -> Refusal | None:
        return number_refusal(VILLAGE_ADMIN, name, account, PLACES, NOW)

    assert refused("王小河", None) is None
    for name in ("王小河", "赵大山"):
        assert refused(name, holder(VILLAGE, disabled=False)) is Refusal.ACCOUNT_EXISTS
        assert refused(name, holder(OTHER_TOWN, disabled=False)) is Refusal.ACCOUNT_ELSEWHERE
        assert refused(name, holder(OTHER_TOWN, disabled=True)) is None
    assert refused("赵大山", holder(VILLAGE, disabled=True)) is None
    assert refused("王小河", holder(VILLAGE, disabled=True)) is Refusal.ACCOUNT_DISABLED, "the same person: enable the account"


def test_one_unit_is_asked_as_all_of_them_are() -> None:
    for role, unit in ((Role.ADMIN, "610902101"), (Role.ADMIN, "6109"), (Role.AUDITOR, "610902101"), (Role.ADMIN, "nowhere")):
        duties = [Duty(person=UUID(int=1), role=role, unit=unit, starts=NOW - timedelta(days=1))]
        for roles in (frozenset({Role.ADMIN}), frozenset({Role.ADMIN, Role.AUDITOR})):
            among = units_with(roles, duties, PLACES, NOW)
            assert {code for code in [*PLACES.units, "nowhere"] if is_within(roles, duties, PLACES, code, NOW)} == among
