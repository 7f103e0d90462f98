"""All configuration, once, frozen. Only `server` reads it; the floors below receive the values they use.

Where a value comes from, the first that has it wins:

1. the environment, `XUNLING_HOST`, `XUNLING_PG__POOL_SIZE_MAX` (two underscores go one level down);
2. a file named by the environment, `XUNLING_PG__PASSWORD_FILE=/run/secrets/pg_password` (any value; for secrets);
3. `DATABASE_URL`, as hosting platforms set it, for `XUNLING_PG__DSN`;
4. the defaults below: everything embedded, on loopback, in `.data`.

`python -m server config` prints the values in force, `config --markdown` this table for the manual.
"""

import json
import os
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, Literal, get_origin
from urllib.parse import quote, urlsplit, urlunsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from contracts.mutation import MUTATION_BYTES_MAX
from contracts.retention import MARKER_DAYS, RETENTION_DAYS
from server.setting_kinds import GROUP, AgeKeys, Bucket, Dsn, Folder, FontFile, Networks, WebAddress, assignment, expected, quoted
from server.trouble import StartError

PREFIX = "XUNLING_"
LEVEL = "__"
FILE_SUFFIX = "_FILE"
# compose.yaml's and the Caddyfile's own. Its XUNLING_S3_RELAY and the like are not among them: here they are misspelt names of settings.
OF_THE_DEPLOYMENT = frozenset(f"XUNLING_{name}" for name in "APP DOMAIN PG_SHARED_BUFFERS PHOTO_DOMAIN PYTHON_IMAGE S3 TLS VERSION".split())
MIB = 1024 * 1024
NEAR = 0.8  # of two names that are alike enough to be meant


class Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class PgSettings(Group):
    dsn: Dsn = Field(default=SecretStr(""), description="PostgreSQL 15 or newer; empty starts the embedded one")
    password: SecretStr = Field(default=SecretStr(""), description="put into the DSN, when that has none")
    owner_dsn: Dsn = Field(
        default=SecretStr(""), description="of the role that owns the tables, for migrate, backup and restore alone; empty: the same"
    )
    owner_password: SecretStr = Field(default=SecretStr(""), description="put into the owner's DSN, when that has none")
    pool_size_min: int = Field(default=1, ge=0, description="connections a server process keeps open")
    pool_size_max: int = Field(default=10, ge=1, description="connections a server process opens at most")
    waiting_max: int = Field(default=256, ge=0, description="requests that wait for a connection; more are told 503")
    acquire_seconds_max: float = Field(default=10, gt=0, description="how long a request waits for a connection")
    statement_seconds_max: float = Field(default=30, gt=0, description="a statement that takes longer is cancelled")

    def full_dsn(self) -> str:
        """The DSN with the password in it: what the server and the worker use."""
        return with_password(self.dsn.get_secret_value(), self.password.get_secret_value())

    def full_owner_dsn(self) -> str:
        """The owner's DSN with the password in it; the ordinary one where there is no owner of its own."""
        owner = self.owner_dsn.get_secret_value()
        return with_password(owner, self.owner_password.get_secret_value()) if owner else self.full_dsn()


def with_password(dsn: str, password: str) -> str:
    parts = urlsplit(dsn)
    if not password or parts.password is not None:
        return dsn
    user, at, place = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user}:{quote(password, safe='')}{at}{place}"))


class S3Settings(Group):
    endpoint: WebAddress = Field(default="", description="any S3, as the server reaches it; empty starts the embedded one")
    public_endpoint: WebAddress = Field(default="", description="the same S3 as phones reach it, when the name differs")
    relay: bool = Field(default=True, description="phones reach S3 only through this server's relay route")
    bucket: Bucket = Field(default="xunling-photos", description="made at the first start when missing")
    region: str = Field(default="us-east-1", description="of the bucket")
    access_key: SecretStr = Field(default=SecretStr(""), description="of an identity that may read and write the bucket")
    secret_key: SecretStr = Field(default=SecretStr(""), description="of the same identity")
    threads_max: int = Field(default=16, ge=1, description="S3 calls a server process has under way at most")
    presigned_seconds: int = Field(default=3600, ge=60, le=7 * 86400, description="how long an upload address is valid")


