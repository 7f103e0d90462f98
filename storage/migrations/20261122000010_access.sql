-- migrate:up

CREATE TABLE token (
    hash bytea PRIMARY KEY,
    device uuid NOT NULL,
    family uuid NOT NULL,
    purpose text NOT NULL CHECK (purpose IN ('access', 'refresh')),
    issued_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    parent bytea,
    spent_at timestamptz
);
CREATE INDEX token_family ON token (family);
CREATE INDEX token_device ON token (device);
CREATE INDEX token_parent ON token (parent) WHERE parent IS NOT NULL;
CREATE INDEX token_expires ON token (expires_at);

CREATE TABLE wipe_allowance (
    device uuid PRIMARY KEY,
    bytes bigint NOT NULL DEFAULT 0
);

CREATE UNLOGGED TABLE rate_bucket (
    key text COLLATE "C" PRIMARY KEY,
    tokens double precision NOT NULL,
    at timestamptz NOT NULL,
    taken boolean NOT NULL
);
CREATE INDEX rate_bucket_at ON rate_bucket (at);

CREATE TABLE audit_log (
    county integer NOT NULL,
    id uuid NOT NULL,
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

CREATE TABLE unit_version (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    version bigint NOT NULL
);
INSERT INTO unit_version (version) VALUES (1);

CREATE INDEX duty_unit ON duty (unit);

-- migrate:down
