"""How to ask every GET route that there is: what to put into its path and its query.

A route that is not here fails tests/api/test_scope.py: whoever adds one says here how it is filled, and it is asked as every role.
Words in braces are filled with everything that the test's world has of them.
"""

from typing import Final

# path of the route -> queries; "{county}" and so on stand for all values that the world has
REACHABLE: Final[dict[str, list[str]]] = {
    "/audit/v1/entries": ["", "?person={person}"],
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
        "?unit={unit}",
        "?text=秘",
        "?sort=changed",
        "?colour=red",
        "?department={unit}",
    ],
    "/office/v1/letters/{letter:uuid}": [""],
    "/office/v1/records/{county:int}/{record:uuid}": [""],
    "/office/v1/road-checks/{unit:str}": [""],
    "/office/v1/rules": ["?county={county}"],
    "/people/v1/me": [""],
    "/people/v1/persons": ["", "?text=秘"],
    "/people/v1/persons/{person_id:uuid}": [""],
    "/people/v1/persons/{person_id:uuid}/devices": [""],
    "/people/v1/units": [""],
    "/photos/v1/wanted": ["?unit={unit}"],
    "/photos/v1/{county:int}/{sha256:str}/{rendering:str}": [""],
}
# No record is in them: health, metrics, documents, keys; draws that are disclosed to everybody.
PUBLIC: Final = {
    "/health/live",
    "/health/ready",
    "/metrics",
    "/public/v1/draws",
    "/public/v1/draws/{commitment:str}/file",
    "/schema",
    "/schema/openapi.json",
    "/schema/{path:str}",
    "/sync/v1/keys",
}
# An endless answer: names of streams only, those of the exchange (tests/phone/test_real_server.py).
STREAMED: Final = {"/sync/v1/live"}
