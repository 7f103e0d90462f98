"""A photo (照片): announced as a record first, so the server always knows what it still waits for (design.md section 4)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec

from contracts.ids import PersonId, RecordId
from contracts.kind import Code, Kind, Position, Sha256, Text
from contracts.meta import Policy, field
from contracts.mutation import Capture


class Photo(msgspec.Struct, frozen=True, kw_only=True):
    """`taken_by` is the sender or nobody: the server does not let one person sign as another.

    media_type, item   as the phone says, in its own words: what the bytes are, the decoder sees (`format`)
    bytes              0, or more than an installation takes: the record stays, the bytes are refused (`refused`)
    lost               a phone says that the bytes are gone (deleted, card broken) before they were sent
    """

    parent: Annotated[RecordId, field("所属记录", Policy.IMMUTABLE)]
    sha256: Annotated[Sha256, field("SHA-256", Policy.IMMUTABLE)]
    bytes: Annotated[int, field("大小", Policy.IMMUTABLE, unit="byte", ge=0, le=2**53)]
    media_type: Annotated[str, field("登记格式", Policy.IMMUTABLE, max_length=120)] = ""
    item: Annotated[str | None, field("检查项", Policy.IMMUTABLE)] = None
    purpose: Annotated[Literal["evidence", "before", "after", "report_in"], field("用途", Policy.IMMUTABLE)] = "evidence"
    taken: Annotated[Capture | None, field("拍摄时钟", Policy.IMMUTABLE)] = None
    taken_by: Annotated[PersonId | None, field("拍摄人", Policy.IMMUTABLE)] = None
    position: Annotated[Position | None, field("位置", Policy.IMMUTABLE)] = None
    caption: Annotated[Text, field("说明", Policy.LATEST)] = ""
    lost: Annotated[bool, field("原件已丢失", Policy.LATEST)] = False
    received_at: Annotated[datetime | None, field("服务器收到时间", Policy.SERVER)] = None
    format: Annotated[str | None, field("实际格式", Policy.SERVER)] = None
    width: Annotated[int | None, field("宽", Policy.SERVER, unit="px")] = None
    height: Annotated[int | None, field("高", Policy.SERVER, unit="px")] = None
    exif_taken_at: Annotated[str | None, field("EXIF 时间", Policy.SERVER)] = None
    flags: Annotated[list[Code], field("证据提示", Policy.SERVER)] = []
    rendered: Annotated[bool, field("已生成缩略图", Policy.SERVER)] = False
    mirror_of: Annotated[RecordId | None, field("原照片", Policy.SERVER)] = None  # shown again where its problem is
    refused: Annotated[Code | None, field("拒收原因", Policy.SERVER)] = None


KIND = Kind(name="photo", title="照片", body=Photo, parent="parent")