class LimitSettings(Group):
    body_bytes_max: int = Field(default=8 * MIB, ge=64 * 1024, description="a request, as it arrives")
    decompressed_bytes_max: int = Field(default=8 * MIB, ge=64 * 1024, description="a request, unpacked: a bomb ends here")
    mutations_per_exchange_max: int = Field(default=200, ge=1, description="mutations answered in one exchange; phones send the rest next")
    mutation_bytes_max: int = Field(
        default=MUTATION_BYTES_MAX, ge=1024, description="one mutation; what is larger is kept whole and shown, not decoded"
    )
    page_records_max: int = Field(default=500, ge=1, description="records in one page of a pull")
    exchange_bytes_max: int = Field(default=4 * MIB, ge=64 * 1024, description="a response stops after the page that passes this")
    photo_bytes_max: int = Field(default=20 * MIB, ge=MIB, description="one photo")
    photo_pixels_max: int = Field(default=60_000_000, ge=1_000_000, description="one photo, unpacked")
    photo_day_bytes_max: int = Field(
        default=10 * 1024 * MIB, ge=64 * MIB, description="photos of one person in a day; what is more waits on the phone"
    )
    exchanges_at_once_max: int = Field(default=32, ge=1, description="exchanges a server process works on; more wait")
    exchanges_waiting_max: int = Field(default=256, ge=0, description="exchanges that wait; more are told 503 and when to come back")
    export_rows_max: int = Field(default=100_000, ge=1000, description="rows of one ledger or list export")
    person_requests_per_minute: int = Field(default=240, ge=0, description="of one person, with all their devices; 0: no limit")
    person_bytes_per_day: int = Field(
        default=64 * MIB, ge=0, description="mutations that one person hands in, unpacked; more wait on the phone; 0: no limit"
    )
    held_of_person_max: int = Field(
        default=1_000, ge=1, description="mutations of one person that wait on a county's desks; more wait on the phone"
    )


class PhotoSettings(Group):
    """Evidence flags are hints; no source states their thresholds, so they are the installation's."""

    decoders: int = Field(default=1, ge=1, description="processes of a worker that decode pictures at the same time")
    far_m: float = Field(default=500, gt=0, description="flag: taken farther from the site than this, beyond what both positions admit")
    long_before_hours: float = Field(default=12, gt=0, description="flag: taken longer before the visit than this")
    exif_differs_m: float = Field(default=500, gt=0, description="flag: the picture's own position is farther from the announced one")
    exif_differs_minutes: float = Field(default=30, gt=0, description="flag: the picture's own time is farther from the announced one")
    condemned_days: int = Field(default=180, ge=1, description="an original that no record announces is deleted after this")
    chunks_abandoned_days: int = Field(default=90, ge=1, description="chunks of an upload that did not go on are deleted after this")


class AuthSettings(Group):
    argon2_memory_kib: int = Field(default=19456, ge=8, description="memory of one password check")
    argon2_rounds: int = Field(default=2, ge=1, description="rounds of one password check")
    password_checks_at_once_max: int = Field(default=2, ge=1, description="password checks at the same time")
    password_checks_waiting_max: int = Field(
        default=64, ge=0, description="password checks that wait; more are told 503 and when to come back"
    )
    access_minutes: int = Field(default=60, ge=1, description="an access token; the refresh token gets the next one")
    console_hours: int = Field(default=12, ge=1, description="a console session, from the log-in to its end, however much it is used")
    console_idle_hours: int = Field(default=4, ge=1, description="a console session without use")
    device_days: int = Field(default=180, ge=1, description="a phone's token without use: longer than any winter in the hills")
    devices_per_person_max: int = Field(
        default=8,
        ge=2,
        description="live phones and browsers of one person; one more retires the one unused for longest that has sent everything",
    )
    second_factor_required: bool = Field(
        default=True, description="admins, supervisors and auditors show a second factor at a console; demo accounts never do"
    )
    login_tries_per_account: int = Field(default=5, ge=1, description="wrong passwords in a row; then the account is locked")
    login_tries_per_source: int = Field(default=100, ge=1, description="wrong log-ins from one address; thousands of phones may share one")
    login_regain_minutes: float = Field(default=5, gt=0, description="after so long a locked account has one try more, an address twenty")
    wiped_days: int = Field(default=30, ge=1, description="for so long a lost phone may still hand in, into quarantine")
    wiped_bytes_max: int = Field(default=64 * MIB, ge=MIB, description="and so much in all")
    backdated_days: int = Field(
        default=31, ge=0, le=400, description="a duty that is entered late starts so many days before today at most"
    )


class LogSettings(Group):
    format: Literal["json", "console"] = Field(default="json", description="json for machines, console for people")
    level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="what is less is not written")


class ObserveSettings(Group):
    metrics_token: SecretStr = Field(default=SecretStr(""), description="bearer token for /metrics; empty: from loopback only")
    disk_free_share_min: float = Field(default=0.1, ge=0, lt=1, description="`xunling check` fails when a disk has less of itself free")
    otlp_endpoint: WebAddress = Field(
        default="", description="OpenTelemetry traces go to this OTLP/HTTP address (needs the extra `otel`); empty: none"
    )


class BackupSettings(Group):
    configured: bool = Field(default=False, description="backups are made and verified: phones then hold mutations until one has them")
    folder: Folder | None = Field(default=None, description="where `backup` writes; must be another disk to be worth anything")
    recipients: AgeKeys = Field(default=(), description='age public keys of the custodians, e.g. ["age1..."]; empty: not encrypted')


