-- migrate:up
ALTER TABLE device ADD COLUMN first_enrolled_at timestamptz NOT NULL DEFAULT now();
UPDATE device SET first_enrolled_at = enrolled_at;
ALTER TABLE device ADD COLUMN acts_for uuid;
-- squawk-ignore ban-drop-constraint
ALTER TABLE device DROP CONSTRAINT device_kind_check;
ALTER TABLE device ADD CONSTRAINT device_kind_check CHECK (kind IN ('phone', 'console', 'office')) NOT VALID;
ALTER TABLE device ADD CONSTRAINT device_acts_for_check CHECK ((kind = 'office') = (acts_for IS NOT NULL)) NOT VALID;
ALTER TABLE device ADD CONSTRAINT device_id_check CHECK (kind = 'office' OR substr(id::text, 15, 1) = '7') NOT VALID;

-- migrate:down
ALTER TABLE device DROP CONSTRAINT device_id_check;
ALTER TABLE device DROP CONSTRAINT device_acts_for_check;
DELETE FROM device WHERE kind = 'office';
ALTER TABLE device DROP CONSTRAINT device_kind_check;
ALTER TABLE device ADD CONSTRAINT device_kind_check CHECK (kind IN ('phone', 'console', 'system'));
ALTER TABLE device DROP COLUMN acts_for;
ALTER TABLE device DROP COLUMN first_enrolled_at;
