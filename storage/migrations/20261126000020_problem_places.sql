-- migrate:up
-- squawk-ignore require-concurrent-index-deletion
DROP INDEX record_problem_subject;
CREATE INDEX record_problem_lat ON record (county, (body ->> 'subject'), ((body -> 'position' ->> 'lat')::float8)) WHERE kind = 'problem' AND NOT deleted;
-- squawk-ignore require-concurrent-index-deletion
DROP INDEX record_problem_look_back;
CREATE INDEX record_problem_look_back ON record (county, (body ->> 'look_back_on'))
    WHERE kind = 'problem' AND NOT deleted AND (body ->> 'state') IN ('closed_out', 'look_back_passed');

-- migrate:down
