-- migrate:up
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

-- migrate:down
