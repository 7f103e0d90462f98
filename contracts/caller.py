"""Who is asking: the person, the device and the duties that a token stands for."""

from __future__ import annotations

from enum import Enum

import msgspec

from contracts.ids import DeviceId, PersonId
from contracts.people import Duty


class DeviceKind(str, Enum):
    """What keeps the token: a phone with its store, a browser of the console, or the server's own jobs."""

    PHONE = "phone"
    CONSOLE = "console"
    SYSTEM = "system"


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """One authenticated request. `duties` are all the person ever had: permission is judged by the time of capture.

    wiped   reported lost: push-only, everything it hands in goes to quarantine, and it is told to delete itself
    cloned  two stores gave out its numbers: push-only into quarantine, until its person enrols a new store
    """

    person: PersonId
    name: str
    device: DeviceId
    device_kind: DeviceKind
    duties: tuple[Duty, ...]
    wiped: bool = False
    cloned: bool = False
