-- migrate:up
ALTER TABLE timer_run ADD COLUMN looked_until timestamptz, ADD COLUMN read_at timestamptz;
CREATE INDEX record_problem_suspended ON record (county, (body ->> 'suspended_until')) WHERE kind = 'problem' AND NOT deleted AND (body ->> 'state') = 'suspended';
CREATE INDEX record_letter_previous ON record (county, (body ->> 'previous')) WHERE kind = 'supervision' AND NOT deleted;

-- migrate:down
DROP INDEX record_letter_previous;
DROP INDEX record_problem_suspended;
ALTER TABLE timer_run DROP COLUMN looked_until, DROP COLUMN read_at;
