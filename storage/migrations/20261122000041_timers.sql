-- migrate:up
CREATE TABLE timer_run (
    county integer PRIMARY KEY,
    done_until timestamptz NOT NULL
);
CREATE INDEX record_problem_due ON record (county, (body ->> 'due_on')) WHERE kind = 'problem' AND NOT deleted;
CREATE INDEX record_problem_changed ON record (county, changed_at) WHERE kind = 'problem' AND NOT deleted;
CREATE INDEX record_problem_closed ON record (county, changed_at) WHERE kind = 'problem' AND NOT deleted AND (body ->> 'state') = 'closed_out';
CREATE INDEX record_problem_look_back ON record (county, (body ->> 'look_back_on')) WHERE kind = 'problem' AND NOT deleted AND (body ->> 'state') = 'closed_out';
CREATE INDEX record_letter ON record (county, kind, changed_at) WHERE kind IN ('supervision', 'summons') AND NOT deleted;

-- migrate:down
