-- The phone's store. UUIDs are 16-byte blobs, JSON is kept as it came, moments are milliseconds.
-- Everything here is either a copy of what the server said (confirmed, stream) or a person's own work that only a verified
-- receipt may delete (mutation, photo).

-- What there is one of: device id, tokens, server keys, problems shown, the count of exchanges.
CREATE TABLE IF NOT EXISTS meta (
    name TEXT PRIMARY KEY,
    value
) WITHOUT ROWID;

-- Own numbering per county. n_made only grows, whatever is deleted, so a number is never given out twice.
-- receipt: the newest verified one; it is shown to the server with every exchange (rewind, design.md 3.3).
CREATE TABLE IF NOT EXISTS county (
    county INTEGER PRIMARY KEY,
    n_made INTEGER NOT NULL DEFAULT 0,
    n_high INTEGER NOT NULL DEFAULT 0,
    n_safe INTEGER,                -- in a verified backup; NULL: no backup is configured
    incarnation INTEGER NOT NULL DEFAULT 0,
    holes TEXT NOT NULL DEFAULT '[]', -- [[from, to], ...] numbers the server has given up, as it last said
    receipt_incarnation INTEGER NOT NULL DEFAULT 0,
    receipt_n INTEGER NOT NULL DEFAULT 0,
    receipt BLOB
);

-- The streams held, and how far. state 'leaving' is the drop barrier: the copies go when own unsent work has a receipt.
--   generation     marks copies; a replacement is a new generation, and its sweep deletes what still carries an older one
--   replace_from   the head's seq when the replacement began; NULL: none under way
--   reached        the newest exchange in which the stream's head was reached
--   verdict        of the last comparison with the head's digest: unknown, agrees, differs, repair
CREATE TABLE IF NOT EXISTS stream (
    name TEXT PRIMARY KEY,
    county INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('have', 'leaving')),
    incarnation INTEGER NOT NULL DEFAULT 0,
    seq INTEGER NOT NULL DEFAULT 0,
    generation INTEGER NOT NULL DEFAULT 0,
    replace_from INTEGER,
    reached INTEGER NOT NULL DEFAULT 0,
    verdict TEXT NOT NULL DEFAULT 'unknown',
    buckets TEXT NOT NULL DEFAULT '[]', -- the buckets to ask for, when verdict is 'repair'
    repairs INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

-- The server's records, changed by pages only. The order of two copies of a record is (seen, incarnation, version), where
-- `seen` is the incarnation of the stream that brought it: after a rewind an older version is the newer truth.
-- stream NULL: detached. The record left, but own unsent work still needs the copy to be shown; it counts in no digest.
CREATE TABLE IF NOT EXISTS confirmed (
    county INTEGER NOT NULL,
    record BLOB NOT NULL,
    kind TEXT NOT NULL,
    stream TEXT,
    seq INTEGER NOT NULL,
    seen INTEGER NOT NULL,
    incarnation INTEGER NOT NULL,
    version INTEGER NOT NULL,
    parent BLOB,
    body BLOB NOT NULL,
    crc INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    PRIMARY KEY (county, record)
);
CREATE INDEX IF NOT EXISTS confirmed_stream ON confirmed (stream, crc);
CREATE INDEX IF NOT EXISTS confirmed_kind ON confirmed (kind, record);
CREATE INDEX IF NOT EXISTS confirmed_record ON confirmed (record);

-- What the person meant, as the raw bytes that travel. Held until the server has it in a backup (or 30 days without one),
-- deleted only from the front, so that what is held is always a range.
--   outcome          NULL: unsent, or sent into the void
--   settled          the exchange that brought the final outcome; the overlay stays until the streams have reached it
--   released         1: pages show it now, or it was rejected; no longer overlaid
--   shows            what a command is expected to change, for the screen only; never sent
CREATE TABLE IF NOT EXISTS mutation (
    county INTEGER NOT NULL,
    n INTEGER NOT NULL,
    id BLOB NOT NULL UNIQUE,
    record BLOB NOT NULL,
    kind TEXT NOT NULL,
    op TEXT NOT NULL,
    raw BLOB NOT NULL,
    shows TEXT NOT NULL DEFAULT '{}',
    outcome TEXT,
    reason TEXT,
    detail TEXT,
    message TEXT,
    became_incarnation INTEGER,
    became_version INTEGER,
    receipted_ms INTEGER,
    settled INTEGER,
    released INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (county, n)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS mutation_overlaid ON mutation (record, n) WHERE released = 0;
CREATE INDEX IF NOT EXISTS mutation_unsent ON mutation (county, n) WHERE outcome IS NULL;

-- Photos whose bytes are here (held = 1) or were. The bytes are a file beside the store, or `content` in a store in memory.
-- n: the newest mutation that announced them. state: announced, verifying, received, refused.
CREATE TABLE IF NOT EXISTS photo (
    county INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    n INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    media_type TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'announced',
    reason TEXT,
    receipt BLOB,
    held INTEGER NOT NULL DEFAULT 1,
    content BLOB,
    PRIMARY KEY (county, sha256)
);

-- Frames as they came, stored before any is acted on. A frame leaves in the transaction that applies it.
CREATE TABLE IF NOT EXISTS inbox (
    exchange INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    raw BLOB NOT NULL,
    PRIMARY KEY (exchange, ordinal)
) WITHOUT ROWID;
