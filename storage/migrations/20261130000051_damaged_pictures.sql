-- migrate:up
ALTER TABLE picture ADD COLUMN damaged boolean NOT NULL DEFAULT false;

-- migrate:down
ALTER TABLE picture DROP COLUMN damaged;
