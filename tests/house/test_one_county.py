"""One county per statement (design.md section 7): what the operational tables are asked names the partition it asks."""

import re

from tests.house.test_statements import modules, statements
from tests.house.tree import ROOT

TABLE = re.compile(r"CREATE TABLE (\w+) \(\s*county ")
USED = re.compile(r"\b(?:FROM|JOIN|UPDATE|INTO)\s+(\w+)")
ONE = re.compile(r"\bcounty = (?:\$\d|p_county)|INSERT INTO \w+ \(county\b[^)]*\)\s*(?:SELECT|VALUES \() ?\$\d")
# What is about the whole installation, and never part of an exchange or an office request.
WHOLE = {
    "storage.audit_log.SQL_INSERT_NOTE": "one note, in the county of the unit it concerns",
    "storage.audit_log.SQL_INSERT_READINGS": "as one note, for many that were read",
    "storage.audit_seal.SQL_FETCH_UNSEALED": "the worker's round, each county's day by its index",
    "storage.audit_seal.SQL_FETCH_SEALED": "an audit of everything, by county and id",
    "storage.audit_seal.SQL_COUNT_UNSEALED": "an audit of everything",
    "storage.audit_log.SQL_FETCH_AUDIT": "an audit view over several counties, by LATERAL",
    "storage.backups.SQL_FETCH_KEPT": "a backup is of everything",
    "storage.backups.SQL_FETCH_MARKS": "a backup is of everything",
    "storage.devices.SQL_FETCH_IDLE": "at a log-in beyond the bound: whether a device holds anything unsent in any county, by its keys",
    "storage.desk.SQL_FETCH_DEFERRED": "the worker's round, oldest first",
    "storage.ledger.SQL_IS_MISSING": "asked once at a start",
    "storage.photo_sendings.SQL_FETCH_DAY_BYTES": "a person's day is one, by an index of its own",
    "storage.rules.SQL_FETCH_RULES": "all rules, a few rows, kept in memory",
}


def spanning(wanted: dict[str, str], operational: set[str]) -> set[str]:
    """Places of statements that use such a table and do not say whose part of it."""
    return {place for place, sql in wanted.items() if operational & set(USED.findall(sql)) and not ONE.search(sql)}


def test_every_statement_names_its_county() -> None:
    operational = set(TABLE.findall((ROOT / "storage" / "schema.sql").read_text())) - {"county"}
    assert {"record", "held", "blob", "draw_sealed", "device_county"} <= operational
    wanted = {place: sql for module in modules() for place, sql in statements(module).items()}
    assert spanning(wanted, operational) == set(WHOLE)


def test_a_statement_over_all_counties_would_be_noticed() -> None:
    wanted = {
        "all": "SELECT count(*) FROM held",
        "several": "SELECT 1 FROM blob b WHERE b.county = ANY ($1::int[])",
        "one": "SELECT 1 FROM blob b WHERE b.county = $1",
        "new": "INSERT INTO blob (county, sha256) SELECT $1, u FROM unnest($2::text[]) u",
        "other": "SELECT 1 FROM person",
    }
    assert spanning(wanted, {"held", "blob"}) == {"all", "several"}
