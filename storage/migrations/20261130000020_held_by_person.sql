-- migrate:up

-- How much of one person waits on desks: counted whenever more of it would.
CREATE INDEX held_of_person ON held (county, person) WHERE settled_at IS NULL;

-- migrate:down
