-- migrate:up
CREATE TABLE ledger_entry (
    county integer NOT NULL,
    record uuid NOT NULL,
    kind text COLLATE "C" NOT NULL,
    stream text COLLATE "C" NOT NULL,
    is_open boolean NOT NULL,
    due_at timestamptz NOT NULL,
    found_at timestamptz NOT NULL,
    changed_at timestamptz NOT NULL,
    about uuid,
    site uuid,
    colour text COLLATE "C",
    returns integer NOT NULL,
    rebounds integer NOT NULL,
    title text NOT NULL,
    tags text[] COLLATE "C" NOT NULL,
    words integer[] NOT NULL,
    text text NOT NULL,
    PRIMARY KEY (county, record)
);
CREATE INDEX ledger_due ON ledger_entry (county, kind, due_at, record);
CREATE INDEX ledger_due_open ON ledger_entry (county, kind, due_at, record) WHERE is_open;
CREATE INDEX ledger_found ON ledger_entry (county, kind, found_at, record);
CREATE INDEX ledger_changed ON ledger_entry (county, kind, changed_at, record);
CREATE INDEX ledger_stream ON ledger_entry (county, kind, stream);
CREATE INDEX ledger_about ON ledger_entry (county, about) WHERE about IS NOT NULL;
CREATE INDEX ledger_site ON ledger_entry (county, site) WHERE site IS NOT NULL;
CREATE INDEX ledger_colour ON ledger_entry (county, colour) WHERE kind = 'supervision' AND is_open;
CREATE INDEX ledger_worse ON ledger_entry (county, kind, due_at, record) WHERE returns > 0 OR rebounds > 0;
CREATE INDEX ledger_tags ON ledger_entry USING gin (tags);
CREATE INDEX ledger_words ON ledger_entry USING gin (words);

-- Whole rows, as push_write has them. A missing found_at or changed_at: what is known already, or now.
CREATE TYPE ledger_row AS (
    record uuid, kind text, stream text, is_open boolean, due_at timestamptz, found_at timestamptz, changed_at timestamptz,
    about uuid, site uuid, colour text, returns integer, rebounds integer, title text, tags text[], words integer[], text text);

-- Called beside push_write, in the same statement: the lock of the record's stream orders the writers of a row.
CREATE FUNCTION ledger_write(p_county integer, p_rows ledger_row[], p_gone uuid[]) RETURNS void LANGUAGE plpgsql AS $$
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

-- migrate:down
DROP FUNCTION ledger_write;
DROP TYPE ledger_row;
DROP TABLE ledger_entry;
