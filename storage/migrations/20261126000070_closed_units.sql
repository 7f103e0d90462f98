-- migrate:up
ALTER TABLE unit ADD COLUMN closed_on date;

-- migrate:down
ALTER TABLE unit DROP COLUMN closed_on;
