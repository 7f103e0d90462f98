"""What every synced kind declares, and where its records live (design.md section 2)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from contracts.ids import PersonId
from contracts.people import Audience

Text = Annotated[str, Meta(max_length=4000)]
ShortText = Annotated[str, Meta(max_length=200)]
# Blanks, then the first character that is to be read: so that no text is tried at more than one place, the time stays linear.
HEADING_PATTERN: Final = (
    r"^(?:(?![\x00-\x1f\x7f\u2028\u2029])[\s\u200b])*[^\s\x00-\x1f\x7f\u200b\u2028\u2029][^\x00-\x1f\x7f\u2028\u2029]*$(?!\n)"
)
Heading = Annotated[str, Meta(max_length=200, pattern=HEADING_PATTERN)]  # something to read, in one line
Code = Annotated[str, Meta(max_length=80, pattern=r"^[0-9A-Za-z_.:-]+$(?!\n)")]
Moment = Annotated[datetime, Meta(tz=True)]  # a time of day without its zone is no moment
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$(?!\n)")]


ACCURACY_M_MAX: Final = 1_000_000


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """WGS-84 with its accuracy; one value, so its parts can never be mixed (design.md section 5).

    accuracy_m   as the phone says; negative (as iOS says it) or beyond 1,000 km means that it is not known: see `error_m`
    """

    lat: Annotated[float, Meta(ge=-90, le=90)]
    lng: Annotated[float, Meta(ge=-180, le=180)]
    accuracy_m: float | None = None
    mocked: bool | None = None  # the phone said the position came from a mock provider

    @property
    def error_m(self) -> float | None:
        """By how many metres it may err, where the phone knew."""
        return self.accuracy_m if self.accuracy_m is not None and 0 <= self.accuracy_m <= ACCURACY_M_MAX else None


class Comment(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of an append-only list; `id` makes a repeated entry the same entry.

    by, at   written by the server: who added it, and when it was captured at the latest; what a phone says here counts for nothing
    """

    id: Annotated[str, Meta(max_length=64)]
    text: Text
    by: PersonId | None = None
    at: datetime | None = None


class ChecklistRef(msgspec.Struct, frozen=True, kw_only=True):
    """The published version an inspection is pinned to."""

    slug: Code
    jurisdiction: Code
    version: Annotated[int, Meta(ge=1)]


class Step(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One command in a record's story: who did what, when, from which state to which, with which reason."""

    id: str  # of the mutation
    command: Code
    by: PersonId | None = None
    at: datetime  # when the server took it
    captured_at: datetime | None = None  # when it was done, at the latest; a late one is judged by this
    source: str = ""
    to: str = ""
    args: dict[str, Any] = {}
    sets: dict[str, Any] = {}  # deadline, leads, end of a suspension: what later judgement asks for as it was then


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """One synced kind: three files make a new one (docs/how-to/add-a-kind.md)."""

    name: str
    title: str  # Chinese
    body: type[msgspec.Struct]
    audience: Audience = Audience.FIELD  # its records live in "<body.unit>.<audience>"
    parent: str | None = None  # field naming the record whose stream this one shares and follows (photos)
    server_made: bool = False  # devices never create it
    sealed: bool = False  # a part of it never travels, so it is made only where that is kept (draws)
    projects: str | None = None  # field naming the source: a projection; commands on it are planned on the source
