-- migrate:up
CREATE TABLE timer_due (
    county integer NOT NULL,
    record uuid NOT NULL,
    due_at timestamptz NOT NULL,
    mark uuid NOT NULL DEFAULT gen_random_uuid(),
    PRIMARY KEY (county, record)
);
CREATE INDEX timer_due_at ON timer_due (county, due_at);
ALTER TABLE timer_run ADD COLUMN judged_by text COLLATE "C";
-- squawk-ignore require-concurrent-index-deletion
DROP INDEX record_problem_due, record_problem_closed, record_problem_look_back, record_problem_suspended, record_letter_previous, record_letter;
CREATE OR REPLACE FUNCTION ledger_write(p_county integer, p_rows ledger_row[], p_gone uuid[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO timer_due (county, record, due_at)
    SELECT p_county, w.root, '-infinity' FROM (
        SELECT CASE u.kind WHEN 'supervision' THEN coalesce(u.about, u.record) ELSE u.record END AS root FROM unnest(p_rows) u
        WHERE u.kind IN ('problem', 'summons', 'whistle', 'supervision')
        UNION
        SELECT CASE e.kind WHEN 'supervision' THEN coalesce(e.about, e.record) ELSE e.record END FROM ledger_entry e
        WHERE e.county = p_county AND e.record = ANY (p_gone) AND e.kind IN ('problem', 'summons', 'whistle', 'supervision')) w
    ORDER BY w.root
    ON CONFLICT (county, record) DO UPDATE SET due_at = EXCLUDED.due_at, mark = EXCLUDED.mark;
    IF cardinality(p_rows) > 0 THEN
        INSERT INTO ledger_entry (county, record, kind, stream, is_open, due_at, found_at, changed_at, about, site, colour, returns,
                                  rebounds, title, tags, words, text)
        SELECT p_county, u.record, u.kind, u.stream, u.is_open, u.due_at, coalesce(u.found_at, u.changed_at, now()),
               coalesce(u.changed_at, now()), u.about, u.site, u.colour, u.returns, u.rebounds, u.title, u.tags, u.words, u.text
        FROM unnest(p_rows) u
        ON CONFLICT (county, record) DO UPDATE
        SET kind = EXCLUDED.kind, stream = EXCLUDED.stream, is_open = EXCLUDED.is_open, due_at = EXCLUDED.due_at,
            found_at = CASE WHEN EXCLUDED.found_at <> EXCLUDED.changed_at THEN EXCLUDED.found_at ELSE ledger_entry.found_at END,
            changed_at = EXCLUDED.changed_at, about = EXCLUDED.about, site = EXCLUDED.site, colour = EXCLUDED.colour,
            returns = EXCLUDED.returns, rebounds = EXCLUDED.rebounds, title = EXCLUDED.title, tags = EXCLUDED.tags,
            words = EXCLUDED.words, text = EXCLUDED.text;
    END IF;
    IF cardinality(p_gone) > 0 THEN
        DELETE FROM ledger_entry e WHERE e.county = p_county AND e.record = ANY (p_gone);
    END IF;
END $$;

-- migrate:down
CREATE OR REPLACE FUNCTION ledger_write(p_county integer, p_rows ledger_row[], p_gone uuid[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF cardinality(p_rows) > 0 THEN
        INSERT INTO ledger_entry (county, record, kind, stream, is_open, due_at, found_at, changed_at, about, site, colour, returns,
                                  rebounds, title, tags, words, text)
        SELECT p_county, u.record, u.kind, u.stream, u.is_open, u.due_at, coalesce(u.found_at, u.changed_at, now()),
               coalesce(u.changed_at, now()), u.about, u.site, u.colour, u.returns, u.rebounds, u.title, u.tags, u.words, u.text
        FROM unnest(p_rows) u
        ON CONFLICT (county, record) DO UPDATE
        SET kind = EXCLUDED.kind, stream = EXCLUDED.stream, is_open = EXCLUDED.is_open, due_at = EXCLUDED.due_at,
            found_at = CASE WHEN EXCLUDED.found_at <> EXCLUDED.changed_at THEN EXCLUDED.found_at ELSE ledger_entry.found_at END,
            changed_at = EXCLUDED.changed_at, about = EXCLUDED.about, site = EXCLUDED.site, colour = EXCLUDED.colour,
            returns = EXCLUDED.returns, rebounds = EXCLUDED.rebounds, title = EXCLUDED.title, tags = EXCLUDED.tags,
            words = EXCLUDED.words, text = EXCLUDED.text;
    END IF;
    IF cardinality(p_gone) > 0 THEN
        DELETE FROM ledger_entry e WHERE e.county = p_county AND e.record = ANY (p_gone);
    END IF;
END $$;
CREATE INDEX record_letter ON record (county, kind, changed_at) WHERE kind IN ('supervision', 'summons') AND NOT deleted;
CREATE INDEX record_letter_previous ON record (county, (body ->> 'previous')) WHERE kind = 'supervision' AND NOT deleted;
CREATE INDEX record_problem_suspended ON record (county, (body ->> 'suspended_until')) WHERE kind = 'problem' AND NOT deleted AND (body ->> 'state') = 'suspended';
CREATE INDEX record_problem_look_back ON record (county, (body ->> 'look_back_on'))
    WHERE kind = 'problem' AND NOT deleted AND (body ->> 'state') IN ('closed_out', 'look_back_passed');
CREATE INDEX record_problem_closed ON record (county, changed_at) WHERE kind = 'problem' AND NOT deleted AND (body ->> 'state') = 'closed_out';
CREATE INDEX record_problem_due ON record (county, (body ->> 'due_on')) WHERE kind = 'problem' AND NOT deleted;
ALTER TABLE timer_run DROP COLUMN judged_by;
DROP TABLE timer_due;
