"""Backups are whole or not there, are believed only after a restore and an audit, and come back all or not at all."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from click.testing import CliRunner
from pydantic import SecretStr

from contracts.people import Role
from phone.phone import Phone
from server import backup, dumps
from server.__main__ import cli
from server.backup_encryption import SUFFIX, load_encryption, make_identity
from server.backup_store import DUMP, MANIFEST, VERIFIED, list_backups, newest, object_path, read_manifest
from server.settings import PgSettings, Settings
from server.trouble import StartError
from storage.backups import CountyMarks, Mark, raise_safe
from storage.incarnation import begin_incarnations, bump_incarnation
from storage.objects import photo_key
from tests.photo_builder import jpeg, picture, sha256_of
from tests.world import COUNTY, VILLAGE_A, World, open_world

SITE = {"name": "工地", "unit": VILLAGE_A, "subjects": ["construction_dust"]}
PHOTO = jpeg(picture(11))


class Killed(Exception):
    """The command dies here."""


def dying(at: str) -> Callable[[str], None]:
    def point(name: str) -> None:
        if name == at:
            raise Killed(name)

    return point


@pytest.fixture
async def world(settings: Settings, tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(settings, tmp_path) as world:
        yield world


@pytest.fixture
async def a(world: World) -> Phone:
    """A phone whose site and photo are received."""
    a = await world.phone(await world.person("甲", (Role.GRID_MEMBER, VILLAGE_A)))
    site = a.create("site", COUNTY, SITE)
    a.add_photo(site, PHOTO)
    await a.sync()
    await a.upload_photos()
    return a


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "backups"


async def created(settings: Settings, folder: Path, **options: Any) -> Path:
    return await asyncio.to_thread(backup.create, settings, folder, **({"with_objects": True} | options))


async def n_safe(world: World, a: Phone) -> int | None:
    return await world.pool.fetchval("SELECT n_safe FROM device_county WHERE county = $1 AND device = $2", COUNTY, a.account.device)


def on(dsn: str, settings: Settings) -> Settings:
    return settings.model_copy(update={"pg": PgSettings(dsn=SecretStr(dsn), pool_size_min=0)})


async def tables(dsn: str) -> int:
    conn = await asyncpg.connect(dsn)
    try:
        return await conn.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
    finally:
        await conn.close()


# -------------------------------------------------------------------------------------------------- create


async def test_a_backup_has_the_database_and_every_original(settings: Settings, world: World, a: Phone, folder: Path) -> None:
    path = await created(settings, folder)
    assert {each.name for each in path.iterdir()} == {DUMP, MANIFEST}
    assert object_path(folder, photo_key(COUNTY, sha256_of(PHOTO))).read_bytes() == PHOTO
    assert newest(folder) == path


@pytest.mark.parametrize("point", ["dumped", "object", "copied"])
async def test_one_that_fails_leaves_nothing_behind(settings: Settings, world: World, a: Phone, folder: Path, point: str) -> None:
    with pytest.raises(Killed):
        await created(settings, folder, at=dying(point))
    assert {path.name for path in folder.iterdir()} <= {"objects"}
    assert list(folder.rglob("*.part")) == []


async def test_what_a_killed_one_left_is_cleared_away_by_the_next(settings: Settings, world: World, a: Phone, folder: Path) -> None:
    (folder / ".unfinished-20261101T000000Z").mkdir(parents=True)
    path = await created(settings, folder)
    assert list_backups(folder) == [path]
    assert list(folder.glob(".unfinished-*")) == []


@asynccontextmanager
async def in_bucket(world: World, *keys: str) -> AsyncIterator[None]:
    """Objects that hold other bytes than they should; the bucket is shared by many tests."""
    objects = world.app.state.resources.objects
    for key in keys:
        await objects.put(key, b"other bytes")
    yield
    await objects.delete(list(keys))


async def test_a_stray_or_damaged_object_in_s3_stops_no_backup(settings: Settings, world: World, a: Phone, folder: Path) -> None:
    """An object that is no photo's, and a photo whose bytes are others: both are named, everything else is in the backup."""
    strays = [f"{COUNTY}/photos/readme.txt", photo_key(COUNTY, "0" * 64)]
    async with in_bucket(world, *strays):
        path = await created(settings, folder)
    assert set(strays) <= set(read_manifest(path).unusable)
    found = await asyncio.to_thread(backup.verify, settings, path)
    assert found.photos == 1


