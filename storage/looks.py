"""What looking at a photo gives, for processes that must not load the decoders."""

from __future__ import annotations

from typing import Final

import msgspec

from sync.evidence import Exif

PDQ_QUALITY_MIN: Final = 50  # below it the picture is too plain to be compared (the hash's authors' advice)


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen. Width and height as a person sees them, after EXIF's rotation. `pdq`: 64 hex digits."""

    format: str
    width: int
    height: int
    exif: Exif
    pdq: str
    pdq_quality: int
    is_damaged: bool = False


class StampLine(msgspec.Struct, frozen=True):
    """One line: in Chinese, and the same with codes only, in ASCII."""

    chinese: str
    codes: str
