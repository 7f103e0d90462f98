-- migrate:up
ALTER TABLE person ADD COLUMN demo boolean NOT NULL DEFAULT false;

ALTER TABLE duty ADD COLUMN demo boolean NOT NULL DEFAULT false;

ALTER TABLE token ADD COLUMN strong boolean NOT NULL DEFAULT false;

CREATE TABLE second_factor (
    person uuid PRIMARY KEY,
    secret bytea NOT NULL,
    confirmed_at timestamptz,
    last_step bigint NOT NULL DEFAULT 0
);

CREATE TABLE recovery_code (
    person uuid NOT NULL,
    hash bytea NOT NULL,
    used_at timestamptz,
    PRIMARY KEY (person, hash)
);

-- migrate:down
DROP TABLE recovery_code;

DROP TABLE second_factor;

ALTER TABLE token DROP COLUMN strong;

ALTER TABLE duty DROP COLUMN demo;

ALTER TABLE person DROP COLUMN demo;
