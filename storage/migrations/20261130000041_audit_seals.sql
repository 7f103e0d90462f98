-- migrate:up

CREATE TABLE audit_seal (
    number bigint PRIMARY KEY,
    sealed_at timestamptz NOT NULL,
    counties integer[] NOT NULL,
    ids uuid[] NOT NULL,
    digest bytea NOT NULL,
    key text NOT NULL,
    sig text NOT NULL
);

-- migrate:down
DROP TABLE audit_seal;
