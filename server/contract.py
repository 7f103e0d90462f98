"""The HTTP contract as a file, so that a change of it is seen in review."""

from pathlib import Path

import msgspec

from server.app import create_app
from server.settings import Settings


def contract(settings: Settings) -> bytes:
    """The OpenAPI document, indented, with sorted names: equal contracts are equal bytes."""
    document = create_app(settings).openapi_schema.to_schema()
    return msgspec.json.format(msgspec.json.encode(document, order="sorted"), indent=2) + b"\n"


def write_contract(settings: Settings, path: Path) -> None:
    path.write_bytes(contract(settings))
