"""What a file that was sent as a workbook really is, and the parts of one. Runs in a bounded child (api/workbooks.py)."""

from __future__ import annotations

import io
import re
import zipfile
from typing import Final

from contracts.importing import PARTS_MAX, TAG_BYTES_MAX, TAGS_MAX, UNPACKED_BYTES_MAX

OLE_MAGIC: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
ENCRYPTED: Final = "EncryptedPackage".encode("utf-16-le")  # the stream that a workbook with a password consists of
ZIP_MAGIC: Final = b"PK\x03\x04"
WEB_PAGE: Final = re.compile(rb"<(?:!doctype html|html|head|body|table|meta|style|tr|td)\b|mime-version:", re.IGNORECASE)
TEXT_BYTES: Final = 4096  # so much of a file is looked at to see whether it is text
WORKBOOK: Final = "xl/workbook.xml"
OTHER_PARTS: Final = {"xl/workbook.bin": "xlsb", "word/document.xml": "other_office_file", "content.xml": "other_office_file"}

Parts = dict[str, bytes]  # path in lower case with "/" -> content, of the parts that are XML


class UnreadableFile(Exception):
    """`code`: of FAULT_TEXTS."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def read_parts(data: bytes) -> Parts:
    """The XML parts of an xlsx, unpacked within bounds. UnreadableFile for anything else, with what to do about it."""
    if not data.startswith(ZIP_MAGIC):
        raise UnreadableFile(_kind_of(data))
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return _bounded(archive)
    except UnreadableFile:
        raise
    except zipfile.BadZipFile:
        raise UnreadableFile("file_is_cut") from None
    except Exception:  # noqa: BLE001 - a stranger's file: zipfile raises what its bytes lead it to
        raise UnreadableFile("not_a_workbook") from None


def _kind_of(data: bytes) -> str:
    start = data[:TEXT_BYTES]
    if not data.strip(b"\0 \r\n"):
        return "file_is_empty"
    if data.startswith(OLE_MAGIC):
        return "encrypted" if ENCRYPTED in data else "old_xls"
    if WEB_PAGE.search(start) or WEB_PAGE.search(start.replace(b"\0", b"")):
        return "web_page"
    is_text = start.startswith((b"\xff\xfe", b"\xfe\xff")) or not re.search(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]", start)
    return "plain_text" if is_text and not start.startswith(b"%PDF") else "not_a_workbook"


def _bounded(archive: zipfile.ZipFile) -> Parts:
    infos = archive.infolist()
    if len(infos) > PARTS_MAX or sum(info.file_size for info in infos) > UNPACKED_BYTES_MAX:
        raise UnreadableFile("too_large")
    paths = {info.filename.replace("\\", "/").lower(): info for info in infos if not info.is_dir()}
    if WORKBOOK not in paths:
        raise UnreadableFile(next((code for path, code in OTHER_PARTS.items() if path in paths), "not_a_workbook"))
    if len(paths) < sum(not info.is_dir() for info in infos):  # two of one name: two readers would read two workbooks
        raise UnreadableFile("not_a_workbook")
    parts = {path: archive.read(info) for path, info in paths.items() if path.endswith((".xml", ".rels"))}
    if sum(part.count(b"<") for part in parts.values()) > TAGS_MAX or any(_has_long_tag(part) for part in parts.values()):
        raise UnreadableFile("too_large")
    return parts


def _has_long_tag(part: bytes) -> bool:
    """Readers of XML keep a tag or a text whole, and some read a long one again and again."""
    return len(part) > TAG_BYTES_MAX and max(map(len, part.split(b"<"))) > TAG_BYTES_MAX