async def test_a_damaged_photo_with_a_receipt_is_named_and_the_backup_is_not_verified(
    settings: Settings, world: World, a: Phone, folder: Path
) -> None:
    photo = photo_key(COUNTY, sha256_of(PHOTO))
    async with in_bucket(world, photo):
        path = await created(settings, folder)
    assert photo in read_manifest(path).unusable
    with pytest.raises(StartError, match="lacks a photo"):
        await asyncio.to_thread(backup.verify, settings, path)


# -------------------------------------------------------------------------------------------------- verify


async def test_only_a_verified_backup_frees_phones_and_only_of_what_it_has(
    settings: Settings, world: World, a: Phone, folder: Path
) -> None:
    path = await created(settings, folder)
    a.create("site", COUNTY, SITE)
    await a.sync()
    assert await n_safe(world, a) is None
    found = await asyncio.to_thread(backup.verify, settings, path)
    assert (found.records, found.photos, found.devices) == (2, 1, 1)
    assert await n_safe(world, a) == 2
    assert (path / VERIFIED).exists()


@pytest.mark.parametrize("point", ["restored", "audited"])
async def test_one_that_dies_before_the_end_frees_nobody(settings: Settings, world: World, a: Phone, folder: Path, point: str) -> None:
    path = await created(settings, folder)
    with pytest.raises(Killed):
        await asyncio.to_thread(backup.verify, settings, path, at=dying(point))
    assert await n_safe(world, a) is None
    assert not (path / VERIFIED).exists()
    await asyncio.to_thread(backup.verify, settings, path)
    assert await n_safe(world, a) == 2


@pytest.mark.parametrize("damage", ["dump cut", "dump changed", "photo gone", "photo cut", "audit"])
async def test_damage_is_found_and_frees_nobody(settings: Settings, world: World, a: Phone, folder: Path, damage: str) -> None:
    if damage == "audit":
        await world.pool.execute("UPDATE stream_head SET count = count + 1 WHERE stream = $1", f"{VILLAGE_A}.field")
    path = await created(settings, folder)
    dump, photo = path / DUMP, object_path(folder, photo_key(COUNTY, sha256_of(PHOTO)))
    content = dump.read_bytes()
    match damage:
        case "dump cut":
            dump.write_bytes(content[:-100])
        case "dump changed":
            dump.write_bytes(content[:5000] + b"\0" * 8 + content[5008:])
        case "photo gone":
            photo.unlink()
        case "photo cut":
            photo.write_bytes(PHOTO[:-1])
    with pytest.raises(StartError):
        await asyncio.to_thread(backup.verify, settings, path)
    assert await n_safe(world, a) is None


async def test_n_safe_rises_only_within_the_incarnation_and_never_falls(world: World, a: Phone) -> None:
    def marks(incarnation: int, n_high: int) -> CountyMarks:
        return CountyMarks(county=COUNTY, incarnation=incarnation, marks=[Mark(device=a.account.device, n_high=n_high)])

    assert await raise_safe(world.pool, marks(1, 2)) == 1
    await raise_safe(world.pool, marks(1, 1))
    assert await n_safe(world, a) == 2
    assert await raise_safe(world.pool, marks(1, 3)) == 0  # the live database does not know that number
    a.create("site", COUNTY, SITE)
    await a.sync()
    await bump_incarnation(world.pool, COUNTY, 1)
    assert await raise_safe(world.pool, marks(1, 3)) == 0
    assert await n_safe(world, a) == 2


async def test_without_backups_phones_are_told_so(settings: Settings, world: World, a: Phone, tmp_path: Path) -> None:
    safe = "SELECT n_safe FROM county WHERE county = ?"
    assert a.store.db.execute(safe, (COUNTY,)).fetchone() == (None,)
    configured = settings.model_copy(update={"backup": settings.backup.model_copy(update={"configured": True})})
    async with open_world(configured, tmp_path) as world:
        b = await world.phone(await world.person("乙", (Role.GRID_MEMBER, VILLAGE_A)))
        b.create("site", COUNTY, SITE)
        await b.sync()
        assert b.store.db.execute(safe, (COUNTY,)).fetchone() == (0,)


# -------------------------------------------------------------------------------------------------- restore


async def test_restoring_needs_an_empty_database(settings: Settings, world: World, a: Phone, folder: Path) -> None:
    path = await created(settings, folder)
    with pytest.raises(StartError, match="not empty"):
        await asyncio.to_thread(backup.restore, settings, path)


