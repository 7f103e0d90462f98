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
    name text NOT NULL,
    closed_on date -- from this day on nothing new is given to it or to what lies below (docs/access.md)
);

CREATE TABLE person (
    id uuid PRIMARY KEY,
    name text NOT NULL,
    phone text NOT NULL, -- of one live account; a disabled one keeps it as history when somebody else has the number now
    password_hash text NOT NULL,
    disabled_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    credential bigint NOT NULL DEFAULT 0,        -- raised by each new password: a log-in that was begun before it fails
    must_change boolean NOT NULL DEFAULT false,  -- somebody else knows the password: it opens nothing but its own change
    demo boolean NOT NULL DEFAULT false          -- of the demo staff, or made or given a password by one of them: shut without demo mode
);
CREATE UNIQUE INDEX person_phone_live ON person (phone) WHERE disabled_at IS NULL;
CREATE INDEX person_phone ON person (phone);

-- A role at a unit for a time. Never deleted: permission is judged by the duty at the time of capture.
CREATE TABLE duty (
    id uuid PRIMARY KEY,
    person uuid NOT NULL REFERENCES person (id),
    role text NOT NULL,
    unit text COLLATE "C" NOT NULL REFERENCES unit (code),
    starts timestamptz NOT NULL,
    ends timestamptz,
    demo boolean NOT NULL DEFAULT false, -- granted by a demo account
    CHECK (ends IS NULL OR ends > starts)
);
CREATE INDEX duty_person ON duty (person);

-- One local store: a phone, one browser of the console, or the server itself (`kind`).
CREATE TABLE device (
    id uuid PRIMARY KEY,
    person uuid NOT NULL REFERENCES person (id),
    kind text NOT NULL,
    name text NOT NULL DEFAULT '',
    enrolled_at timestamptz NOT NULL DEFAULT now(),       -- its last log-in with a password
    first_enrolled_at timestamptz NOT NULL DEFAULT now(), -- nothing was captured on it before
    acts_for uuid, -- of an office identity: the device whose writes over the office routes the server numbers under it
    wiped_at timestamptz,   -- reported lost: push-only into quarantine, then a wipe order
    revoked_at timestamptz, -- cloned or retired: it must enrol again
    revoked_why text
);
-- Stores that log in have ids of version 7. What the server derives lives apart: nothing enrols it. (Older rows are let be.)
ALTER TABLE device ADD CONSTRAINT device_kind_check CHECK (kind IN ('phone', 'console', 'office')) NOT VALID;
ALTER TABLE device ADD CONSTRAINT device_acts_for_check CHECK ((kind = 'office') = (acts_for IS NOT NULL)) NOT VALID;
ALTER TABLE device ADD CONSTRAINT device_id_check CHECK (kind = 'office' OR substr(id::text, 15, 1) = '7') NOT VALID;
CREATE INDEX device_person ON device (person);

CREATE INDEX duty_unit ON duty (unit);

-- One row, raised whenever a unit changes: every process asks for it now and then, and reads all units only when it moved.
CREATE TABLE unit_version (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    version bigint NOT NULL
);

-- ---------------------------------------------------------------------------------------------- access

-- What a device proves itself with: only the SHA-256 is here. family: one log-in. A refresh token stays good until the one
-- that was issued for it (parent) is used, because the answer with the new one may have been lost on a mountain road.
-- spent_at: a successor of it was used, or another took its place; if it comes back, somebody has a copy and the family ends.
-- successor_key: its successor is derived from this and the token itself, so that two who refresh at once get the same.
-- session_ends: a console is logged out then, used or not.
CREATE TABLE token (
    hash bytea PRIMARY KEY,
    device uuid NOT NULL,
    family uuid NOT NULL,
    purpose text NOT NULL CHECK (purpose IN ('access', 'refresh')),
    issued_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    parent bytea,
    spent_at timestamptz,
    successor_key bytea,
    session_ends timestamptz,
    strong boolean NOT NULL DEFAULT false -- the log-in has shown a second factor
);
CREATE INDEX token_family ON token (family);
CREATE INDEX token_device ON token (device);
CREATE INDEX token_parent ON token (parent) WHERE parent IS NOT NULL;
CREATE INDEX token_expires ON token (expires_at);

-- The second factor of a person (TOTP). secret is sealed with the installation's key. last_step: a code is good once.
CREATE TABLE second_factor (
    person uuid PRIMARY KEY,
    secret bytea NOT NULL,
    confirmed_at timestamptz, -- NULL: being set up, opens nothing yet
    last_step bigint NOT NULL DEFAULT 0
);

-- One-time codes for who has lost the second factor, as keyed hashes.
CREATE TABLE recovery_code (
    person uuid NOT NULL,
    hash bytea NOT NULL,
    used_at timestamptz,
    PRIMARY KEY (person, hash)
);

-- How much a wiped device has handed in since: a thief's phone must not fill the quarantine. Not a column of device,
-- which is a reference table and takes no hot writes.
CREATE TABLE wipe_allowance (
    device uuid PRIMARY KEY,
    bytes bigint NOT NULL DEFAULT 0
);

-- Token buckets, for log-ins (which makes them the lock-out) and busy devices. Unlogged: what a crash forgets is only
-- that somebody was too quick.
CREATE UNLOGGED TABLE rate_bucket (
    key text COLLATE "C" PRIMARY KEY,
    tokens double precision NOT NULL,
    at timestamptz NOT NULL,
    taken boolean NOT NULL
);
CREATE INDEX rate_bucket_at ON rate_bucket (at);

