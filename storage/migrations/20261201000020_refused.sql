-- migrate:up

-- Creations that were refused for good, and whose desk is told of them.
CREATE TABLE refused (
    county integer NOT NULL,
    device uuid NOT NULL,
    n bigint NOT NULL,
    entry smallint NOT NULL,
    unit text COLLATE "C" NOT NULL,
    refused_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (county, device, n)
);
CREATE INDEX refused_newest ON refused (county, unit, refused_at, device, n);

-- migrate:down
DROP TABLE refused;
