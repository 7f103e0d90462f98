"""The kinds of values that settings have: what is right, and how that is said to an operator who typed something else.

A kind is an annotated type: pydantic refuses what is wrong, `expected` says in Chinese and English what belongs there.
"""

import json
import re
import shlex
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Final, Literal, get_args, get_origin
from urllib.parse import urlsplit

from annotated_types import Ge, Gt, Le, Lt
from pydantic import AfterValidator, SecretStr
from pydantic.fields import FieldInfo

POSTGRES: Final = ("postgresql", "postgres")
WEB: Final = ("http", "https")
PASSWORD: Final = re.compile(r"//(?P<user>[^/@:]*):[^/@]*@")
BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)
UNITS: Final = {
    "bytes": ("字节", "bytes"),
    "kib": ("KiB", "KiB"),
    "seconds": ("秒", "seconds"),
    "minutes": ("分钟", "minutes"),
    "hours": ("小时", "hours"),
    "days": ("天", "days"),
    "m": ("米", "metres"),
}
SHOWN_CHARACTERS_MAX: Final = 80


@dataclass(frozen=True)
class Expected:
    """What belongs into a setting, in both languages, and a value that would be right, as it is typed."""

    chinese: str
    english: str
    example: str = ""


def is_address(address: str, schemes: Collection[str]) -> bool:
    try:
        parts = urlsplit(address)
        return parts.scheme in schemes and (parts.port or 0) >= 0 and bool(parts.hostname or "host=" in parts.query)
    except ValueError:  # brackets that do not close, a port that is no number
        return False


def check_web(address: str) -> str:
    if address and not is_address(address, WEB):
        raise ValueError
    return address


def check_dsn(dsn: SecretStr) -> SecretStr:
    if dsn.get_secret_value() and not is_address(dsn.get_secret_value(), POSTGRES):
        raise ValueError
    return dsn


def check_path(path: Path) -> Path:
    """A `~` that reaches us was not replaced by a shell: it would become a folder of that name."""
    if str(path).startswith("~"):
        raise ValueError
    return path


def check_folder(path: Path) -> Path:
    if path.is_file():
        raise ValueError
    return check_path(path)


def check_file(path: Path) -> Path:
    if not path.is_file():
        raise ValueError
    return path


def check_bucket(name: str) -> str:
    if not BUCKET.fullmatch(name):
        raise ValueError
    return name


def check_age_key(key: str) -> str:
    """The key as age writes it. A mistyped letter is found: the key carries a sum of its letters."""
    from server.backup_encryption import read_recipient

    return read_recipient(key)


WebAddress = Annotated[
    str, AfterValidator(check_web), Expected("网址（http 或 https）", "an address with http or https", "https://xunling.example.cn")
]
Dsn = Annotated[
    SecretStr, AfterValidator(check_dsn), Expected("PostgreSQL 地址", "an address of PostgreSQL", "postgresql://user@host/database")
]
Folder = Annotated[Path, AfterValidator(check_folder), Expected("文件夹的完整路径", "the full path of a folder", "/var/lib/xunling")]
FontFile = Annotated[
    Path, AfterValidator(check_file), Expected("一个现有的字体文件", "a font file that exists", "/usr/share/fonts/NotoSansCJK-Regular.ttc")
]
Bucket = Annotated[
    str,
    AfterValidator(check_bucket),
    Expected("3 至 63 个小写字母、数字、点或连字符", "3 to 63 small letters, digits, dots or hyphens", "xunling-photos"),
]
AgeKeys = Annotated[
    tuple[Annotated[str, AfterValidator(check_age_key)], ...],
    Expected("age 公钥的 JSON 列表", "a JSON list of age public keys, as `xunling backup key` prints them", '["age1..."]'),
]
Networks = Annotated[
    tuple[IPv4Network | IPv6Network, ...], Expected("网段的 JSON 列表", "a JSON list of networks", '["10.0.0.0/8","192.168.1.5/32"]')
]
GROUP: Final = Expected("JSON 对象", "a JSON object; better: a variable for each setting", "{}")
TEXT: Final = Expected("文字", "a text")
TRUTH: Final = Expected("true 或 false", "true or false", "true")


def expected(name: str, field: FieldInfo) -> Expected:
    """What belongs into a setting of this name. Units are read from the name, bounds from the field."""
    kinds = [field.annotation, *get_args(field.annotation)]
    marks = [*field.metadata, *(mark for kind in kinds for mark in getattr(kind, "__metadata__", ()))]
    if said := next((mark for mark in marks if isinstance(mark, Expected)), None):
        return said
    if get_origin(field.annotation) is Literal:
        words = get_args(field.annotation)
        return Expected("、".join(words) + " 之一", "one of " + ", ".join(words), words[0])
    if field.annotation is bool:
        return TRUTH
    return expected_number(name, field) if field.annotation in (int, float) else TEXT


def expected_number(name: str, field: FieldInfo) -> Expected:
    chinese, english = ("整数", "a whole number") if field.annotation is int else ("数", "a number")
    unit = next((UNITS[word] for word in name.split("_") if word in UNITS), None)
    bounds = ", ".join(bounds_of(field))
    return Expected(
        "，".join(filter(None, (f"{chinese}（{unit[0]}）" if unit else chinese, bounds))),
        ", ".join(filter(None, (f"{english} of {unit[1]}" if unit else english, bounds))),
        str(field.default),
    )


def bounds_of(field: FieldInfo) -> Iterator[str]:
    for mark in field.metadata:
        match mark:
            case Ge(ge=bound):
                yield f">= {bound}"
            case Gt(gt=bound):
                yield f"> {bound}"
            case Le(le=bound):
                yield f"<= {bound}"
            case Lt(lt=bound):
                yield f"< {bound}"
            case _:
                pass


def quoted(value: object) -> str:
    """A value as it was typed, in one line and not endless; a password in an address is left out."""
    text = PASSWORD.sub(r"//\g<user>:***@", value if isinstance(value, str) else str(value))
    return json.dumps(text if len(text) <= SHOWN_CHARACTERS_MAX else f"{text[:SHOWN_CHARACTERS_MAX]}...", ensure_ascii=False)


def assignment(name: str, value: str) -> str:
    """`NAME=value` as a shell, an environment file and compose's `.env` read it."""
    return f"{name}={shlex.quote(value)}"
