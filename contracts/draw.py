"""A provable random draw (双随机、一公开): what is committed, what is drawn, and the file that is disclosed (docs/draws.md).

Everything that is hashed or signed is hashed or signed in one canonical form (`canonical`): JSON as RFC 8785 has it, which for
strings and integers is sorted keys, no white space and UTF-8. There is no floating point anywhere.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import date, datetime
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from contracts.ids import County, PersonId, RecordId, UnitCode
from contracts.kind import Code, Sha256, ShortText

ALGORITHM: Final = "xunling-draw-1"
SECRET_BYTES: Final = 32
NONCE_CHARACTERS_MIN: Final = 16
SITES_MAX: Final = 100_000
DRAWN_MAX: Final = 500
INSPECTORS_MAX: Final = 2_000
EXCLUSIONS_WANTED_MAX: Final = 15_000
EXCLUSIONS_MAX: Final = 120_000  # what is excluded as recently drawn comes on top of what is asked for

Weight = Annotated[int, Meta(ge=1, le=1_000_000)]
NONCE_PATTERN: Final = rf"^[0-9A-Za-z_.:-]{{{NONCE_CHARACTERS_MIN},200}}$(?!\n)"
Nonce = Annotated[str, Meta(pattern=NONCE_PATTERN)]
EntryId = Annotated[str, Meta(min_length=1, max_length=80, pattern=r"^[0-9a-z_.:-]+$(?!\n)")]  # compared as bytes: lower case only
_PRINTED: Final = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f]*$(?!\n)"  # no control characters: PostgreSQL does not keep all of them, no file should
NAME_CHARACTERS_MAX: Final = 200
Name = Annotated[str, Meta(max_length=NAME_CHARACTERS_MAX, pattern=_PRINTED)]
Note = Annotated[str, Meta(max_length=1000, pattern=_PRINTED)]
Title = Annotated[str, Meta(min_length=1, max_length=200, pattern=_PRINTED)]


class PoolSite(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One site that may be drawn. `weight`: its chance against the others'; `why`: what the weight rests on."""

    id: EntryId
    name: Name
    unit: Name
    weight: Weight = 1
    why: Name = ""


