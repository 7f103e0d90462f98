-- migrate:up
-- squawk-ignore require-concurrent-index-deletion
DROP INDEX record_site; -- coverage has a table of its own

-- migrate:down
CREATE INDEX record_site ON record (county, stream, id) WHERE kind = 'site' AND NOT deleted;
