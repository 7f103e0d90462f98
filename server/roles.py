"""Two roles of the database (decision 0031). The owner migrates, dumps and restores; server and worker have a lesser one, which reads and
writes rows and can neither change the audit log and the journal nor any table's shape.

`bring_up` migrates as the owner and gives the lesser role what it needs, also of tables that a migration has just made. Where both settings
name one role (or the owner's is empty) there is nothing to give: then the log is only as safe as the program, and `check` says so.
"""

import asyncio
import hashlib
import hmac
import secrets
from base64 import b64encode
from typing import Final, LiteralString
from urllib.parse import unquote, urlsplit

import asyncpg

from server.migrate import migrate
from server.settings import PgSettings
from server.trouble import StartError

# Rows of these are history: nothing in the program changes or deletes one.
APPENDED: Final = ("audit_log", "audit_seal", "journal", "refused")
# Rows of these are never deleted: an account is disabled, a duty ends, a record is marked deleted.
KEPT: Final = ("county", "unit", "person", "duty", "device", "record", "stream_head", "device_county", "held", "draw_sealed")
# What migrating keeps for itself.
BOOKKEEPING: Final = ("schema_migrations", "migration_checksum")

SCRAM_ROUNDS: Final = 4096

# One at a time: PostgreSQL refuses two who change one entry of its catalogue at once.
LOCK_ROLES: Final[LiteralString] = "SELECT pg_advisory_xact_lock(hashtextextended('xunling roles', 0))"
FETCH_OWNER: Final[LiteralString] = """
    SELECT quote_ident($1) AS role, current_user = $1 AS is_same, EXISTS (SELECT FROM pg_roles WHERE rolname = $1) AS exists,
           (SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user) AS may_create,
           quote_ident(current_database()) AS database
"""
FETCH_TABLES: Final[LiteralString] = """
    SELECT c.relname AS name, quote_ident(c.relname) AS quoted FROM pg_class c
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') ORDER BY 1
"""
FETCH_POWERS: Final[LiteralString] = """
    SELECT current_user AS role, has_table_privilege('audit_log', 'UPDATE, DELETE, TRUNCATE')
        OR pg_has_role(current_user, (SELECT relowner FROM pg_class WHERE oid = 'audit_log'::regclass), 'MEMBER') AS may_change
"""


def bring_up(pg: PgSettings) -> list[str]:
    """Migrate and grant; the versions applied now."""
    applied = migrate(pg.full_owner_dsn())
    grant(pg)
    return applied


def grant(pg: PgSettings) -> None:
    """The lesser role has what it needs and no more, after this. StartError when it is missing and the owner may not make it."""
    asyncio.run(_grant(pg.full_owner_dsn(), pg.full_dsn()))


async def _grant(owner_dsn: str, dsn: str) -> None:
    role, password = user_of(dsn)
    if not role:
        return  # a DSN without a user: that of the operating system, as the owner's
    can_log_in = await _can_log_in(dsn)
    conn = await asyncpg.connect(owner_dsn, timeout=15)
    try:
        async with conn.transaction():
            await conn.execute(LOCK_ROLES)
            found = await conn.fetchrow(FETCH_OWNER, role)
            assert found is not None
            if found["is_same"]:
                return
            if not can_log_in:
                await _make(conn, found, role, password)
            for statement in grants(found["role"], [(row["name"], row["quoted"]) for row in await conn.fetch(FETCH_TABLES)]):
                await conn.execute(statement)
    finally:
        await conn.close()


async def _can_log_in(dsn: str) -> bool:
    """Then the role is left as it is: a password is set only where it is new."""
    try:
        conn = await asyncpg.connect(dsn, timeout=15)
    except (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidPasswordError):
        return False
    await conn.close()
    return True


async def _make(conn: "asyncpg.Connection[asyncpg.Record]", found: asyncpg.Record, role: str, password: str) -> None:
    if not found["may_create"] or not password:
        raise StartError(
            f"数据库角色 {role} 无法登录。请由数据库管理员建立：CREATE ROLE {found['role']} LOGIN PASSWORD '...'，并设置 XUNLING_PG__PASSWORD。",
            f"The database role {role} cannot log in, and the owner may not make it: CREATE ROLE {found['role']} LOGIN PASSWORD '...', "
            "and set XUNLING_PG__PASSWORD.",
        )
    verb = "ALTER" if found["exists"] else "CREATE"
    # the verifier instead of the password: statements may be logged
    await conn.execute(f"{verb} ROLE {found['role']} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD '{scram_verifier(password)}'")


def grants(role: str, tables: list[tuple[str, str]]) -> list[str]:
    """The statements that give a role (quoted) its rights to these tables (name, quoted)."""
    statements = [
        f"GRANT USAGE ON SCHEMA public TO {role}",
        f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {role}",
        f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {role}",
    ]
    return statements + [f"GRANT {rights_to(name)} ON {quoted} TO {role}" for name, quoted in tables]


def rights_to(table: str) -> str:
    if table in BOOKKEEPING:
        return "SELECT"
    if table in APPENDED:
        return "SELECT, INSERT"
    return "SELECT, INSERT, UPDATE" if table in KEPT else "SELECT, INSERT, UPDATE, DELETE"


def user_of(dsn: str) -> tuple[str, str]:
    """(user, password) of a DSN; empty where it names none."""
    parts = urlsplit(dsn)
    return unquote(parts.username or ""), unquote(parts.password or "")


def scram_verifier(password: str) -> str:
    """What PostgreSQL keeps of a password (RFC 5803), so that the password itself is in no statement."""
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, SCRAM_ROUNDS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    salt_text, stored_text, server_text = (b64encode(part).decode() for part in (salt, stored, server))
    return f"SCRAM-SHA-256${SCRAM_ROUNDS}:{salt_text}${stored_text}:{server_text}"


def powers(dsn: str) -> tuple[str, bool]:
    """(the role, whether it may change the audit log)."""
    return asyncio.run(_powers(dsn))


async def _powers(dsn: str) -> tuple[str, bool]:
    conn = await asyncpg.connect(dsn, timeout=15)
    try:
        row = await conn.fetchrow(FETCH_POWERS)
        assert row is not None
        return row["role"], row["may_change"]
    finally:
        await conn.close()
