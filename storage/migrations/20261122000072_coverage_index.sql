-- migrate:up transaction:false
DROP INDEX CONCURRENTLY record_seen;

-- migrate:down
CREATE INDEX record_seen ON record (county, (body ->> 'site'), (body ->> 'submitted_at'))
    WHERE kind = 'inspection' AND NOT deleted AND (body ->> 'submitted_at') IS NOT NULL AND stream NOT LIKE '%.visit';
