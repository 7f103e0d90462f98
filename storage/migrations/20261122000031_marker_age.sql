-- migrate:up
ALTER TABLE marker ADD COLUMN left_at timestamptz NOT NULL DEFAULT now();

-- migrate:down