-- Who did what, on what, when, from where. Append-only. unit: whom it concerns, so that it can be shown by duty;
-- county 0: nobody known (a wrong phone number at the log-in). detail never holds a secret.
CREATE TABLE audit_log (
    county integer NOT NULL,
    id uuid NOT NULL, -- v7: the key is also the order in time
    at timestamptz NOT NULL,
    unit text COLLATE "C",
    action text COLLATE "C" NOT NULL,
    person uuid,
    device uuid,
    subject text,
    detail json NOT NULL DEFAULT '{}',
    source text NOT NULL DEFAULT '',
    request text NOT NULL DEFAULT '',
    PRIMARY KEY (county, id)
);
-- One for each filter of the audit view: what matches little must not be looked for through years of log-ins.
CREATE INDEX audit_log_person ON audit_log (county, person, id);
CREATE INDEX audit_log_subject ON audit_log (county, subject, id);
CREATE INDEX audit_log_unit ON audit_log (county, unit, id);
CREATE INDEX audit_log_action ON audit_log (county, action, id);
CREATE INDEX audit_log_at ON audit_log (county, at);

-- A seal over some entries (counties and ids, side by side) and over the seal before; signed (decision 0032). Append-only; the entries
-- know nothing of it, so that nobody who makes one waits for anybody.
CREATE TABLE audit_seal (
    number bigint PRIMARY KEY,
    sealed_at timestamptz NOT NULL,
    counties integer[] NOT NULL,
    ids uuid[] NOT NULL,
    digest bytea NOT NULL,
    key text NOT NULL,
    sig text NOT NULL
);

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
-- A photo is shown again by records in the streams of others.
CREATE INDEX record_mirror ON record (county, (body ->> 'mirror_of')) WHERE kind = 'photo' AND (body ->> 'mirror_of') IS NOT NULL;
-- The office's list of its draws, which are rare.
CREATE INDEX record_draw ON record (county, changed_at, id) WHERE kind = 'draw' AND NOT deleted;
-- Suspected duplicates of a new problem: of the same site, or of the subject on the same latitude.
CREATE INDEX record_problem_site ON record (county, (body ->> 'site')) WHERE kind = 'problem' AND NOT deleted;
CREATE INDEX record_problem_lat ON record (county, (body ->> 'subject'), ((body -> 'position' ->> 'lat')::float8)) WHERE kind = 'problem' AND NOT deleted;
-- The conflict inbox: few are open at a time.
CREATE INDEX record_conflict_open ON record (county, changed_at, id) WHERE kind = 'conflict' AND NOT deleted AND (body ->> 'state') = 'open';

