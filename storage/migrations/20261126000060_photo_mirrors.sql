-- migrate:up
CREATE INDEX record_mirror ON record (county, (body ->> 'mirror_of')) WHERE kind = 'photo' AND (body ->> 'mirror_of') IS NOT NULL;

-- migrate:down
