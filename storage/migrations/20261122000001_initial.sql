-- migrate:up

CREATE TABLE county (
    county integer PRIMARY KEY,
    name text NOT NULL,
    incarnation integer NOT NULL DEFAULT 1
);

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

CREATE TABLE device (
    id uuid PRIMARY KEY,
    person uuid NOT NULL REFERENCES person (id),
    kind text NOT NULL CHECK (kind IN ('phone', 'console', 'system')),
    name text NOT NULL DEFAULT '',
    enrolled_at timestamptz NOT NULL DEFAULT now(),
    wiped_at timestamptz,
    revoked_at timestamptz,
    revoked_why text
);
CREATE INDEX device_person ON device (person);

CREATE TABLE stream_head (
    county integer NOT NULL,
    stream text COLLATE "C" NOT NULL,
    incarnation integer NOT NULL,
    seq bigint NOT NULL DEFAULT 0,
    count bigint NOT NULL DEFAULT 0,
    digest bigint NOT NULL DEFAULT 0,
    floor bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (county, stream)
) WITH (fillfactor = 50);

CREATE TABLE record (
    county integer NOT NULL,
    id uuid NOT NULL,
    kind text COLLATE "C" NOT NULL,
    stream text COLLATE "C" NOT NULL,
    seq bigint NOT NULL,
    incarnation integer NOT NULL,
    version bigint NOT NULL,
    crc bigint NOT NULL,
    parent uuid,
    deleted boolean NOT NULL DEFAULT false,
    moved_to integer,
    changed_at timestamptz NOT NULL DEFAULT now(),
    fields json NOT NULL,
    body json NOT NULL,
    PRIMARY KEY (county, id)
);
CREATE UNIQUE INDEX record_stream ON record (county, stream, seq) WHERE NOT deleted;
CREATE INDEX record_parent ON record (county, parent) WHERE parent IS NOT NULL;

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
    root_incarnation integer NOT NULL DEFAULT 0,
    root_version bigint NOT NULL DEFAULT 0,
    stream text COLLATE "C",
    seq bigint,
    incarnation integer,
    version bigint,
    deleted boolean NOT NULL DEFAULT false,
    patch json,
    raw bytea,
    PRIMARY KEY (county, device, n, entry)
);
CREATE INDEX journal_record ON journal (county, record, incarnation, version);

CREATE TABLE device_county (
    county integer NOT NULL,
    device uuid NOT NULL,
    n_high bigint NOT NULL DEFAULT 0,
    n_made bigint NOT NULL DEFAULT 0,
    n_safe bigint,
    seen_at timestamptz NOT NULL DEFAULT now(),
    clocks json NOT NULL DEFAULT '[]',
    marks json NOT NULL DEFAULT '[]',
    holes json NOT NULL DEFAULT '[]',
    PRIMARY KEY (county, device)
) WITH (fillfactor = 50);

CREATE TABLE held (
    county integer NOT NULL,
    device uuid NOT NULL,
    n bigint NOT NULL,
    mutation uuid,
    record uuid,
    kind text COLLATE "C",
    unit text COLLATE "C",
    person uuid,
    outcome text NOT NULL,
    reason text NOT NULL,
    detail json,
    waits_for bigint,
    tries integer NOT NULL DEFAULT 0,
    opened_at timestamptz NOT NULL DEFAULT now(),
    settled_at timestamptz,
    settled_by uuid,
    settled_how text,
    PRIMARY KEY (county, device, n)
);
CREATE INDEX held_open ON held (county, outcome, opened_at) WHERE settled_at IS NULL;

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

CREATE TABLE blob_announcement (
    county integer NOT NULL,
    device uuid NOT NULL,
    sha256 text COLLATE "C" NOT NULL,
    n bigint NOT NULL,
    photo uuid NOT NULL,
    PRIMARY KEY (county, device, sha256, photo)
);
CREATE INDEX blob_announcement_sha256 ON blob_announcement (county, sha256);

-- migrate:down