class PoolInspector(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One person who may be sent. `unit`: the department they sit for in a joint draw.

    name  not committed to: of those who were not drawn it is never published (`published`)
    """

    id: EntryId
    name: Name = ""
    unit: Name


class Exclusion(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Site alone or inspector alone: not drawn at all. Both: this inspector is not sent to this site.

    note  for the issuing unit alone: whose relative, which illness. Neither committed to nor published.
    """

    reason: Code  # conflict_of_interest, recently_drawn, on_leave, ...
    site: EntryId | None = None
    inspector: EntryId | None = None
    note: Name = ""


class DrawRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much is drawn. `departments`: each team has at least one inspector of each. `visits_max`: sites of one inspector."""

    sites: Annotated[int, Meta(ge=1, le=DRAWN_MAX)]
    team_size: Annotated[int, Meta(ge=1, le=10)] = 2
    visits_max: Annotated[int, Meta(ge=1, le=DRAWN_MAX)] = 1
    departments: Annotated[list[Name], Meta(max_length=10)] = []


class DrawPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that is committed to, but for the secret. The order of the lists has no meaning: see `ordered`.

    previous  the commitment that this unit made before this one: a draw that was never disclosed is a gap to which all later point
    """

    draw: RecordId
    county: County
    unit: UnitCode
    title: ShortText
    previous: Sha256 | None = None
    sites: Annotated[list[PoolSite], Meta(max_length=SITES_MAX)]
    inspectors: Annotated[list[PoolInspector], Meta(max_length=INSPECTORS_MAX)]
    exclusions: Annotated[list[Exclusion], Meta(max_length=EXCLUSIONS_MAX)] = []
    rules: DrawRules


class Visit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One drawn site and who goes there. Visits stand in the order in which the sites were drawn."""

    site: str
    inspectors: list[str]


class DrawFailure(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why nothing can be drawn under these rules; `wanted` and `possible` are counts of what the name says.

    too_few_sites      sites that are not excluded
    too_few_inspectors seats (sites times team size) that can be filled at the same time
    """

    name: str
    wanted: int
    possible: int


class DrawResult(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Either all visits or the failure, never a part."""

    visits: list[Visit] = []
    failure: DrawFailure | None = None


class Statement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is published when a draw is committed: a hash, how, when; signed. No names, no counts, no place.

    public  the raw public bytes (hex) of the key that signed, `key` its id: the key may have been changed before the disclosure
    """

    commitment: Sha256
    algorithm: Code
    at: datetime
    public: str = ""
    key: str = ""
    sig: str = ""

    def signed_bytes(self) -> bytes:
        return f"xunling-draw-commitment-1\n{self.commitment}\n{self.algorithm}\n{moment(self.at)}\n{self.key}\n".encode()


class DrawFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is disclosed: enough to recompute everything. `sig` (Ed25519, hex) is over `signed_bytes`.

    plan         what was committed to, in its order, without what is private (`published`)
    digests      SHA-256 of each committed part: they say which part was changed
    nonce_at     when the server took it; not before the statement's time
    departed_at  None: the list was drawn and nobody was sent (`why` says why), or nothing could be drawn
    public       the signing key's raw public bytes (hex); who must not be fooled compares it with the one published before
    """

    format: str
    plan: DrawPlan
    secret: str
    digests: dict[str, Sha256]
    statement: Statement
    prepared_by: PersonId
    committed_by: PersonId
    nonce: Nonce
    nonce_by: PersonId
    nonce_at: datetime
    seed: Sha256
    result: DrawResult
    drawn_at: datetime
    departed_at: datetime | None = None
    why: str = ""
    disclosed_at: datetime
    public: str = ""
    key: str = ""
    sig: str = ""

    def signed_bytes(self) -> bytes:
        return b"xunling-draw-file-1\n" + canonical(msgspec.structs.replace(self, sig=""))


FORMAT: Final = "xunling-draw-file-1"


def canonical(value: Any) -> bytes:
    """The bytes that are hashed: RFC 8785 for strings, integers, booleans, null, arrays and objects."""
    plain = msgspec.to_builtins(value)
    return json.dumps(plain, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def moment(at: datetime) -> str:
    """A time as it stands in the file."""
    return str(msgspec.to_builtins(at))


def ordered(plan: DrawPlan) -> DrawPlan:
    """The plan with its lists in the one order in which they are hashed: by id, exclusions by the bytes that are hashed of them."""
    return msgspec.structs.replace(
        plan,
        sites=sorted(plan.sites, key=lambda site: site.id),
        inspectors=sorted(plan.inspectors, key=lambda inspector: inspector.id),
        exclusions=sorted(plan.exclusions, key=lambda exclusion: canonical(_committed_exclusion(exclusion))),
        rules=msgspec.structs.replace(plan.rules, departments=sorted(plan.rules.departments)),
    )


def published(plan: DrawPlan, result: DrawResult) -> DrawPlan:
    """What everybody may see of the plan: the names of those who were drawn, nobody else's, and no notes. It has the same digests."""
    drawn = {inspector for visit in result.visits for inspector in visit.inspectors}
    replace = msgspec.structs.replace
    return replace(
        plan,
        inspectors=[one if one.id in drawn else replace(one, name="") for one in plan.inspectors],
        exclusions=[replace(one, note="") for one in plan.exclusions],
    )


def _committed_exclusion(one: Exclusion) -> dict[str, str | None]:
    return {"inspector": one.inspector, "reason": one.reason, "site": one.site}


def digests_of(plan: DrawPlan, secret: bytes) -> dict[str, str]:
    """SHA-256 (hex) of each part's canonical bytes. `secret`: of its hex digits, as it stands in the file."""
    plan = ordered(plan)
    about = {"draw": str(plan.draw), "county": plan.county, "unit": plan.unit, "title": plan.title, "previous": plan.previous}
    parts: dict[str, Any] = {
        "about": about,
        "sites": plan.sites,
        "inspectors": [{"id": one.id, "unit": one.unit} for one in plan.inspectors],
        "exclusions": [_committed_exclusion(one) for one in plan.exclusions],
        "rules": plan.rules,
        "secret": secret.hex(),
    }
    return {name: hashlib.sha256(canonical(part)).hexdigest() for name, part in parts.items()}


def commitment_of(digests: dict[str, str], algorithm: str = ALGORITHM) -> str:
    """The hash that is published. It hides the pool, because `digests` has that of a secret of 256 bits."""
    return hashlib.sha256(canonical({"algorithm": algorithm, "digests": digests})).hexdigest()


def seed_of(secret: bytes, nonce: str, commitment: str) -> bytes:
    """SHA-256 over secret, nonce and commitment: nobody knew all three before the nonce came."""
    return hashlib.sha256(secret + nonce.encode() + bytes.fromhex(commitment)).digest()


# ------------------------------------------------------------------------------------------------ requests and answers


class SiteWanted(msgspec.Struct, frozen=True, kw_only=True):
    """A site of the pool; its name and unit are read from its record."""

    id: RecordId
    county: County
    weight: Weight = 1
    why: Name = ""


class InspectorWanted(msgspec.Struct, frozen=True, kw_only=True):
    """A person of the pool and the unit (a duty of theirs) they sit for."""

    id: PersonId
    unit: Code


class PrepareDraw(msgspec.Struct, frozen=True, kw_only=True):
    """`recently_drawn_days`: what this unit drew within so many days is excluded, with that reason; None: nothing is."""

    draw: RecordId
    unit: Code
    title: Title
    sites: Annotated[list[SiteWanted], Meta(min_length=1, max_length=SITES_MAX)]
    inspectors: Annotated[list[InspectorWanted], Meta(min_length=1, max_length=INSPECTORS_MAX)]
    exclusions: Annotated[list[Exclusion], Meta(max_length=EXCLUSIONS_WANTED_MAX)] = []
    rules: DrawRules
    recently_drawn_days: Annotated[int, Meta(ge=1, le=3660)] | None = None


class GiveNonce(msgspec.Struct, frozen=True, kw_only=True):
    """The second party's part. `commitment`: the one it was shown, so that it is known what the nonce was given for."""

    commitment: Sha256
    nonce: Nonce


class Depart(msgspec.Struct, frozen=True, kw_only=True):
    """`due_on` of the tasks that the inspectors get."""

    due_on: date | None = None
    note: Note = ""


class WithReason(msgspec.Struct, frozen=True, kw_only=True):
    reason: Note = ""


class DrawOut(msgspec.Struct, frozen=True, kw_only=True):
    """One draw as the issuing side sees it; the list itself is only in `DrawListOut`.

    untold  told at the departure: inspectors whose task could not be made
    """

    draw: RecordId
    county: County
    unit: UnitCode
    title: str
    state: str
    commitment: str | None = None
    nonce: str | None = None
    prepared_by: PersonId | None = None
    committed_by: PersonId | None = None
    seeded_by: PersonId | None = None
    steps: list[dict[str, Any]] = []
    untold: list[PersonId] = []


class Draws(msgspec.Struct, frozen=True, kw_only=True):
    """The last changed first. `next`: give it as `before`; None: that was all."""

    draws: list[DrawOut]
    next: str | None = None


class DrawListOut(msgspec.Struct, frozen=True, kw_only=True):
    """The sealed list, opened for the issuing unit: each opening is in the audit log. No result before it is drawn."""

    plan: DrawPlan
    result: DrawResult | None = None


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """One commitment, for everybody. A draw that was committed and given up stays here.

    seeded_at      when its nonce came. From then on it must be disclosed: if it is not, ask
    nonce_sha256   of the nonce (hex): afterwards no other can be said to have been given
    """

    statement: Statement
    seeded_at: datetime | None = None
    nonce_sha256: Sha256 | None = None
    disclosed_at: datetime | None = None
    cancelled_at: datetime | None = None


class PublishedPage(msgspec.Struct, frozen=True, kw_only=True):
    """Newest first. `next`: give it as `before`; None: that was all."""

    draws: list[Published]
    next: str | None = None


def plan_faults(plan: DrawPlan) -> Sequence[str]:
    """What is wrong with a plan, whatever the seed: doubled or unknown ids, rules that contradict each other."""
    sites, inspectors = {s.id for s in plan.sites}, {i.id for i in plan.inspectors}
    departments = plan.rules.departments
    faults = []
    if len(sites) < len(plan.sites):
        faults.append("监管对象重复")
    if len(inspectors) < len(plan.inspectors):
        faults.append("检查人员重复")
    if len(set(departments)) < len(departments):
        faults.append("部门重复")
    if len(departments) > plan.rules.team_size:
        faults.append("每组人数少于部门数")
    for one in plan.exclusions:
        if one.site is None and one.inspector is None:
            faults.append("排除项未指明监管对象或检查人员")
        if (one.site is not None and one.site not in sites) or (one.inspector is not None and one.inspector not in inspectors):
            faults.append("排除项不在名单内")
    return sorted(set(faults))
