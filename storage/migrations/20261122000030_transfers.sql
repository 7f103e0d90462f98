-- migrate:up
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

CREATE TABLE transfer_blob (
    county integer NOT NULL,
    target integer NOT NULL,
    sha256 text COLLATE "C" NOT NULL,
    done_at timestamptz,
    PRIMARY KEY (county, target, sha256)
);
CREATE INDEX transfer_blob_open ON transfer_blob (county, sha256) WHERE done_at IS NULL;

-- migrate:down
