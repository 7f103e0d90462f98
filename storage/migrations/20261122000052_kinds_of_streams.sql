-- migrate:up
CREATE INDEX record_draw ON record (county, changed_at, id) WHERE kind = 'draw' AND NOT deleted;

-- migrate:down
DROP INDEX record_draw;
