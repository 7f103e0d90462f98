"""Logging in, devices, and the administration of people and units: requests and answers (docs/access.md)."""

from __future__ import annotations

from datetime import date, datetime
from enum import Enum
from typing import Annotated, Final
from uuid import UUID

import msgspec
from msgspec import Meta

from contracts.caller import DeviceKind
from contracts.ids import County, DeviceId, PersonId, UnitCode
from contracts.people import Level, Role, Unit
from contracts.phones import TYPED_CHARACTERS_MAX, TYPED_PHONE_PATTERN, plain_phone

PASSWORD_CHARACTERS_MIN: Final = 8
PAGE_ROWS_MAX: Final = 200

# Not the shape of a national code: the county, township or village of that code may be loaded one day.
UNIT_CODE_PATTERN: Final = r"^(?!([0-9]{6}|[0-9]{9}|[0-9]{12})$(?!\n))[0-9a-z_-]{3,64}$(?!\n)"

# As it is typed; a request keeps it in the one form it is stored in (contracts/phones.py).
Phone = Annotated[
    str,
    Meta(title="手机号", pattern=TYPED_PHONE_PATTERN, max_length=TYPED_CHARACTERS_MAX, examples=["13800000001", "+86 138-0000-0001"]),
]
Password = Annotated[str, Meta(title="密码", min_length=1, max_length=128)]
NewPassword = Annotated[str, Meta(title="新密码", min_length=PASSWORD_CHARACTERS_MIN, max_length=128)]
# Something to read, in one line, and no markup: names stand in lists, files and messages.
NAME_PATTERN: Final = (
    r"^(?:(?![\x00-\x1f\x7f\u2028\u2029])[\s\u200b])*[^\s\x00-\x1f\x7f<>\u200b\u2028\u2029][^\x00-\x1f\x7f<>\u2028\u2029]*$(?!\n)"
)
Name = Annotated[str, Meta(title="姓名", min_length=1, max_length=50, pattern=NAME_PATTERN)]
Title = Annotated[str, Meta(title="名称", max_length=100)]
OptionalCode = Annotated[str, Meta(title="验证码", max_length=40)]
SecondFactorCode = Annotated[str, Meta(title="验证码", min_length=1, max_length=40)]
Token = Annotated[str, Meta(title="凭证", min_length=20, max_length=200)]
Code = Annotated[str, Meta(title="单位代码", min_length=2, max_length=64)]


def keep_plain_phone(request: EnrolRequest | PersonIn | CorrectPerson) -> None:
    """A number in a request is one number, however it was typed: at the log-in as where it was entered."""
    if request.phone is not None and (plain := plain_phone(request.phone)) is not None:
        msgspec.structs.force_setattr(request, "phone", plain)


class DeviceIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """The local store that logs in. It makes its own id (UUIDv7), once, when its store is made.

    proof   what came with the last tokens: strangers' wrong passwords do not lock out a device that has one
    """

    id: DeviceId
    name: Title = ""
    kind: DeviceKind = DeviceKind.PHONE
    proof: Annotated[str, Meta(title="设备证明", max_length=100)] = ""


class EnrolRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A log-in. It may be repeated as it is after a lost answer, but for a `code`, which is good once.

    code           where the person has a second factor: of the authenticator app, or a recovery code
    new_password   replaces `password`; needed where the answer was `password_change_required`
    """

    phone: Phone
    password: Password
    device: DeviceIn
    code: OptionalCode = ""
    new_password: NewPassword | None = None

    def __post_init__(self) -> None:
        keep_plain_phone(self)


class RefreshRequest(msgspec.Struct, frozen=True, kw_only=True):
    refresh: Token


class Tokens(msgspec.Struct, frozen=True, kw_only=True):
    """`access` goes into `Authorization: Bearer`; `refresh` gets the next pair. Store both before using either.

    proof   comes with a log-in; kept beside the device's id and sent with the next log-in
    """

    access: str
    access_ends: datetime
    refresh: str
    refresh_ends: datetime
    person: PersonId
    device: DeviceId
    server_ms: int
    proof: str = ""


class BeginSecondFactor(msgspec.Struct, frozen=True, kw_only=True):
    password: Password


class SecondFactorDraft(msgspec.Struct, frozen=True, kw_only=True):
    """For an authenticator app. `uri` is what its QR code says (otpauth://)."""

    secret: str
    uri: str


class CodeIn(msgspec.Struct, frozen=True, kw_only=True):
    """Six digits of the authenticator app, or a recovery code."""

    code: SecondFactorCode


class RecoveryCodes(msgspec.Struct, frozen=True, kw_only=True):
    """Each is good once. To be written down: they are not shown again."""

    codes: list[str]


class SecondFactorState(msgspec.Struct, frozen=True, kw_only=True):
    """`lacking`: the person's roles need one and this log-in has not shown it, so little else is open."""

    confirmed_at: datetime | None
    lacking: bool
    recovery_codes_left: int


class ChangePassword(msgspec.Struct, frozen=True, kw_only=True):
    old: Password
    new: NewPassword


class DeviceOut(msgspec.Struct, frozen=True, kw_only=True):
    """`current`: the device that asks. `seen_at`: its last exchange, None when there was none."""

    id: DeviceId
    name: str
    kind: DeviceKind
    enrolled_at: datetime
    seen_at: datetime | None = None
    wiped_at: datetime | None = None
    revoked_at: datetime | None = None
    revoked_why: str | None = None
    current: bool = False


class DutyOut(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID
    role: Role
    unit: UnitCode
    unit_name: str
    starts: datetime
    ends: datetime | None = None


class DutyIn(msgspec.Struct, frozen=True, kw_only=True):
    """`starts`: None means from now on. A duty is never deleted, only ended."""

    role: Role
    unit: Code
    starts: datetime | None = None
    ends: datetime | None = None


class GrantDuty(msgspec.Struct, frozen=True, kw_only=True):
    """`id`: made by the client, so that the same again grants nothing twice."""

    id: UUID | None = None
    person: PersonId
    duty: DutyIn


class EndDuty(msgspec.Struct, frozen=True, kw_only=True):
    """`ends`: None means now. An end may be moved, but not into the past."""

    ends: datetime | None = None


class PersonIn(msgspec.Struct, frozen=True, kw_only=True):
    """At least one duty, inside the units of whoever creates the person. Without a password one is made."""

    name: Name
    phone: Phone
    duties: Annotated[list[DutyIn], Meta(min_length=1, max_length=20)]
    password: NewPassword | None = None

    def __post_init__(self) -> None:
        keep_plain_phone(self)


class CorrectPerson(msgspec.Struct, frozen=True, kw_only=True):
    """A name that was mistyped or changed, a new number. What is not given stays."""

    name: Name | None = None
    phone: Phone | None = None

    def __post_init__(self) -> None:
        keep_plain_phone(self)


class PersonOut(msgspec.Struct, frozen=True, kw_only=True):
    """`password`: only in the answer that made it, and never again."""

    id: PersonId
    name: str
    phone: str
    created_at: datetime
    disabled_at: datetime | None = None
    duties: list[DutyOut] = []
    password: str | None = None


class People(msgspec.Struct, frozen=True, kw_only=True):
    """A page. `next`: give it as `after` to read on; None: that was all."""

    people: list[PersonOut]
    next: str | None = None


class Me(msgspec.Struct, frozen=True, kw_only=True):
    person: PersonOut
    device: DeviceOut
    counties: list[County]


class Units(msgspec.Struct, frozen=True, kw_only=True):
    units: list[Unit]


class UnitIn(msgspec.Struct, frozen=True, kw_only=True):
    """A grid, team or department under a unit of the caller. Areas come from the national codes."""

    code: Annotated[str, Meta(title="单位代码", pattern=UNIT_CODE_PATTERN)]
    parent: Code
    level: Level
    name: Name


class RenameUnit(msgspec.Struct, frozen=True, kw_only=True):
    name: Name


class CloseUnit(msgspec.Struct, frozen=True, kw_only=True):
    """From this day on (in China) nothing new is given to the unit and all below it; None: it goes on after all."""

    closed_on: date | None


class Action(str, Enum):
    """What the audit log tells of. Values are stored: never rename one."""

    ENROLLED = "enrolled"
    LOGIN_FAILED = "login_failed"
    LOGIN_LOCKED = "login_locked"
    LOGGED_OUT = "logged_out"
    REFRESH_REUSED = "refresh_reused"  # a spent token came back: somebody has a copy
    PASSWORD_CHANGED = "password_changed"  # noqa: S105 - an action
    PASSWORD_RESET = "password_reset"  # noqa: S105 - an action
    SECOND_FACTOR_SET = "second_factor_set"
    SECOND_FACTOR_RESET = "second_factor_reset"
    RECOVERY_CODES_RENEWED = "recovery_codes_renewed"
    DEVICE_REVOKED = "device_revoked"
    DEVICE_WIPED = "device_wiped"
    PERSON_CREATED = "person_created"
    PERSON_CORRECTED = "person_corrected"
    PERSON_DISABLED = "person_disabled"
    PERSON_ENABLED = "person_enabled"
    NUMBER_PASSED_ON = "number_passed_on"  # a disabled account's number belongs to a new account from now on
    PERSON_READ = "person_read"  # once an hour for each reader (api/readings.py), as those below
    PEOPLE_LISTED = "people_listed"
    PHOTO_READ = "photo_read"
    DUTY_GRANTED = "duty_granted"
    DUTY_ENDED = "duty_ended"
    UNIT_CREATED = "unit_created"
    UNIT_RENAMED = "unit_renamed"
    UNIT_CLOSED = "unit_closed"
    HELD_SETTLED = "held_settled"
    CONFLICT_SETTLED = "conflict_settled"
    RULE_PUBLISHED = "rule_published"
    IMPORTED = "imported"
    DRAW_LIST_OPENED = "draw_list_opened"  # somebody looked at a sealed pool or list


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Who did what, on what, when, from where. `subject` is an id; `detail` never holds a secret."""

    id: UUID
    at: datetime
    county: County
    unit: UnitCode | None
    action: str
    person: PersonId | None
    person_name: str | None
    device: DeviceId | None
    subject: str | None
    detail: msgspec.Raw
    source: str
    request: str


class AuditPage(msgspec.Struct, frozen=True, kw_only=True):
    entries: list[AuditEntry]
    next: str | None = None
