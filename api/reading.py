"""Reading the body of an exchange: strictly, or else so that what one mutation has wrong blocks nothing behind it (promise 3).

Strict reading takes 20 ms a MiB at most. Loose reading takes ten times as long, so it is bounded in bytes and in values, and happens in one thread of its own:
other requests go on meanwhile, and those that are read loosely wait for each other.
"""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import msgspec

from contracts.exchange import ExchangeRequest
from contracts.problems import Problem, ProblemCode
from sync.intake import is_deep, set_deep_aside

LOOSE_BYTES_MAX: Final = 1536 * 1024  # a batch has about 1 MiB
LOOSE_VALUES_MAX: Final = (
    60_000  # a batch has 20,000: each becomes an object, and one call makes them all without letting go of the interpreter
)
MUTATION_DEPTH: Final = 5  # {"counties": {"610902": {"mutations": [{
_request: Final = msgspec.json.Decoder(ExchangeRequest)
_aside: Final = ThreadPoolExecutor(max_workers=1, thread_name_prefix="loose-reading")


async def decode_request(body: bytes) -> ExchangeRequest:
    """The request; Problem when it cannot be read even loosely. A mutation that nests too deep to be followed is let through as it is."""
    try:
        return _request.decode(body)
    except msgspec.ValidationError as error:
        raise Problem(ProblemCode.MALFORMED_REQUEST) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if len(body) > LOOSE_BYTES_MAX or body.count(b",") > LOOSE_VALUES_MAX:
            raise Problem(ProblemCode.MALFORMED_REQUEST) from error
    return await asyncio.get_running_loop().run_in_executor(_aside, decode_loosely, body)


def decode_loosely(body: bytes) -> ExchangeRequest:
    """As `decode_request`, of a body that does not decode strictly."""
    try:
        return _decoded(body)
    except RecursionError:
        flat, aside = set_deep_aside(body, MUTATION_DEPTH)
    request = _decoded(flat) if aside and not is_deep(flat) else None
    found = {bytes(raw) for part in request.counties.values() for raw in part.mutations} if request is not None else set()
    if request is None or not found >= aside.keys():  # what nests too deep is no mutation
        raise Problem(ProblemCode.MALFORMED_REQUEST)
    counties = {
        county: msgspec.structs.replace(part, mutations=[msgspec.Raw(aside.get(bytes(raw), bytes(raw))) for raw in part.mutations])
        for county, part in request.counties.items()
    }
    return msgspec.structs.replace(request, counties=counties)


def _decoded(body: bytes) -> ExchangeRequest:
    """Problem: no request. RecursionError: it nests deeper than decoders follow."""
    try:
        return _request.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        wanted = None if isinstance(error, msgspec.ValidationError) else read_loosely(body)
        if wanted is None:
            raise Problem(ProblemCode.MALFORMED_REQUEST) from error
        return wanted


def read_loosely(body: bytes) -> ExchangeRequest | None:
    """What some JSON writers let through and ours does not read (half an emoji, NaN, a bare line break in a text).

    One such value must not block everything behind it (promise 3). Each mutation is written anew, as far as it was understood;
    those at fault fail to decode by themselves, and are kept as malformed. None: it is no JSON at all.
    """
    try:
        loose = json.loads(body, strict=False)
        parts = loose["counties"]
        raws = {county: [_loose(m) for m in part.pop("mutations", [])] for county, part in parts.items()}
        wanted = _request.decode(_loose(loose))
    except (ValueError, TypeError, LookupError, AttributeError):
        return None
    counties = {
        county: msgspec.structs.replace(part, mutations=[msgspec.Raw(raw) for raw in raws[str(county)]])
        for county, part in wanted.counties.items()
        if str(county) in raws
    }
    return msgspec.structs.replace(wanted, counties=counties)


def _loose(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