class RetentionSettings(Group):
    """No source states a period, so they are the installation's. 0 keeps records of a kind on phones for ever."""

    site_days: int = Field(
        default=RETENTION_DAYS["site"], ge=0, description="a closed site leaves the phones so long after its last change"
    )
    task_days: int = Field(default=RETENTION_DAYS["task"], ge=0, description="a finished or cancelled task")
    inspection_days: int = Field(default=RETENTION_DAYS["inspection"], ge=0, description="a submitted inspection")
    problem_days: int = Field(default=RETENTION_DAYS["problem"], ge=0, description="a problem that is closed out or was not true")
    notice_days: int = Field(default=RETENTION_DAYS["notice"], ge=0, description="a notice")
    conflict_days: int = Field(default=RETENTION_DAYS["conflict"], ge=0, description="a settled conflict")
    outcome_days: int = Field(default=RETENTION_DAYS["outcome"], ge=0, description="word of how a held mutation ended")
    records_max: int = Field(default=20_000, ge=1, description="records of one county archived in one night at most; the rest in the next")
    marker_days: int = Field(default=MARKER_DAYS, ge=30, description="a phone that was away for longer reads its streams anew")


class Settings(BaseSettings):
    """See the module's docstring for where values come from."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter=LEVEL, frozen=True, extra="forbid", env_ignore_empty=True)

    data_dir: Folder = Field(default=Path(".data"), description="everything this installation keeps on disk")
    host: str = Field(default="127.0.0.1", description="address to listen on; other than loopback only behind a TLS proxy")
    port: int = Field(default=8686, ge=1, le=65535, description="port to listen on")
    public_url: WebAddress = Field(default="", description="how phones and browsers reach us, e.g. https://xunling.example.cn")
    workers: int = Field(default=1, ge=1, description="server processes")
    graceful_seconds: int = Field(default=10, ge=1, description="how long requests may finish when the server stops")
    demo: bool = Field(default=False, description="demo staff and places with known passwords; never in production")
    trusted_proxies: Networks = Field((), description='proxies whose X-Forwarded-For is believed, e.g. ["10.0.0.0/8"]')
    keys_dir: Folder | None = Field(default=None, description="signing and sealing keys; empty: `keys` in data_dir")
    disk_free_bytes_min: int = Field(default=512 * MIB, ge=0, description="with less free space the embedded servers do not start")
    cjk_font: FontFile | None = Field(default=None, description="font for stamped photos and papers; empty: searched for")
    pg: PgSettings = PgSettings()
    s3: S3Settings = S3Settings()
    limits: LimitSettings = LimitSettings()
    photos: PhotoSettings = PhotoSettings()
    auth: AuthSettings = AuthSettings()
    log: LogSettings = LogSettings()
    observe: ObserveSettings = ObserveSettings()
    retention: RetentionSettings = RetentionSettings()
    backup: BackupSettings = BackupSettings()

    @property
    def keys_folder(self) -> Path:
        return self.keys_dir or self.data_dir / "keys"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, Variables(settings_cls), NamedFiles(settings_cls), PlatformNames(settings_cls)


class Variables(PydanticBaseSettingsSource):
    """The variables of the environment that set something. A value stays as it was typed where it cannot be read: the kind refuses it."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        raise NotImplementedError("this source fills whole groups")

    def read(self) -> Iterator[tuple[str, str]]:
        """(variable, value), without the names that only name a file."""
        return ((name, value) for name, value in set_variables().items() if not name.endswith(FILE_SUFFIX))

    def __call__(self) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name, text in sorted(self.read()):  # a group before its members, which go before what it says
            first, _, member = name.removeprefix(PREFIX).lower().partition(LEVEL)
            if is_group(first) and member:
                if isinstance(group := values.setdefault(first, {}), dict):
                    group[member] = text if (first, member) not in LISTS else unpacked(text)
            elif first in Settings.model_fields and not member:
                values[first] = unpacked(text) if is_group(first) or (first,) in LISTS else text
        return values


class NamedFiles(Variables):
    """`XUNLING_A__B_FILE=/path`: the value of `a.b` is in that file, without the newline at its end."""

    def read(self) -> Iterator[tuple[str, str]]:
        for name, path in set_variables().items():
            if name.endswith(FILE_SUFFIX):
                yield name.removesuffix(FILE_SUFFIX), read_secret(name, Path(path))


