"""The contracts as files, so that a change of them is seen in review: the HTTP document and the sync protocol's JSON Schema."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from api.document import completed
from contracts.exchange import Buckets, End, ExchangeRequest, Hello, Outcomes, Page, Repair, Scope
from contracts.kinds import KINDS
from contracts.mutation import CONTRACT_MAX, CONTRACT_MIN, Mutation
from contracts.photos import CompleteAnswer, PhotoRequest, UploadAnswer
from contracts.receipt import PhotoReceipt, Receipt
from contracts.rules import RULE_BODIES
from server.app import create_app
from server.settings import Settings

OPENAPI: Final = Path("contracts/openapi.json")
PROTOCOL: Final = Path("contracts/sync-protocol.schema.json")
MESSAGES: Final = (
    ExchangeRequest, Mutation, Hello, Outcomes, Scope, Page, Buckets, Repair, End,
    Receipt, PhotoReceipt, PhotoRequest, UploadAnswer, CompleteAnswer,
)  # fmt: skip


def contract(settings: Settings) -> bytes:
    """The OpenAPI document, indented, with sorted names: equal contracts are equal bytes."""
    return _written(completed(create_app(settings).openapi_schema.to_schema()))


def protocol_schema() -> bytes:
    """JSON Schema 2020-12 of every message of the sync protocol and of every kind's body, with labels and merge policies."""
    shapes = (*MESSAGES, *(kind.body for kind in KINDS.values()), *RULE_BODIES.values())
    _, components = msgspec.json.schema_components(shapes, ref_template="#/$defs/{name}")
    return _written(
        {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "Xunling sync protocol",
            "x-contract-min": CONTRACT_MIN,
            "x-contract-max": CONTRACT_MAX,
            "x-kinds": {
                name: {
                    "title": kind.title,
                    "body": f"#/$defs/{kind.body.__name__}",
                    "audience": kind.audience.value,
                    "parent": kind.parent,
                    "server_made": kind.server_made,
                    "projects": kind.projects,
                }
                for name, kind in KINDS.items()
            },
            "$defs": components,
        }
    )


def _written(document: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(document, order="sorted"), indent=2) + b"\n"


def write_contracts(settings: Settings, root: Path) -> list[Path]:
    """Write both files below `root`; returns them."""
    (root / OPENAPI).write_bytes(contract(settings))
    (root / PROTOCOL).write_bytes(protocol_schema())
    return [root / OPENAPI, root / PROTOCOL]