-- What stays in a stream when a record leaves it (moved, archived, deleted). Re-entering removes it.
CREATE TABLE marker (
    county integer NOT NULL,
    stream text COLLATE "C" NOT NULL,
    record uuid NOT NULL,
    seq bigint NOT NULL,
    incarnation integer NOT NULL,
    version bigint NOT NULL,
    left_at timestamptz NOT NULL DEFAULT now(), -- old ones are purged, and the head's floor rises (storage/floors.py)
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
--   clocks: [[session, mono_ms, server_ms, wall_ms, late_ms], ...]   marks: [[n_made, server_ms], ...]   newest last, bounded
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
CREATE INDEX held_oldest ON held (county, opened_at, device, n) WHERE settled_at IS NULL; -- the desk's order
CREATE INDEX held_open ON held (county, outcome, opened_at) WHERE settled_at IS NULL;
CREATE INDEX held_of_person ON held (county, person) WHERE settled_at IS NULL; -- how much of one person waits

-- Creations that were refused for good, and the desk that is told of them (decisions/0042). What was sent is in the journal's entry 0, why it
-- was refused in `entry`: 0, or a later decision on what was held. Append-only, as the journal; written by few pushes.
CREATE TABLE refused (
    county integer NOT NULL,
    device uuid NOT NULL,
    n bigint NOT NULL,
    entry smallint NOT NULL,
    unit text COLLATE "C" NOT NULL, -- whose desk
    refused_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (county, device, n)
);
CREATE INDEX refused_newest ON refused (county, unit, refused_at, device, n); -- each desk's order, read backwards

-- ---------------------------------------------------------------------------------------------- transfers

-- A record that moved to another county, and every late mutation on it: what a job pushes there, a family (a record and its
-- children) in the order of `step`. Written by the push that planned it, so neither is without the other; kept as history.
-- `county` is where it left. mutation: what is pushed, as a whole; its id derives from the cause, so twice is once.
-- device, n, person: whose mutation caused it. by_system: it may write what a person may not. outcome: how it ended there.
CREATE TABLE transfer (
    county integer NOT NULL,
    family uuid NOT NULL,
    step bigint NOT NULL,
    target integer NOT NULL,
    record uuid NOT NULL,
    is_copy boolean NOT NULL,
    by_system boolean NOT NULL,
    device uuid NOT NULL,
    n bigint NOT NULL,
    person uuid NOT NULL,
    mutation json NOT NULL,
    planned_at timestamptz NOT NULL DEFAULT now(),
    done_at timestamptz,
    outcome text,
    reason text,
    PRIMARY KEY (county, family, step)
);
CREATE INDEX transfer_open ON transfer (county, family, step) WHERE done_at IS NULL;

-- The bytes of a photo that moved: copied once they are here, which may be long after its record left.
CREATE TABLE transfer_blob (
    county integer NOT NULL,
    target integer NOT NULL,
    sha256 text COLLATE "C" NOT NULL,
    done_at timestamptz,
    PRIMARY KEY (county, target, sha256)
);
CREATE INDEX transfer_blob_open ON transfer_blob (county, sha256) WHERE done_at IS NULL;

-- ---------------------------------------------------------------------------------------------- a push

-- Two functions, because round trips dominate a push: one locks and reads, one writes. They hold no rule: every decision
-- is made in sync/ between the two (decision 0003). The text is that of the migration.

-- Locks the device's row, then the heads in sorted order; only then, as later statements with a fresh snapshot, reads.
-- p_streams are the heads that the caller expects to need; the streams of the named records are added by an unlocked
-- read. The caller checks that every stream it plans on is among the heads returned, and asks again otherwise.
CREATE FUNCTION push_read(
    p_county integer, p_device uuid, p_ns bigint[], p_records uuid[], p_bases uuid[], p_streams text[], p_all boolean,
    OUT device device_county, OUT heads stream_head[], OUT records public.record[], OUT known json, OUT bases json, OUT held json
) LANGUAGE plpgsql AS $$
DECLARE
    wanted text[];
BEGIN
    SELECT * INTO device FROM device_county d WHERE d.county = p_county AND d.device = p_device FOR UPDATE;
    IF NOT FOUND THEN
        INSERT INTO device_county (county, device) VALUES (p_county, p_device) ON CONFLICT DO NOTHING;
        SELECT * INTO device FROM device_county d WHERE d.county = p_county AND d.device = p_device FOR UPDATE;
    END IF;
    SELECT array_agg(s ORDER BY s) INTO wanted FROM (
        SELECT unnest(p_streams) COLLATE "C" AS s
        UNION
        SELECT r.stream FROM record r WHERE r.county = p_county AND r.id = ANY (p_records)
        UNION
        SELECT h.stream FROM stream_head h WHERE p_all AND h.county = p_county) w;
    IF EXISTS (SELECT FROM unnest(wanted) s
               WHERE NOT EXISTS (SELECT FROM stream_head h WHERE h.county = p_county AND h.stream = s)) THEN
        -- A stream's first record. Before any head is locked: whoever waits here for another's new head holds none that the
        -- other may want. The county row keeps a bump of the incarnation out meanwhile.
        INSERT INTO stream_head (county, stream, incarnation)
        SELECT c.county, s, c.incarnation FROM county c, unnest(wanted) s
        WHERE c.county = p_county
        ORDER BY s FOR KEY SHARE OF c
        ON CONFLICT DO NOTHING;
    END IF;
    SELECT array_agg(l.h) INTO heads FROM (
        SELECT h FROM stream_head h WHERE h.county = p_county AND h.stream = ANY (wanted) ORDER BY h.stream FOR UPDATE) l;
    IF cardinality(p_records) > 0 THEN
        SELECT array_agg(r) INTO records FROM record r WHERE r.county = p_county AND r.id = ANY (p_records);
        SELECT json_agg(json_build_array(h.n, h.record, h.mutation)) INTO held FROM held h
        WHERE h.county = p_county AND h.device = p_device AND h.settled_at IS NULL;
    END IF;
    IF device.n_high > 0 AND cardinality(p_ns) > 0 AND p_ns[1] <= device.n_high THEN
        SELECT json_agg(json_build_array(j.n, j.mutation, j.outcome, j.reason, j.detail, j.record, j.incarnation, j.version)
                        ORDER BY j.n, j.entry) INTO known
        FROM journal j
        WHERE j.county = p_county AND j.device = p_device AND j.n = ANY (p_ns) AND j.what <> 'consequence';
    END IF;
    IF records IS NOT NULL AND cardinality(p_bases) > 0 THEN
        SELECT json_agg(json_build_array(j.mutation, j.root_incarnation, j.root_version, j.outcome, j.device, j.n)
                        ORDER BY j.entry) INTO bases
        FROM journal j
        WHERE j.county = p_county AND j.record = ANY (p_records) AND j.mutation = ANY (p_bases) AND j.what <> 'consequence';
    END IF;
END $$;

-- The rows of push_write. Whole rows and not one array a column: a batch of 25 is 6 values to encode and to read instead of
-- 1,400, which is a third of the time that passing them takes (docs/performance.md).
CREATE TYPE push_head AS (stream text, seq bigint, count bigint, digest bigint);
CREATE TYPE push_record AS (
    id uuid, kind text, stream text, seq bigint, incarnation integer, version bigint, planned_on bigint, crc bigint, parent uuid,
    deleted boolean, moved_to integer, fields json, body json);
CREATE TYPE push_marker AS (stream text, record uuid, seq bigint, incarnation integer, version bigint);
CREATE TYPE push_entry AS (
    n bigint, entry smallint, what text, mutation uuid, record uuid, kind text, op text, captured_from timestamptz,
    captured_to timestamptz, outcome text, reason text, detail json, root_incarnation integer, root_version bigint, stream text,
    seq bigint, incarnation integer, version bigint, deleted boolean, patch json, raw bytea);
CREATE TYPE push_held AS (
    n bigint, mutation uuid, record uuid, kind text, unit text, outcome text, reason text, detail json, waits_for bigint);
CREATE TYPE push_photo AS (sha256 text, bytes bigint, n bigint, photo uuid);

-- Writes what was planned. A record write names the version it was planned on (0 = missing); where the database has another,
-- 'XL001' or a unique violation is raised and the caller plans again. Markers: those of records that left, and none for those
-- that entered.
CREATE FUNCTION push_write(
    p_county integer, p_device uuid, p_person uuid,
    p_heads push_head[], p_records push_record[], p_markers push_marker[], p_entries push_entry[], p_held push_held[],
    p_photos push_photo[],
    d_high bigint, d_made bigint, d_clocks json, d_marks json, d_holes json
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    inserts integer := 0;
    written integer;
BEGIN
    IF cardinality(p_records) > 0 THEN
        -- no ON CONFLICT: its speculative insertion costs a third more, and two creations of one id are rare
        INSERT INTO record (county, id, kind, stream, seq, incarnation, version, crc, parent, deleted, fields, body)
        SELECT h.county, u.id, u.kind, u.stream, u.seq, u.incarnation, u.version, u.crc, u.parent, u.deleted, u.fields, u.body
        FROM stream_head h JOIN unnest(p_records) u ON u.stream = h.stream COLLATE "C"
        WHERE h.county = p_county AND u.planned_on = 0;
        GET DIAGNOSTICS inserts = ROW_COUNT;
        written := inserts;
        IF inserts < cardinality(p_records) THEN
            UPDATE record r
            SET stream = u.stream, seq = u.seq, incarnation = u.incarnation, version = u.version, crc = u.crc, parent = u.parent,
                deleted = u.deleted, moved_to = u.moved_to, fields = u.fields, body = u.body, changed_at = now()
            FROM unnest(p_records) u
            WHERE r.county = p_county AND r.id = u.id AND r.version = u.planned_on AND u.planned_on > 0;
            GET DIAGNOSTICS written = ROW_COUNT;
            written := written + inserts;
        END IF;
        IF written <> cardinality(p_records) THEN
            RAISE EXCEPTION 'planned on another state' USING ERRCODE = 'XL001';
        END IF;
        IF inserts < cardinality(p_records) OR cardinality(p_markers) > 0 THEN
            DELETE FROM marker m USING unnest(p_records) u
            WHERE m.county = p_county AND m.stream = u.stream AND m.record = u.id AND NOT u.deleted;
            INSERT INTO marker (county, stream, record, seq, incarnation, version)
            SELECT p_county, u.* FROM unnest(p_markers) u
            ON CONFLICT (county, stream, record) DO UPDATE
            SET seq = EXCLUDED.seq, incarnation = EXCLUDED.incarnation, version = EXCLUDED.version;
        END IF;
        UPDATE stream_head h SET seq = u.seq, count = u.count, digest = u.digest
        FROM unnest(p_heads) u
        WHERE h.county = p_county AND h.stream = u.stream;
    END IF;
    IF cardinality(p_entries) > 0 THEN
        INSERT INTO journal (county, device, person, n, entry, what, mutation, record, kind, op, captured_from, captured_to,
                             outcome, reason, detail, root_incarnation, root_version,
                             stream, seq, incarnation, version, deleted, patch, raw)
        SELECT p_county, p_device, p_person, u.* FROM unnest(p_entries) u;
    END IF;
    IF cardinality(p_held) > 0 THEN
        INSERT INTO held (county, device, person, n, mutation, record, kind, unit, outcome, reason, detail, waits_for)
        SELECT p_county, p_device, p_person, u.* FROM unnest(p_held) u
        ON CONFLICT (county, device, n) DO UPDATE
        SET outcome = EXCLUDED.outcome, reason = EXCLUDED.reason, detail = EXCLUDED.detail, waits_for = EXCLUDED.waits_for,
            tries = held.tries + 1, settled_at = NULL, settled_by = NULL, settled_how = NULL;
    END IF;
    IF cardinality(p_photos) > 0 THEN
        INSERT INTO blob (county, sha256) SELECT DISTINCT p_county, u.sha256 FROM unnest(p_photos) u ORDER BY u.sha256
        ON CONFLICT DO NOTHING;
        INSERT INTO blob_announcement (county, device, person, sha256, bytes, n, photo)
        SELECT p_county, p_device, p_person, u.* FROM unnest(p_photos) u
        ON CONFLICT DO NOTHING;
    END IF;
    UPDATE device_county d
    SET n_high = d_high, n_made = greatest(d.n_made, d_made), clocks = d_clocks, marks = d_marks, holes = d_holes, seen_at = now()
    WHERE d.county = p_county AND d.device = p_device;
END $$;

-- ---------------------------------------------------------------------------------------------- photos

-- The bytes of a photo, once per county whatever number of records show it. Receipt and cleaning lock this row.
-- bytes: their true size, once they are here. reason: why no picture could be made of what was received.
CREATE TABLE blob (
    county integer NOT NULL,
    sha256 text COLLATE "C" NOT NULL,
    bytes bigint NOT NULL DEFAULT 0,
    state text NOT NULL DEFAULT 'wanted' CHECK (state IN ('wanted', 'received', 'refused', 'condemned')),
    reason text,
    deaths smallint NOT NULL DEFAULT 0, -- decoders that this picture alone has killed
    announced_at timestamptz NOT NULL DEFAULT now(),
    received_at timestamptz,
    PRIMARY KEY (county, sha256)
);
CREATE INDEX blob_wanted ON blob (county, announced_at) WHERE state <> 'received';

-- Who promised the bytes, of which size, by which mutation (also while that is quarantined or deferred).
CREATE TABLE blob_announcement (
    county integer NOT NULL,
    device uuid NOT NULL,
    person uuid NOT NULL,
    sha256 text COLLATE "C" NOT NULL,
    bytes bigint NOT NULL,
    n bigint NOT NULL,
    photo uuid NOT NULL,
    refused text, -- why this announcement can never be met, such as too large a size; another of the same bytes may be
    announced_at timestamptz NOT NULL DEFAULT now(),
    noted_at timestamptz, -- what the server found out has been written onto the photo's record
    PRIMARY KEY (county, device, sha256, photo)
);
CREATE INDEX blob_announcement_sha256 ON blob_announcement (county, sha256);
CREATE INDEX blob_announcement_unnoted ON blob_announcement (county, device, sha256) WHERE noted_at IS NULL;

-- How far one device is with sending them. Only people who have sent the bytes themselves are given receipts, and only what
-- they announced shows the picture: to know a SHA-256 is no right (decision 0033).
CREATE TABLE blob_sending (
    county integer NOT NULL,
    sha256 text COLLATE "C" NOT NULL,
    device uuid NOT NULL,
    person uuid NOT NULL,
    bytes bigint NOT NULL, -- for which addresses were given out: counted against the person's day
    opened_at timestamptz NOT NULL,
    completed_at timestamptz, -- the device says that all its parts are there; the worker has yet to verify them
    reason text,              -- why it must begin anew
    sent_at timestamptz,      -- verified
    PRIMARY KEY (county, sha256, device)
);
CREATE INDEX blob_sending_day ON blob_sending (person, opened_at);
CREATE INDEX blob_sending_completed ON blob_sending (county, completed_at) WHERE completed_at IS NOT NULL;

-- What is to be seen in received bytes, read once; evidence flags are judged on it for every record that shows them.
-- words: the perceptual hash (PDQ) as 16 words of 16 bits, each as county * 2^20 + place * 2^16 + word, so that one
-- inverted index finds near pictures of one county: two hashes that differ in at most 31 bits share a word but for at
-- most one bit.
CREATE TABLE picture (
    county integer NOT NULL,
    sha256 text COLLATE "C" NOT NULL,
    format text NOT NULL,
    width integer NOT NULL,
    height integer NOT NULL,
    exif json NOT NULL, -- sync.evidence.Exif
    pdq bit(256),
    pdq_quality smallint, -- 0..100; low: too plain a picture to be compared
    words bigint[] NOT NULL DEFAULT '{}',
    rendered_at timestamptz NOT NULL DEFAULT now(),
    damaged boolean NOT NULL DEFAULT false, -- a part of the file is missing or broken
    PRIMARY KEY (county, sha256)
);
CREATE INDEX picture_words ON picture USING gin (words) WITH (fastupdate = off); -- searched by many single look-ups

-- ---------------------------------------------------------------------------------------------- jobs

-- The queue of pgqueuer 1.6, its own shape word for word. Why a queue in the database: a job is enqueued in the
-- transaction of the state change that asks for it, so neither can be without the other. Its trigger only wakes workers.
CREATE TYPE pgqueuer_status AS ENUM ('queued', 'picked', 'successful', 'exception', 'canceled', 'deleted', 'failed');

CREATE TABLE pgqueuer (
    id bigserial NOT NULL PRIMARY KEY,
    priority integer NOT NULL,
    queue_manager_id uuid,
    created timestamp with time zone NOT NULL DEFAULT now(),
    updated timestamp with time zone NOT NULL DEFAULT now(),
    heartbeat timestamp with time zone NOT NULL DEFAULT now(),
    execute_after timestamp with time zone NOT NULL DEFAULT now(),
    status pgqueuer_status NOT NULL,
    entrypoint text NOT NULL,
    dedupe_key text,
    payload bytea,
    headers jsonb,
    attempts integer NOT NULL DEFAULT 0,
    slot bigint
);

CREATE TABLE pgqueuer_log (
    id bigint GENERATED BY DEFAULT AS IDENTITY NOT NULL PRIMARY KEY,
    created timestamp with time zone NOT NULL DEFAULT now(),
    job_id bigint NOT NULL,
    status pgqueuer_status NOT NULL,
    priority integer NOT NULL,
    entrypoint text NOT NULL,
    traceback jsonb,
    aggregated boolean DEFAULT false
);

CREATE TABLE pgqueuer_schedules (
    id bigserial NOT NULL PRIMARY KEY,
    expression text NOT NULL,
    entrypoint text NOT NULL,
    heartbeat timestamp with time zone NOT NULL DEFAULT now(),
    created timestamp with time zone NOT NULL DEFAULT now(),
    updated timestamp with time zone NOT NULL DEFAULT now(),
    next_run timestamp with time zone NOT NULL DEFAULT now(),
    last_run timestamp with time zone,
    status pgqueuer_status DEFAULT 'queued'::pgqueuer_status,
    UNIQUE (expression, entrypoint)
);

CREATE TABLE pgqueuer_statistics (
    id bigserial NOT NULL PRIMARY KEY,
    created timestamp with time zone NOT NULL DEFAULT date_trunc('sec'::text, now()),
    count bigint NOT NULL,
    priority integer NOT NULL,
    status pgqueuer_status NOT NULL,
    entrypoint text NOT NULL
);

CREATE INDEX pgqueuer_ep_ea_idx ON pgqueuer USING btree (entrypoint, execute_after) WHERE (status = 'queued'::pgqueuer_status);

CREATE INDEX pgqueuer_ep_prio_id_idx ON pgqueuer USING btree (entrypoint, priority DESC, id) WHERE (status = 'queued'::pgqueuer_status);

CREATE INDEX pgqueuer_log_created ON pgqueuer_log USING btree (created);

CREATE INDEX pgqueuer_log_job_id_status ON pgqueuer_log USING btree (job_id, created DESC);

CREATE INDEX pgqueuer_log_not_aggregated ON pgqueuer_log USING btree ((1)) WHERE (NOT aggregated);

CREATE INDEX pgqueuer_log_status ON pgqueuer_log USING btree (status);

CREATE INDEX pgqueuer_picked_heartbeat_idx ON pgqueuer USING btree (heartbeat) WHERE (status = 'picked'::pgqueuer_status);

CREATE UNIQUE INDEX pgqueuer_picked_slot_idx ON pgqueuer USING btree (entrypoint, slot) WHERE ((status = 'picked'::pgqueuer_status) AND (slot IS NOT NULL));

CREATE INDEX pgqueuer_priority_id_id1_idx ON pgqueuer USING btree (priority, id DESC) INCLUDE (id) WHERE (status = 'queued'::pgqueuer_status);

CREATE INDEX pgqueuer_queue_manager_id_idx ON pgqueuer USING btree (queue_manager_id) WHERE (queue_manager_id IS NOT NULL);

CREATE UNIQUE INDEX pgqueuer_statistics_unique_count ON pgqueuer_statistics USING btree (priority, date_trunc('sec'::text, timezone('UTC'::text, created)), status, entrypoint);

CREATE UNIQUE INDEX pgqueuer_unique_dedupe_key ON pgqueuer USING btree (dedupe_key) WHERE ((status = ANY (ARRAY['queued'::pgqueuer_status, 'picked'::pgqueuer_status])) AND (dedupe_key IS NOT NULL));

CREATE INDEX pgqueuer_updated_id_id1_idx ON pgqueuer USING btree (updated, id DESC) INCLUDE (id) WHERE (status = 'picked'::pgqueuer_status);

CREATE FUNCTION fn_pgqueuer_changed() RETURNS TRIGGER AS $$
DECLARE
    to_emit BOOLEAN := false;  -- Flag to decide whether to emit a notification
BEGIN
    -- Check operation type and set the emit flag accordingly
    IF TG_OP = 'UPDATE' AND OLD IS DISTINCT FROM NEW THEN
        to_emit := true;
    ELSIF TG_OP = 'DELETE' THEN
        to_emit := true;
    ELSIF TG_OP = 'INSERT' THEN
        to_emit := true;
    ELSIF TG_OP = 'TRUNCATE' THEN
        to_emit := true;
    END IF;

    -- Perform notification if the emit flag is set
    IF to_emit THEN
        PERFORM pg_notify(
            'ch_pgqueuer',
            json_build_object(
                'channel', 'ch_pgqueuer',
                'operation', lower(TG_OP),
                'sent_at', NOW(),
                'table', TG_TABLE_NAME,
                'type', 'table_changed_event'
            )::text
        );
    END IF;

    -- Return appropriate value based on the operation
    IF TG_OP IN ('INSERT', 'UPDATE') THEN
        RETURN NEW;
    ELSIF TG_OP = 'DELETE' THEN
        RETURN OLD;
    ELSE
        RETURN NULL; -- For TRUNCATE and other non-row-specific contexts
    END IF;

END;
$$ LANGUAGE plpgsql;

CREATE TRIGGER tg_pgqueuer_changed
AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON pgqueuer
EXECUTE FUNCTION fn_pgqueuer_changed();

-- ---------------------------------------------------------------------------------------------- casework

-- Rules that no source states, as dated versions (contracts/rules.py). Rows are only added: what was decided under a version
-- can always be explained.
CREATE TABLE rule_version (
    county integer NOT NULL,
    name text NOT NULL,
    version integer NOT NULL,
    starts timestamptz NOT NULL,
    body json NOT NULL,
    made_by uuid,
    made_at timestamptz NOT NULL DEFAULT now(),
    note text NOT NULL DEFAULT '',
    PRIMARY KEY (county, name, version)
);

-- How far the timers of a county have run (storage/timers.py).
CREATE TABLE timer_run (
    county integer PRIMARY KEY,
    done_until timestamptz NOT NULL, -- what fell due until then is done
    looked_until timestamptz,     -- set before the rules are read: a version that starts earlier comes too late (storage/rules.py)
    read_at timestamptz,          -- when the last run that did everything began, by PostgreSQL's clock
    judged_by text COLLATE "C",   -- digest of the rules and units by which the moments in timer_due were worked out
    alike_until timestamptz       -- problems that changed until then were compared by their pictures (storage/alike.py)
);
CREATE INDEX record_problem_changed ON record (county, changed_at) WHERE kind = 'problem' AND NOT deleted;

-- What timers have to judge, and when (storage/timer_due.py): a problem, summons or whistle with the letters about it, or a letter that is about
-- none of them, with those that followed it. No row: nothing will fall due before it changes. ledger_write marks what changed; it can be made anew by `xunling ledger`.
CREATE TABLE timer_due (
    county integer NOT NULL,
    record uuid NOT NULL,
    due_at timestamptz NOT NULL, -- '-infinity': it changed, or the rules did
    mark uuid NOT NULL DEFAULT gen_random_uuid(), -- another one after each change: who has judged what was before settles nothing
    PRIMARY KEY (county, record)
);
CREATE INDEX timer_due_at ON timer_due (county, due_at);

-- ---------------------------------------------------------------------------------------------- ledgers

-- What the console lists (storage/ledger*.py): one row per record of a ledger kind, written in the transaction that changes the
-- record. Bodies are json, which no index orders; this is the same in columns. It holds nothing of its own: it can be rebuilt
-- from the records at any time, and `xunling ledger` does.
CREATE TABLE ledger_entry (
    county integer NOT NULL,
    record uuid NOT NULL,
    kind text COLLATE "C" NOT NULL,
    stream text COLLATE "C" NOT NULL, -- the scope: a row is shown to whoever has this stream
    is_open boolean NOT NULL,
    due_at timestamptz NOT NULL, -- the moment the term has passed; far away where there is none
    found_at timestamptz NOT NULL,
    changed_at timestamptz NOT NULL,
    about uuid,                  -- what a supervision, summons, assignment, transfer or conflict is about
    site uuid,
    colour text COLLATE "C",
    returns integer NOT NULL,
    rebounds integer NOT NULL,
    title text NOT NULL,
    tags text[] COLLATE "C" NOT NULL, -- "state:submitted", "subject:...": what is filtered by equality
    words integer[] NOT NULL,    -- hashes of the characters and pairs of characters of `text`
    text text NOT NULL,          -- what is searched, folded; settles what the hashes only suspect
    PRIMARY KEY (county, record)
);
CREATE INDEX ledger_due ON ledger_entry (county, kind, due_at, record);
CREATE INDEX ledger_due_open ON ledger_entry (county, kind, due_at, record) WHERE is_open;
CREATE INDEX ledger_found ON ledger_entry (county, kind, found_at, record);
CREATE INDEX ledger_changed ON ledger_entry (county, kind, changed_at, record);
CREATE INDEX ledger_stream ON ledger_entry (county, kind, stream);
CREATE INDEX ledger_about ON ledger_entry (county, about) WHERE about IS NOT NULL;
CREATE INDEX ledger_site ON ledger_entry (county, site) WHERE site IS NOT NULL;
CREATE INDEX ledger_colour ON ledger_entry (county, colour) WHERE kind = 'supervision' AND is_open;
CREATE INDEX ledger_worse ON ledger_entry (county, kind, due_at, record) WHERE returns > 0 OR rebounds > 0;
CREATE INDEX ledger_tags ON ledger_entry USING gin (tags);
CREATE INDEX ledger_words ON ledger_entry USING gin (words);

-- Whole rows, as push_write has them. A missing found_at or changed_at: what is known already, or now.
CREATE TYPE ledger_row AS (
    record uuid, kind text, stream text, is_open boolean, due_at timestamptz, found_at timestamptz, changed_at timestamptz,
    about uuid, site uuid, colour text, returns integer, rebounds integer, title text, tags text[], words integer[], text text);

-- Called beside push_write, in the same statement: the lock of the record's stream orders the writers of a row. What timers judge is marked
-- for them, in the order of ids, which is that of everybody who locks those rows.
CREATE FUNCTION ledger_write(p_county integer, p_rows ledger_row[], p_gone uuid[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO timer_due (county, record, due_at)
    SELECT p_county, w.root, '-infinity' FROM (
        SELECT CASE u.kind WHEN 'supervision' THEN coalesce(u.about, u.record) ELSE u.record END AS root FROM unnest(p_rows) u
        WHERE u.kind IN ('problem', 'summons', 'whistle', 'supervision')
        UNION
        SELECT CASE e.kind WHEN 'supervision' THEN coalesce(e.about, e.record) ELSE e.record END FROM ledger_entry e
        WHERE e.county = p_county AND e.record = ANY (p_gone) AND e.kind IN ('problem', 'summons', 'whistle', 'supervision')) w
    ORDER BY w.root
    ON CONFLICT (county, record) DO UPDATE SET due_at = EXCLUDED.due_at, mark = EXCLUDED.mark;
    IF cardinality(p_rows) > 0 THEN
        INSERT INTO ledger_entry (county, record, kind, stream, is_open, due_at, found_at, changed_at, about, site, colour, returns,
                                  rebounds, title, tags, words, text)
        SELECT p_county, u.record, u.kind, u.stream, u.is_open, u.due_at, coalesce(u.found_at, u.changed_at, now()),
               coalesce(u.changed_at, now()), u.about, u.site, u.colour, u.returns, u.rebounds, u.title, u.tags, u.words, u.text
        FROM unnest(p_rows) u
        ON CONFLICT (county, record) DO UPDATE
        SET kind = EXCLUDED.kind, stream = EXCLUDED.stream, is_open = EXCLUDED.is_open, due_at = EXCLUDED.due_at,
            found_at = CASE WHEN EXCLUDED.found_at <> EXCLUDED.changed_at THEN EXCLUDED.found_at ELSE ledger_entry.found_at END,
            changed_at = EXCLUDED.changed_at, about = EXCLUDED.about, site = EXCLUDED.site, colour = EXCLUDED.colour,
            returns = EXCLUDED.returns, rebounds = EXCLUDED.rebounds, title = EXCLUDED.title, tags = EXCLUDED.tags,
            words = EXCLUDED.words, text = EXCLUDED.text;
    END IF;
    IF cardinality(p_gone) > 0 THEN
        DELETE FROM ledger_entry e WHERE e.county = p_county AND e.record = ANY (p_gone);
    END IF;
END $$;

-- ---------------------------------------------------------------------------------------------- draws

-- What a random draw must not show before it is disclosed (docs/draws.md). Not a record, because records travel and the journal
-- keeps them. plan, secret: AES-256-GCM under a key file of the server. statement, commitment: published when committed.
-- previous: the commitment the unit made before this one, which the plan names, too. Of two commitments at once one comes second.
-- file: what was disclosed; from then on nothing of it is secret.
CREATE TABLE draw_sealed (
    county integer NOT NULL,
    draw uuid NOT NULL,
    unit text COLLATE "C" NOT NULL,
    plan bytea NOT NULL,
    secret bytea,
    commitment text COLLATE "C",
    statement json,
    committed_at timestamptz,
    previous text COLLATE "C",
    disclosed_at timestamptz,
    file bytea,
    PRIMARY KEY (county, draw)
);
CREATE UNIQUE INDEX draw_sealed_chain ON draw_sealed (county, unit, previous) NULLS NOT DISTINCT WHERE commitment IS NOT NULL;
CREATE INDEX draw_sealed_published ON draw_sealed (county, committed_at, commitment) WHERE commitment IS NOT NULL;
CREATE INDEX draw_sealed_commitment ON draw_sealed (county, commitment) WHERE commitment IS NOT NULL;

-- ---------------------------------------------------------------------------------------------- plans

-- For which version of a plan or response, on which day, with which seasons its tasks were made (storage/plans.py). Only spares
-- work: the ids of the tasks derive from their cause, so losing a row makes nothing twice.
CREATE TABLE plan_run (
    county integer NOT NULL,
    plan uuid NOT NULL,
    incarnation integer NOT NULL,
    version bigint NOT NULL,
    seasons integer NOT NULL,
    day date NOT NULL,
    PRIMARY KEY (county, plan)
);
CREATE INDEX record_planned ON record (county, kind, id) WHERE kind IN ('plan', 'response', 'campaign') AND NOT deleted;
-- Tasks of a plan by day; deleted ones, too: what somebody deleted is not made again.
CREATE INDEX record_task_origin ON record (county, (body ->> 'origin'), (body ->> 'occurs_on'))
    WHERE kind = 'task' AND (body ->> 'origin') IS NOT NULL;
-- The copies of one letter, one per unit.
CREATE INDEX record_letter_notice ON record (county, (body ->> 'letter'))
    WHERE kind = 'notice' AND NOT deleted AND (body ->> 'letter') IS NOT NULL;


-- Coverage (storage/coverage.py): which sites are to be seen, how often they say themselves, and of what subjects they are. Active ones only.
CREATE TABLE site_watch (
    county integer NOT NULL,
    site uuid NOT NULL,
    stream text COLLATE "C" NOT NULL,
    period_days integer,
    subjects text[] COLLATE "C" NOT NULL,
    PRIMARY KEY (county, site)
);
CREATE INDEX site_watch_stream ON site_watch (county, stream, site);
-- Submitted inspections of sites, by their capture. Those of an unannounced visit are not in it before they are disclosed.
CREATE TABLE site_seen (
    county integer NOT NULL,
    inspection uuid NOT NULL,
    site uuid NOT NULL,
    seen_at timestamptz NOT NULL,
    PRIMARY KEY (county, inspection)
);
CREATE INDEX site_seen_site ON site_seen (county, site, seen_at);
-- The newest of each site; null: none any more. Its row's lock orders those who see one site at the same time.
CREATE TABLE site_last (
    county integer NOT NULL,
    site uuid NOT NULL,
    seen_at timestamptz,
    PRIMARY KEY (county, site)
);

-- Called after push_write with the sites and inspections it wrote. Each statement sees what was committed when it got its locks.
CREATE FUNCTION coverage_write(p_county integer, p_sites uuid[], p_inspections uuid[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_touched uuid[];
BEGIN
    DELETE FROM site_watch w WHERE w.county = p_county AND w.site = ANY (p_sites);
    INSERT INTO site_watch (county, site, stream, period_days, subjects)
    SELECT r.county, r.id, r.stream, (r.body ->> 'period_days')::integer, ARRAY(SELECT json_array_elements_text(r.body -> 'subjects'))
    FROM record r
    WHERE r.county = p_county AND r.id = ANY (p_sites) AND r.kind = 'site' AND NOT r.deleted
      AND coalesce(r.body ->> 'status', 'active') = 'active';
    IF cardinality(p_inspections) > 0 THEN
        v_touched := ARRAY(SELECT s.site FROM site_seen s WHERE s.county = p_county AND s.inspection = ANY (p_inspections));
        DELETE FROM site_seen s WHERE s.county = p_county AND s.inspection = ANY (p_inspections);
        INSERT INTO site_seen (county, inspection, site, seen_at)
        SELECT r.county, r.id, (r.body ->> 'site')::uuid, (r.body ->> 'submitted_at')::timestamptz
        FROM record r
        WHERE r.county = p_county AND r.id = ANY (p_inspections) AND r.kind = 'inspection' AND NOT r.deleted
          AND (r.body ->> 'site') IS NOT NULL AND (r.body ->> 'submitted_at') IS NOT NULL AND r.stream NOT LIKE '%.visit';
        v_touched := v_touched
            || ARRAY(SELECT s.site FROM site_seen s WHERE s.county = p_county AND s.inspection = ANY (p_inspections));
        INSERT INTO site_last (county, site)
        SELECT DISTINCT p_county, t.site FROM unnest(v_touched) t (site) ORDER BY t.site
        ON CONFLICT (county, site) DO NOTHING;
        PERFORM l.site FROM site_last l WHERE l.county = p_county AND l.site = ANY (v_touched) ORDER BY l.site FOR UPDATE;
        UPDATE site_last l
        SET seen_at = (SELECT max(s.seen_at) FROM site_seen s WHERE s.county = p_county AND s.site = l.site)
        WHERE l.county = p_county AND l.site = ANY (v_touched);
    END IF;
END $$;
