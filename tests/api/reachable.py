"""How to ask every route that there is: what to put into its path, its query and its body.

A route that is not here fails tests/api/test_scope.py: whoever adds one says here how it is filled, and it is asked as every role.
Words in braces are filled with everything that the test's world has of them.
"""

import uuid
from typing import Any, Final

# path of the route -> queries; "{county}" and so on stand for all values that the world has
REACHABLE: Final[dict[str, list[str]]] = {
    "/audit/v1/entries": ["", "?person={person}", "?subject={person}", "?unit={unit}&limit=5"],
    "/devices/v1": [""],
    "/office/v1/conflicts": ["?county={county}"],
    "/office/v1/coverage/{county:int}": ["", "?unit={unit}", "?covered=true", "?covered=false"],
    "/office/v1/draws": ["?county={county}"],
    "/office/v1/draws/{county:int}/{draw:uuid}": [""],
    "/office/v1/draws/{county:int}/{draw:uuid}/list": [""],
    "/office/v1/held": ["?county={county}"],
    "/office/v1/imports/{subject:str}/template": [""],
    "/office/v1/ledgers/{ledger:str}": [
        "",
        "?county={county}",
        "?unit={few}",
        "?text=秘",
        "?sort=changed&limit=7",
        "?colour=red",
        "?department={few}",
    ],
    "/office/v1/letters/{letter:uuid}": [""],
    "/office/v1/records/{county:int}/{record:uuid}": [""],
    "/office/v1/refused/{county:int}": [""],
    "/office/v1/road-checks/{unit:str}": [""],
    "/office/v1/rules": ["?county={county}"],
    "/office/v1/supervisions/{county:int}/{record:uuid}/why": [""],
    "/people/v1/me": [""],
    "/people/v1/persons": ["", "?text=秘", "?unit={unit}&limit=3"],
    "/people/v1/persons/{person_id:uuid}": [""],
    "/people/v1/persons/{person_id:uuid}/devices": [""],
    "/people/v1/units": [""],
    "/photos/v1/wanted": ["?unit={unit}"],
    "/photos/v1/{county:int}/{sha256:str}/{rendering:str}": [""],
}
# No record is in them: health, metrics, documents, keys; draws that are disclosed to everybody.
PUBLIC: Final = {
    "/",
    "/auth/v1/second-factor",  # one's own
    "/health/live",
    "/health/ready",
    "/metrics",
    "/public/v1/draws",
    "/public/v1/draws/{commitment:str}/file",
    "/schema",
    "/schema/openapi.json",
    "/schema/{path:str}",
    "/sync/v1/keys",
    "/sync/v1/subjects",  # codes and titles of what may be patrolled, the same for everybody
}
# An endless answer: names of streams only, those of the exchange (tests/phone/test_real_server.py).
STREAMED: Final = {"/sync/v1/live"}

NEW: Final = "a new id"  # at every asking

# path of a route that writes -> a body; words in braces as above, and "{kind}" of the record. What a caller may do is done.
WRITTEN: Final[dict[str, list[Any]]] = {
    "/office/v1/conflicts/{county:int}/{conflict:uuid}/settle": [{"choice": "kept"}],
    "/office/v1/held/{county:int}/{device:uuid}/{n:int}/{action:str}": [{}],
    "/office/v1/letters": [{"letter": NEW, "from_unit": "{unit}", "units": ["{unit}"], "title": "函", "subject_record": "{record}"}],
    "/office/v1/mutations": [
        {"county": "{county}", "mutations": [{"id": NEW, "kind": "{kind}", "record": "{record}", "op": "edit", "fields": {"title": ["x", "y"]}}]},
        {"county": "{county}", "mutations": [{"id": NEW, "kind": "{kind}", "record": "{record}", "op": "problem.comment", "args": {"text": "x"}}]},
        {"county": "{county}", "mutations": [{"id": NEW, "kind": "{kind}", "record": "{record}", "op": "create", "body": {"unit": "{unit}"}}]},
    ],
    "/office/v1/problems/assign": [
        {"id": NEW, "county": "{county}", "problems": [{"problem": "{record}"}], "leads": ["{unit}"], "due_on": "2026-12-01"},
    ],
    "/office/v1/problems/look-back": [{"id": NEW, "county": "{county}", "look_back_on": "2026-12-20"}],
    "/people/v1/persons/{person_id:uuid}/correct": [{}],
    "/people/v1/persons/{person_id:uuid}/enable": [None],
    "/people/v1/persons/{person_id:uuid}/password": [None],
    "/photos/v1/complete": [{"county": "{county}", "sha256": "{sha256}"}],
    "/photos/v1/uploads": [{"photos": [{"county": "{county}", "sha256": "{sha256}", "bytes": 9, "media_type": "image/jpeg"}]}],
}  # fmt: skip
# Their answers repeat what was sent, name ids alone, or are judged by a test of their own.
QUIET: Final = {
    "/auth/v1/enrol",
    "/auth/v1/logout",
    "/auth/v1/password",
    "/auth/v1/refresh",
    "/auth/v1/second-factor",
    "/auth/v1/second-factor/confirm",
    "/auth/v1/second-factor/recovery-codes",
    "/devices/v1/{device_id:uuid}/lost",
    "/devices/v1/{device_id:uuid}/revoke",
    "/office/v1/imports/{subject:str}",  # tests/api/test_imports.py
    "/office/v1/rules",
    "/people/v1/duties",  # whoever is granted a duty in my unit has one there from then on
    "/people/v1/duties/{duty_id:uuid}/end",
    "/people/v1/persons",
    "/people/v1/persons/{person_id:uuid}/disable",
    "/people/v1/persons/{person_id:uuid}/second-factor/reset",
    "/people/v1/units",
    "/people/v1/units/{unit:str}/close",
    "/people/v1/units/{unit:str}/name",
    "/photos/v1/relay/{token:str}",
    # tests/api/test_draws.py: who may know of a draw
    "/office/v1/draws",
    "/office/v1/draws/{county:int}/{draw:uuid}/cancel",
    "/office/v1/draws/{county:int}/{draw:uuid}/commit",
    "/office/v1/draws/{county:int}/{draw:uuid}/depart",
    "/office/v1/draws/{county:int}/{draw:uuid}/disclose",
    "/office/v1/draws/{county:int}/{draw:uuid}/draw",
    "/office/v1/draws/{county:int}/{draw:uuid}/nonce",
}
EXCHANGED: Final = {"/sync/v1/exchange"}  # asked by tests/api/test_scope.py itself, with the cursor of a liar


def fresh(body: Any) -> Any:
    """The body with new ids where they are wanted."""
    if body == NEW:
        return str(uuid.uuid4())
    if isinstance(body, dict):
        return {name: fresh(value) for name, value in body.items()}
    return [fresh(value) for value in body] if isinstance(body, list) else body
