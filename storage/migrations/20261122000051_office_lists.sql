-- migrate:up
CREATE INDEX audit_log_person ON audit_log (county, person, id);
CREATE INDEX audit_log_subject ON audit_log (county, subject, id);
CREATE INDEX audit_log_unit ON audit_log (county, unit, id);
CREATE INDEX audit_log_action ON audit_log (county, action, id);
CREATE INDEX audit_log_at ON audit_log (county, at);
CREATE INDEX held_oldest ON held (county, opened_at, device, n) WHERE settled_at IS NULL;

-- migrate:down
DROP INDEX held_oldest;
DROP INDEX audit_log_at;
DROP INDEX audit_log_action;
DROP INDEX audit_log_unit;
DROP INDEX audit_log_subject;
DROP INDEX audit_log_person;
