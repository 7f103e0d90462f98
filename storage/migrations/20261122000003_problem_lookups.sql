-- migrate:up
CREATE INDEX record_problem_site ON record (county, (body ->> 'site')) WHERE kind = 'problem' AND NOT deleted;
CREATE INDEX record_problem_subject ON record (county, stream, (body ->> 'subject'), changed_at) WHERE kind = 'problem' AND NOT deleted;

-- migrate:down
