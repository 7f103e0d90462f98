-- migrate:up

-- A number belongs to one live account. An operator gives it to somebody else later: the disabled account keeps it as history.
-- squawk-ignore ban-drop-constraint
ALTER TABLE person DROP CONSTRAINT person_phone_key;
CREATE UNIQUE INDEX person_phone_live ON person (phone) WHERE disabled_at IS NULL;
CREATE INDEX person_phone ON person (phone);

-- migrate:down
DROP INDEX person_phone, person_phone_live;
ALTER TABLE person ADD CONSTRAINT person_phone_key UNIQUE (phone);
