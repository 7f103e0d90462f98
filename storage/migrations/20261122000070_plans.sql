-- migrate:up
CREATE TABLE plan_run (
    county integer NOT NULL,
    plan uuid NOT NULL,
    incarnation integer NOT NULL,
    version bigint NOT NULL,
    seasons integer NOT NULL,
    day date NOT NULL,
    PRIMARY KEY (county, plan)
);
CREATE INDEX record_planned ON record (county, kind, id) WHERE kind IN ('plan', 'response', 'campaign') AND NOT deleted;
CREATE INDEX record_task_origin ON record (county, (body ->> 'origin'), (body ->> 'occurs_on'))
    WHERE kind = 'task' AND (body ->> 'origin') IS NOT NULL;
CREATE INDEX record_seen ON record (county, (body ->> 'site'), (body ->> 'submitted_at'))
    WHERE kind = 'inspection' AND NOT deleted AND (body ->> 'submitted_at') IS NOT NULL AND stream NOT LIKE '%.visit';
CREATE INDEX record_letter_notice ON record (county, (body ->> 'letter'))
    WHERE kind = 'notice' AND NOT deleted AND (body ->> 'letter') IS NOT NULL;

-- migrate:down
DROP INDEX record_letter_notice;
DROP INDEX record_seen;
DROP INDEX record_task_origin;
DROP INDEX record_planned;
DROP TABLE plan_run;
