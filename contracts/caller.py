"""Who is asking: the person, the device and the duties that a token stands for."""

from __future__ import annotations

from datetime import datetime
from enum import Enum

import msgspec

from contracts.ids import DeviceId, PersonId
from contracts.people import Duty


class DeviceKind(str, Enum):
    """What keeps the token: a phone with its store, or a browser of the console. What the server numbers itself is no such device."""

    PHONE = "phone"
    CONSOLE = "console"


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """One authenticated request. `duties` are all the person ever had: permission is judged by the time of capture.

    enrolled_at  when the device was enrolled first: nothing was captured on it before
    wiped   reported lost: push-only, everything it hands in goes to quarantine, and it is told to delete itself
    cloned  two stores gave out its numbers: push-only into quarantine, until its person enrols a new store
    strong  the log-in has shown a second factor
    demo    of the demo staff, or made by them
    """

    person: PersonId
    name: str
    device: DeviceId
    device_kind: DeviceKind
    duties: tuple[Duty, ...]
    enrolled_at: datetime | None = None
    wiped: bool = False
    cloned: bool = False
    strong: bool = False
    demo: bool = False
