-- migrate:up
CREATE TABLE draw_sealed (
    county integer NOT NULL,
    draw uuid NOT NULL,
    unit text COLLATE "C" NOT NULL,
    plan bytea NOT NULL,
    secret bytea,
    commitment text COLLATE "C",
    statement json,
    committed_at timestamptz,
    cancelled_at timestamptz,
    disclosed_at timestamptz,
    file bytea,
    PRIMARY KEY (county, draw)
);
CREATE INDEX draw_sealed_published ON draw_sealed (committed_at, commitment) WHERE commitment IS NOT NULL;
CREATE INDEX draw_sealed_commitment ON draw_sealed (commitment) WHERE commitment IS NOT NULL;

-- migrate:down
DROP TABLE draw_sealed;
