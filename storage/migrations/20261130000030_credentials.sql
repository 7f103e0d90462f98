-- migrate:up
ALTER TABLE person
    ADD COLUMN credential bigint NOT NULL DEFAULT 0,
    ADD COLUMN must_change boolean NOT NULL DEFAULT false;

ALTER TABLE token
    ADD COLUMN successor_key bytea,
    ADD COLUMN session_ends timestamptz;

-- migrate:down
ALTER TABLE token
    DROP COLUMN successor_key,
    DROP COLUMN session_ends;

ALTER TABLE person
    DROP COLUMN credential,
    DROP COLUMN must_change;
