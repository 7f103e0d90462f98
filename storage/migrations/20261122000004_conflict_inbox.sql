-- migrate:up
CREATE INDEX record_conflict_open ON record (county, changed_at, id) WHERE kind = 'conflict' AND NOT deleted AND (body ->> 'state') = 'open';

-- migrate:down
