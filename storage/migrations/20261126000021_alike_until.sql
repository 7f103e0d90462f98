-- migrate:up
ALTER TABLE timer_run ADD COLUMN alike_until timestamptz;

-- migrate:down
ALTER TABLE timer_run DROP COLUMN alike_until;
