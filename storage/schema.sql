-- The reference schema: what the migrations must add up to (tests/house proves it), each table with its why.
--
-- Conventions. Operational tables lead every key with `county`, the partition, which never changes (design.md section 7).
-- No triggers, no foreign keys between operational tables (the one write path keeps them true; `xunling audit` checks).
-- Codes and stream names are COLLATE "C": they are compared as bytes.

-- ---------------------------------------------------------------------------------------------- places and people
-- Reference tables: small, read everywhere, rarely written. On Citus: reference tables, hence no hot columns here.

-- A partition. `incarnation` grows when a restored backup is recognised (design.md 3.3).
CREATE TABLE county (
    county integer PRIMARY KEY,
    name text NOT NULL,
    incarnation integer NOT NULL DEFAULT 1
);

-- Who owns work: areas, teams, departments. `county` is the partition its records live in (zones take townships over).
CREATE TABLE unit (
    code text COLLATE "C" PRIMARY KEY,
    county integer NOT NULL,
    parent text COLLATE "C",
    level text NOT NULL,
    name text NOT NULL
);

CREATE TABLE person (
    id uuid PRIMARY KEY,
    name text NOT NULL,
    phone text UNIQUE NOT NULL,
    password_hash text NOT NULL,
    disabled_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- A role at a unit for a time. Never deleted: permission is judged by the duty at the time of capture.
CREATE TABLE duty (
    id uuid PRIMARY KEY,
    person uuid NOT NULL REFERENCES person (id),
    role text NOT NULL,
    unit text COLLATE "C" NOT NULL REFERENCES unit (code),
    starts timestamptz NOT NULL,
    ends timestamptz,
    CHECK (ends IS NULL OR ends > starts)
);
CREATE INDEX duty_person ON duty (person);

-- One local store: a phone, one browser of the console, or the server itself (`kind`).
CREATE TABLE device (
    id uuid PRIMARY KEY,
    person uuid NOT NULL REFERENCES person (id),
    kind text NOT NULL CHECK (kind IN ('phone', 'console', 'system')),
    name text NOT NULL DEFAULT '',
    enrolled_at timestamptz NOT NULL DEFAULT now(),
    wiped_at timestamptz,   -- reported lost: push-only into quarantine, then a wipe order
    revoked_at timestamptz, -- cloned or retired: it must enrol again
    revoked_why text
);
CREATE INDEX device_person ON device (person);

-- ---------------------------------------------------------------------------------------------- records and streams

-- A stream's head: the one row every write of the stream locks. That lock, not a sequence, makes seq gap-free and
-- commit-ordered (promise 5). count and digest describe the live records exactly at seq.
CREATE TABLE stream_head (
    county integer NOT NULL,
    stream text COLLATE "C" NOT NULL,
    incarnation integer NOT NULL,
    seq bigint NOT NULL DEFAULT 0,
    count bigint NOT NULL DEFAULT 0,
    digest bigint NOT NULL DEFAULT 0,
    floor bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (county, stream)
) WITH (fillfactor = 50); -- updated by every push: room for HOT updates

-- The current state of one synced thing. body is json, not jsonb: it is passed through as text to phones.
-- fields: {field: [incarnation, version, device, n]} of who last set it; "*" stands for all fields not named.
CREATE TABLE record (
    county integer NOT NULL,
    id uuid NOT NULL,
    kind text COLLATE "C" NOT NULL,
    stream text COLLATE "C" NOT NULL,
    seq bigint NOT NULL,
    incarnation integer NOT NULL,
    version bigint NOT NULL,
    crc bigint NOT NULL, -- crc32(id, version): the record's share of the digest
    parent uuid,
    deleted boolean NOT NULL DEFAULT false,
    moved_to integer, -- the county it lives in now; late edits are forwarded there
    changed_at timestamptz NOT NULL DEFAULT now(),
    fields json NOT NULL,
    body json NOT NULL,
    PRIMARY KEY (county, id)
);
CREATE UNIQUE INDEX record_stream ON record (county, stream, seq) WHERE NOT deleted;
CREATE INDEX record_parent ON record (county, parent) WHERE parent IS NOT NULL;

-- What stays in a stream when a record leaves it (moved, archived, deleted). Re-entering removes it.
CREATE TABLE marker (
    county integer NOT NULL,
    stream text COLLATE "C" NOT NULL,
    record uuid NOT NULL,
    seq bigint NOT NULL,
    incarnation integer NOT NULL,
    version bigint NOT NULL,
    PRIMARY KEY (county, stream, record)
);
CREATE UNIQUE INDEX marker_stream ON marker (county, stream, seq);

-- Append-only: the raw mutation as it came, how it was decided, and the change it caused. It is also what makes a
-- repeated push harmless: (county, device, n) is looked up before planning.
--   entry 0 is the mutation; later entries are its consequences (a conflict, an opened problem) and later decisions.
--   patch: the recorded change; NULL means "the raw mutation's own body or new values, as they are".
CREATE TABLE journal (
    county integer NOT NULL,
    device uuid NOT NULL,
    n bigint NOT NULL,
    entry smallint NOT NULL,
    what text NOT NULL CHECK (what IN ('mutation', 'consequence', 'decision')),
    mutation uuid,
    record uuid,
    kind text COLLATE "C",
    op text COLLATE "C",
    person uuid,
    received_at timestamptz NOT NULL DEFAULT now(),
    captured_from timestamptz,
    captured_to timestamptz,
    outcome text NOT NULL,
    reason text NOT NULL,
    detail json,
    root_incarnation integer NOT NULL DEFAULT 0, -- the root base of its offline chain
    root_version bigint NOT NULL DEFAULT 0,
    stream text COLLATE "C",
    seq bigint,
    incarnation integer,
    version bigint, -- what the record became; NULL: nothing was written
    deleted boolean NOT NULL DEFAULT false,
    patch json,
    raw bytea,
    PRIMARY KEY (county, device, n, entry)
);
CREATE INDEX journal_record ON journal (county, record, incarnation, version);

-- One device in one county: how far its numbers are known, and what is known of its clock.
--   clocks: [[session, mono_ms, server_ms, wall_ms], ...]   marks: [[n_made, server_ms], ...]   newest last, bounded
CREATE TABLE device_county (
    county integer NOT NULL,
    device uuid NOT NULL,
    n_high bigint NOT NULL DEFAULT 0,
    n_made bigint NOT NULL DEFAULT 0,
    n_safe bigint, -- in a verified backup up to here
    seen_at timestamptz NOT NULL DEFAULT now(),
    clocks json NOT NULL DEFAULT '[]',
    marks json NOT NULL DEFAULT '[]',
    holes json NOT NULL DEFAULT '[]', -- [[from, to], ...] numbers nobody holds any more
    PRIMARY KEY (county, device)
) WITH (fillfactor = 50);

-- The desk: mutations that wait for a human (quarantined) or another try (deferred). The raw bytes are in the journal.
CREATE TABLE held (
    county integer NOT NULL,
    device uuid NOT NULL,
    n bigint NOT NULL,
    mutation uuid,
    record uuid,
    kind text COLLATE "C",
    unit text COLLATE "C", -- whose desk
    person uuid,
    outcome text NOT NULL,
    reason text NOT NULL,
    detail json,
    waits_for bigint, -- n of the same device and county
    tries integer NOT NULL DEFAULT 0,
    opened_at timestamptz NOT NULL DEFAULT now(),
    settled_at timestamptz,
    settled_by uuid,
    settled_how text,
    PRIMARY KEY (county, device, n)
);
CREATE INDEX held_open ON held (county, outcome, opened_at) WHERE settled_at IS NULL;

-- ---------------------------------------------------------------------------------------------- photos

-- The bytes of a photo, once per county whatever number of records show it. Receipt and cleaning lock this row.
CREATE TABLE blob (
    county integer NOT NULL,
    sha256 text COLLATE "C" NOT NULL,
    bytes bigint NOT NULL,
    media_type text NOT NULL,
    state text NOT NULL DEFAULT 'wanted' CHECK (state IN ('wanted', 'received', 'refused', 'condemned')),
    reason text,
    announced_at timestamptz NOT NULL DEFAULT now(),
    received_at timestamptz,
    PRIMARY KEY (county, sha256)
);
CREATE INDEX blob_wanted ON blob (county, announced_at) WHERE state <> 'received';

-- Which device promised the bytes, by which mutation (also while that is quarantined or deferred).
CREATE TABLE blob_announcement (
    county integer NOT NULL,
    device uuid NOT NULL,
    sha256 text COLLATE "C" NOT NULL,
    n bigint NOT NULL,
    photo uuid NOT NULL,
    PRIMARY KEY (county, device, sha256, photo)
);
CREATE INDEX blob_announcement_sha256 ON blob_announcement (county, sha256);