class PlatformNames(PydanticBaseSettingsSource):
    """The one name that hosting platforms agree on."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        raise NotImplementedError("this source fills whole groups")

    def __call__(self) -> dict[str, Any]:
        dsn = os.environ.get("DATABASE_URL")
        return {"pg": {"dsn": dsn}} if dsn else {}


def read_secret(name: str, path: Path) -> str:
    try:
        return path.read_text().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise StartError(f"无法读取 {name} 指定的文件：{path}", f"Cannot read the file named by {name}: {error}") from None


def set_variables() -> dict[str, str]:
    """{NAME: value} of our prefix, without those that are empty."""
    return {name.upper(): value for name, value in os.environ.items() if name.upper().startswith(PREFIX) and value}


def unpacked(text: str) -> Any:
    """A list or a group from JSON. What is not JSON stays text, and its kind refuses it."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def is_group(name: str) -> bool:
    field = Settings.model_fields.get(name)
    return field is not None and isinstance(field.annotation, type) and issubclass(field.annotation, Group)


def load_settings(**overrides: Any) -> Settings:
    """The settings in force. StartError, naming each wrong value in a line but no secret, when they are not usable."""
    try:
        return Settings(**overrides)
    except ValidationError as error:
        faults = {place_of(fault): fault for fault in reversed(error.errors())}  # the first of each setting
        lines = [f"  {line_of(place, fault)}" for place, fault in reversed(faults.items())]
        raise StartError("配置有误：", "\n".join(["The configuration is wrong:", *lines])) from None


def place_of(fault: Any) -> tuple[str, ...]:
    return tuple(map(str, fault["loc"][: 2 if is_group(fault["loc"][0]) else 1]))


def line_of(place: tuple[str, ...], fault: Any) -> str:
    """One fault in a line: the variable, what was typed unless it is a secret, what belongs there."""
    if fault["type"] == "extra_forbidden":
        return misspelt(origin(place))
    field = SETTINGS.get(place)
    right = expected(place[-1], field) if field else GROUP
    typed = f"={quoted(fault['input'])}" if field and "SecretStr" not in str(field.annotation) else ""
    example = f" 例 e.g. {assignment(variable_name(place), right.example)}" if right.example else ""
    return f"{origin(place)}{typed}: 应为：{right.chinese}。 Must be {right.english}.{example}"


def origin(place: tuple[str, ...]) -> str:
    """What a setting was read from: its own variable, its group's, a file's, the platform's."""
    name, group, names = variable_name(place), variable_name(place[:1]), set_variables()
    of_platform = place == ("pg", "dsn") and "DATABASE_URL" in os.environ
    if name in names:
        return name
    if group in names:
        return f"{group} ({place[-1]})"
    if (file := name + FILE_SUFFIX) in names:
        return file
    return "DATABASE_URL" if of_platform else name


def unknown_variables() -> list[str]:
    """One line for each variable of our prefix that no setting is read from; what is set there has no effect."""
    known = {variable_name(place[:depth]) for place, _ in each_setting() for depth in (1, len(place))} | OF_THE_DEPLOYMENT
    names = [name.upper() for name in sorted(os.environ) if name.upper().startswith(PREFIX)]
    return [misspelt(name) for name in names if name not in known and name.removesuffix(FILE_SUFFIX) not in known]


def misspelt(name: str) -> str:
    """That there is no such setting, and the nearest one there is."""
    near = get_close_matches(name.removesuffix(FILE_SUFFIX), [variable_name(place) for place, _ in each_setting()], n=1, cutoff=NEAR)
    meant = f"，是否指 {near[0]}？ Did you mean {near[0]}?" if near else ""
    return f"{name}: 没有这个设置 there is no such setting{meant}"


def variable_name(place: Iterable[str]) -> str:
    return PREFIX + LEVEL.join(place).upper()


def each_setting(model: type[BaseModel] = Settings, place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], FieldInfo]]:
    """Every single setting with the path of names that leads to it."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Group):
            yield from each_setting(field.annotation, (*place, name))
        else:
            yield (*place, name), field


SETTINGS: Final = dict(each_setting())
LISTS: Final = frozenset(place for place, field in SETTINGS.items() if get_origin(field.annotation) is tuple)


def settings_table() -> str:
    """All settings as a Markdown table."""
    rows = [f"| `{variable_name(place)}` | {shown(field.default)} | {field.description} |" for place, field in each_setting()]
    return "\n".join(["| variable | default | meaning |", "|---|---|---|", *rows]) + "\n"


def shown(value: object) -> str:
    if isinstance(value, SecretStr):
        return "(secret, none)"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`" if value not in ("", None, ()) else "(empty)"


def settings_in_force(settings: Settings) -> dict[str, str]:
    """{variable: value}; secrets only as set or not set."""
    values: dict[str, str] = {}
    for place, _ in each_setting():
        value: Any = settings
        for step in place:
            value = getattr(value, step)
        if isinstance(value, SecretStr):
            value = "(set)" if value.get_secret_value() else ""
        values[variable_name(place)] = str(value)
    return values
