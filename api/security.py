"""Headers that every answer carries. The API serves no page but its own documentation, so nearly everything is closed."""

from __future__ import annotations

from typing import Final

# A handler that sends a page sets a policy of its own; then that one stays.
API_POLICY: Final = b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"

SECURITY_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(self), geolocation=(self), microphone=()"),
    (b"content-security-policy", API_POLICY),
    (b"cache-control", b"no-store"),
)
# No browser shows these answers as a page (and `nosniff` keeps it from trying), so what governs pages is left out: on a
# mountain road it would be a sixth of the answer to a push.
PROGRAM_MEDIA: Final = b"application/x-ndjson"
PROGRAM_HEADERS: Final = tuple(
    header for header in SECURITY_HEADERS if header[0] in (b"x-content-type-options", b"cross-origin-resource-policy", b"cache-control")
)
STRICT_TRANSPORT: Final = (b"strict-transport-security", b"max-age=31536000; includeSubDomains")