async def test_a_restore_that_dies_is_repeated(settings: Settings, world: World, a: Phone, folder: Path, empty_database: str) -> None:
    """Photos lost in S3, too; first it dies among them, then before the database."""
    path = await created(settings, folder)
    objects = world.app.state.resources.objects
    key = photo_key(COUNTY, sha256_of(PHOTO))
    await objects.delete([key])
    restored = on(empty_database, settings)
    for point in ("object", "photos"):
        with pytest.raises(Killed):
            await asyncio.to_thread(backup.restore, restored, path, at=dying(point))
        assert await tables(empty_database) == 0
    done = await asyncio.to_thread(backup.restore, restored, path)
    assert done.incarnations[COUNTY] > 1
    assert await objects.read(key, 10**7) == PHOTO


async def test_a_broken_archive_leaves_the_database_empty(
    settings: Settings, world: World, a: Phone, folder: Path, empty_database: str
) -> None:
    """The archive ends in the middle, and nobody compared its hash."""
    path = await created(settings, folder)
    content = (path / DUMP).read_bytes()
    (path / DUMP).write_bytes(content[: len(content) * 9 // 10])
    with pytest.raises(StartError):
        await asyncio.to_thread(dumps.restore, empty_database, path / DUMP)
    assert await tables(empty_database) == 0


async def test_a_restore_that_died_before_its_last_step_has_it_made_up(
    settings: Settings, world: World, a: Phone, folder: Path, empty_database: str
) -> None:
    path = await created(settings, folder)
    restored = on(empty_database, settings)
    with pytest.raises(Killed):
        await asyncio.to_thread(backup.restore, restored, path, at=dying("database"))
    with pytest.raises(StartError, match="backup restored"):
        await asyncio.to_thread(backup.restore, restored, path)
    environment = {
        "XUNLING_PG__DSN": empty_database,
        "XUNLING_S3__ENDPOINT": settings.s3.endpoint,
        "XUNLING_DATA_DIR": str(settings.data_dir),
    }
    result = await asyncio.to_thread(CliRunner().invoke, cli, ["backup", "restored"], env=environment)
    assert f"{COUNTY}: incarnation " in result.output
    conn = await asyncpg.connect(empty_database)
    assert await conn.fetchval("SELECT min(incarnation) FROM county") > 1
    await conn.close()


async def test_no_incarnation_is_used_twice_whatever_is_restored(world: World) -> None:
    """A backup that is older than the last restore does not know of the incarnation that began then."""
    noon = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)
    first = (await begin_incarnations(world.pool, noon))[COUNTY]
    await world.pool.execute("UPDATE county SET incarnation = 1; UPDATE stream_head SET incarnation = 1")
    assert (await begin_incarnations(world.pool, noon + timedelta(minutes=7)))[COUNTY] > first
    assert (await begin_incarnations(world.pool, noon))[COUNTY] > first + 7  # a server clock that was set back


# ---------------------------------------------------------------------------------------------- encryption


@pytest.fixture
def custodian(tmp_path: Path) -> Path:
    """The file with a custodian's secret key."""
    return tmp_path / "custodian.age"


@pytest.fixture
def encrypted(settings: Settings, custodian: Path) -> Settings:
    recipients = (make_identity(custodian),)
    return settings.model_copy(update={"backup": settings.backup.model_copy(update={"recipients": recipients})})


def holds(folder: Path, *secrets: bytes) -> list[str]:
    """The files below a folder that show one of these byte strings."""
    return [path.name for path in folder.rglob("*") if path.is_file() and any(secret in path.read_bytes() for secret in secrets)]


async def test_an_encrypted_backup_shows_nothing_and_is_verified_by_the_server(
    encrypted: Settings, world: World, a: Phone, folder: Path
) -> None:
    path = await created(encrypted, folder)
    assert {each.name for each in path.iterdir()} == {DUMP + SUFFIX, MANIFEST}
    assert holds(folder, b"PGDMP", PHOTO[:64]) == []
    await asyncio.to_thread(backup.verify, encrypted, path)
    assert await n_safe(world, a) == 2


async def test_a_custodian_restores_without_the_servers_keys(
    encrypted: Settings, world: World, a: Phone, folder: Path, empty_database: str, custodian: Path
) -> None:
    """The drill needs the backup and the key alone; then the earnest restore on a machine whose keys folder is new."""
    path = await created(encrypted, folder)
    result = await asyncio.to_thread(CliRunner().invoke, cli, ["backup", "drill", str(path), "--identity", str(custodian)], env={})
    assert "2 records, 1 photos" in result.output
    await world.app.state.resources.objects.delete([photo_key(COUNTY, sha256_of(PHOTO))])
    lost = on(empty_database, encrypted.model_copy(update={"keys_dir": folder / "new-keys"}))
    with pytest.raises(StartError, match="decrypted"):
        await asyncio.to_thread(backup.restore, lost, path)
    done = await asyncio.to_thread(backup.restore, lost, path, identity=custodian)
    assert (done.photos, await tables(empty_database) > 0) == (1, True)


async def test_another_key_opens_nothing_and_restores_nothing(
    encrypted: Settings, world: World, a: Phone, folder: Path, empty_database: str, tmp_path: Path
) -> None:
    path = await created(encrypted, folder)
    make_identity(tmp_path / "other.age")
    result = await asyncio.to_thread(CliRunner().invoke, cli, ["backup", "drill", str(path), "--identity", str(tmp_path / "other.age")])
    assert isinstance(result.exception, StartError)
    content = (path / (DUMP + SUFFIX)).read_bytes()
    (path / (DUMP + SUFFIX)).write_bytes(content[:-1])  # its end is missing, and nobody compared the hash
    with pytest.raises(StartError, match="decrypted"):
        await asyncio.to_thread(dumps.restore, empty_database, path / (DUMP + SUFFIX), load_encryption(encrypted))
    assert await tables(empty_database) == 0


async def test_a_new_custodian_gets_photos_that_only_they_open(
    encrypted: Settings, world: World, a: Phone, folder: Path, custodian: Path, tmp_path: Path
) -> None:
    """Photos are shared between backups, but not between sets of custodians."""
    await created(encrypted, folder)
    second = tmp_path / "second.age"
    replaced = encrypted.model_copy(update={"backup": encrypted.backup.model_copy(update={"recipients": (make_identity(second),)})})
    path = await created(replaced, folder, now=lambda: datetime.now(UTC) + timedelta(seconds=5))
    for key, status in ((second, 0), (custodian, 1)):
        result = await asyncio.to_thread(CliRunner().invoke, cli, ["backup", "drill", str(path), "--identity", str(key)])
        assert result.exit_code == status


def test_a_key_that_cannot_be_read_is_one_plain_line(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "backup.age").write_text("no key")
    with pytest.raises(StartError, match=r"backup\.age"):
        load_encryption(settings.model_copy(update={"keys_dir": tmp_path / "keys"}))
    make_identity(tmp_path / "k")
    with pytest.raises(StartError, match="exists"):
        make_identity(tmp_path / "k")


# -------------------------------------------------------------------------------------------------- by command


async def test_the_commands_do_it_all(settings: Settings, world: World, a: Phone, folder: Path, empty_database: str) -> None:
    environment = {
        "XUNLING_PG__DSN": settings.pg.full_dsn(),
        "XUNLING_S3__ENDPOINT": settings.s3.endpoint,
        "XUNLING_S3__BUCKET": settings.s3.bucket,
        "XUNLING_S3__ACCESS_KEY": settings.s3.access_key.get_secret_value(),
        "XUNLING_S3__SECRET_KEY": settings.s3.secret_key.get_secret_value(),
        "XUNLING_DATA_DIR": str(settings.data_dir),
        "XUNLING_BACKUP__FOLDER": str(folder),
    }

    async def command(*words: str, **more: str) -> str:
        result = await asyncio.to_thread(CliRunner().invoke, cli, ["backup", *words], env={**environment, **more})
        assert result.exit_code == 0, (result.output, result.exception)
        return result.output

    path = Path((await command("create", "--objects")).strip().splitlines()[-1])
    assert path == newest(folder)
    assert "n_safe raised for 1 devices" in await command("verify")
    assert "incarnations begun" in await command("restore", str(path), XUNLING_PG__DSN=empty_database)


def test_no_password_is_shown_among_the_processes() -> None:
    assert dumps.without_password("postgresql://u:p%40ss@/d?host=%2Ftmp") == ("postgresql://u@/d?host=%2Ftmp", "p@ss")
    assert dumps.without_password("postgresql://u:x@db.example:5433/d") == ("postgresql://u@db.example:5433/d", "x")
    assert dumps.without_password("postgresql://db.example/d") == ("postgresql://db.example/d", "")
