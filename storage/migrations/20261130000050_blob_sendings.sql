-- migrate:up
-- Who has sent the bytes of a photo is known by person: to know a SHA-256 is no right (decision 0033).
ALTER TABLE blob_announcement ADD COLUMN person uuid, ADD COLUMN bytes bigint, ADD COLUMN refused text;
UPDATE blob_announcement a SET bytes = b.bytes FROM blob b WHERE b.county = a.county AND b.sha256 = a.sha256;
UPDATE blob_announcement a SET person = j.person FROM journal j
WHERE j.county = a.county AND j.device = a.device AND j.n = a.n AND j.entry = 0;
DELETE FROM blob_announcement WHERE person IS NULL OR bytes IS NULL;
-- squawk-ignore adding-not-nullable-field
ALTER TABLE blob_announcement ALTER COLUMN person SET NOT NULL, ALTER COLUMN bytes SET NOT NULL;

CREATE TABLE blob_sending (
    county integer NOT NULL,
    sha256 text COLLATE "C" NOT NULL,
    device uuid NOT NULL,
    person uuid NOT NULL,
    bytes bigint NOT NULL,
    opened_at timestamptz NOT NULL,
    completed_at timestamptz,
    reason text,
    sent_at timestamptz,
    PRIMARY KEY (county, sha256, device)
);
INSERT INTO blob_sending (county, sha256, device, person, bytes, opened_at, sent_at)
SELECT DISTINCT ON (a.county, a.sha256, a.device) a.county, a.sha256, a.device, a.person, b.bytes, a.announced_at, b.received_at
FROM blob_announcement a JOIN blob b ON b.county = a.county AND b.sha256 = a.sha256 AND b.received_at IS NOT NULL;
CREATE INDEX blob_sending_day ON blob_sending (person, opened_at);
CREATE INDEX blob_sending_completed ON blob_sending (county, completed_at) WHERE completed_at IS NOT NULL;

-- squawk-ignore require-concurrent-index-deletion
DROP INDEX blob_announcement_unnoted;
CREATE INDEX blob_announcement_unnoted ON blob_announcement (county, device, sha256) WHERE noted_at IS NULL;

-- A size is refused where it was announced, not with the bytes.
UPDATE blob_announcement a SET refused = b.reason FROM blob b
WHERE b.county = a.county AND b.sha256 = a.sha256 AND b.state = 'refused' AND b.received_at IS NULL;
UPDATE blob SET state = 'wanted', reason = NULL WHERE state = 'refused' AND received_at IS NULL;
UPDATE blob SET reason = NULL WHERE state = 'wanted';
-- squawk-ignore require-concurrent-index-deletion
DROP INDEX blob_verifying;
-- squawk-ignore ban-drop-column
ALTER TABLE blob DROP COLUMN media_type, DROP COLUMN completed_at, DROP COLUMN completed_by;
ALTER TABLE blob ALTER COLUMN bytes SET DEFAULT 0, ADD COLUMN deaths smallint NOT NULL DEFAULT 0;

-- squawk-ignore ban-drop-column
ALTER TYPE push_photo DROP ATTRIBUTE media_type;
CREATE OR REPLACE FUNCTION push_write(
    p_county integer, p_device uuid, p_person uuid,
    p_heads push_head[], p_records push_record[], p_markers push_marker[], p_entries push_entry[], p_held push_held[],
    p_photos push_photo[],
    d_high bigint, d_made bigint, d_clocks json, d_marks json, d_holes json
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    inserts integer := 0;
    written integer;
BEGIN
    IF cardinality(p_records) > 0 THEN
        -- no ON CONFLICT: its speculative insertion costs a third more, and two creations of one id are rare
        INSERT INTO record (county, id, kind, stream, seq, incarnation, version, crc, parent, deleted, fields, body)
        SELECT h.county, u.id, u.kind, u.stream, u.seq, u.incarnation, u.version, u.crc, u.parent, u.deleted, u.fields, u.body
        FROM stream_head h JOIN unnest(p_records) u ON u.stream = h.stream COLLATE "C"
        WHERE h.county = p_county AND u.planned_on = 0;
        GET DIAGNOSTICS inserts = ROW_COUNT;
        written := inserts;
        IF inserts < cardinality(p_records) THEN
            UPDATE record r
            SET stream = u.stream, seq = u.seq, incarnation = u.incarnation, version = u.version, crc = u.crc, parent = u.parent,
                deleted = u.deleted, moved_to = u.moved_to, fields = u.fields, body = u.body, changed_at = now()
            FROM unnest(p_records) u
            WHERE r.county = p_county AND r.id = u.id AND r.version = u.planned_on AND u.planned_on > 0;
            GET DIAGNOSTICS written = ROW_COUNT;
            written := written + inserts;
        END IF;
        IF written <> cardinality(p_records) THEN
            RAISE EXCEPTION 'planned on another state' USING ERRCODE = 'XL001';
        END IF;
        IF inserts < cardinality(p_records) OR cardinality(p_markers) > 0 THEN
            DELETE FROM marker m USING unnest(p_records) u
            WHERE m.county = p_county AND m.stream = u.stream AND m.record = u.id AND NOT u.deleted;
            INSERT INTO marker (county, stream, record, seq, incarnation, version)
            SELECT p_county, u.* FROM unnest(p_markers) u
            ON CONFLICT (county, stream, record) DO UPDATE
            SET seq = EXCLUDED.seq, incarnation = EXCLUDED.incarnation, version = EXCLUDED.version;
        END IF;
        UPDATE stream_head h SET seq = u.seq, count = u.count, digest = u.digest
        FROM unnest(p_heads) u
        WHERE h.county = p_county AND h.stream = u.stream;
    END IF;
    IF cardinality(p_entries) > 0 THEN
        INSERT INTO journal (county, device, person, n, entry, what, mutation, record, kind, op, captured_from, captured_to,
                             outcome, reason, detail, root_incarnation, root_version,
                             stream, seq, incarnation, version, deleted, patch, raw)
        SELECT p_county, p_device, p_person, u.* FROM unnest(p_entries) u;
    END IF;
    IF cardinality(p_held) > 0 THEN
        INSERT INTO held (county, device, person, n, mutation, record, kind, unit, outcome, reason, detail, waits_for)
        SELECT p_county, p_device, p_person, u.* FROM unnest(p_held) u
        ON CONFLICT (county, device, n) DO UPDATE
        SET outcome = EXCLUDED.outcome, reason = EXCLUDED.reason, detail = EXCLUDED.detail, waits_for = EXCLUDED.waits_for,
            tries = held.tries + 1, settled_at = NULL, settled_by = NULL, settled_how = NULL;
    END IF;
    IF cardinality(p_photos) > 0 THEN
        INSERT INTO blob (county, sha256) SELECT DISTINCT p_county, u.sha256 FROM unnest(p_photos) u ORDER BY u.sha256
        ON CONFLICT DO NOTHING;
        INSERT INTO blob_announcement (county, device, person, sha256, bytes, n, photo)
        SELECT p_county, p_device, p_person, u.* FROM unnest(p_photos) u
        ON CONFLICT DO NOTHING;
    END IF;
    UPDATE device_county d
    SET n_high = d_high, n_made = greatest(d.n_made, d_made), clocks = d_clocks, marks = d_marks, holes = d_holes, seen_at = now()
    WHERE d.county = p_county AND d.device = p_device;
END $$;

-- migrate:down
ALTER TYPE push_photo DROP ATTRIBUTE n, DROP ATTRIBUTE photo;
ALTER TYPE push_photo ADD ATTRIBUTE media_type text, ADD ATTRIBUTE n bigint, ADD ATTRIBUTE photo uuid;
CREATE OR REPLACE FUNCTION push_write(
    p_county integer, p_device uuid, p_person uuid,
    p_heads push_head[], p_records push_record[], p_markers push_marker[], p_entries push_entry[], p_held push_held[],
    p_photos push_photo[],
    d_high bigint, d_made bigint, d_clocks json, d_marks json, d_holes json
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    inserts integer := 0;
    written integer;
BEGIN
    IF cardinality(p_records) > 0 THEN
        -- no ON CONFLICT: its speculative insertion costs a third more, and two creations of one id are rare
        INSERT INTO record (county, id, kind, stream, seq, incarnation, version, crc, parent, deleted, fields, body)
        SELECT h.county, u.id, u.kind, u.stream, u.seq, u.incarnation, u.version, u.crc, u.parent, u.deleted, u.fields, u.body
        FROM stream_head h JOIN unnest(p_records) u ON u.stream = h.stream COLLATE "C"
        WHERE h.county = p_county AND u.planned_on = 0;
        GET DIAGNOSTICS inserts = ROW_COUNT;
        written := inserts;
        IF inserts < cardinality(p_records) THEN
            UPDATE record r
            SET stream = u.stream, seq = u.seq, incarnation = u.incarnation, version = u.version, crc = u.crc, parent = u.parent,
                deleted = u.deleted, moved_to = u.moved_to, fields = u.fields, body = u.body, changed_at = now()
            FROM unnest(p_records) u
            WHERE r.county = p_county AND r.id = u.id AND r.version = u.planned_on AND u.planned_on > 0;
            GET DIAGNOSTICS written = ROW_COUNT;
            written := written + inserts;
        END IF;
        IF written <> cardinality(p_records) THEN
            RAISE EXCEPTION 'planned on another state' USING ERRCODE = 'XL001';
        END IF;
        IF inserts < cardinality(p_records) OR cardinality(p_markers) > 0 THEN
            DELETE FROM marker m USING unnest(p_records) u
            WHERE m.county = p_county AND m.stream = u.stream AND m.record = u.id AND NOT u.deleted;
            INSERT INTO marker (county, stream, record, seq, incarnation, version)
            SELECT p_county, u.* FROM unnest(p_markers) u
            ON CONFLICT (county, stream, record) DO UPDATE
            SET seq = EXCLUDED.seq, incarnation = EXCLUDED.incarnation, version = EXCLUDED.version;
        END IF;
        UPDATE stream_head h SET seq = u.seq, count = u.count, digest = u.digest
        FROM unnest(p_heads) u
        WHERE h.county = p_county AND h.stream = u.stream;
    END IF;
    IF cardinality(p_entries) > 0 THEN
        INSERT INTO journal (county, device, person, n, entry, what, mutation, record, kind, op, captured_from, captured_to,
                             outcome, reason, detail, root_incarnation, root_version,
                             stream, seq, incarnation, version, deleted, patch, raw)
        SELECT p_county, p_device, p_person, u.* FROM unnest(p_entries) u;
    END IF;
    IF cardinality(p_held) > 0 THEN
        INSERT INTO held (county, device, person, n, mutation, record, kind, unit, outcome, reason, detail, waits_for)
        SELECT p_county, p_device, p_person, u.* FROM unnest(p_held) u
        ON CONFLICT (county, device, n) DO UPDATE
        SET outcome = EXCLUDED.outcome, reason = EXCLUDED.reason, detail = EXCLUDED.detail, waits_for = EXCLUDED.waits_for,
            tries = held.tries + 1, settled_at = NULL, settled_by = NULL, settled_how = NULL;
    END IF;
    IF cardinality(p_photos) > 0 THEN
        INSERT INTO blob (county, sha256, bytes, media_type)
        SELECT DISTINCT ON (u.sha256) p_county, u.sha256, u.bytes, u.media_type FROM unnest(p_photos) u ORDER BY u.sha256
        ON CONFLICT DO NOTHING;
        INSERT INTO blob_announcement (county, device, sha256, n, photo)
        SELECT p_county, p_device, u.sha256, u.n, u.photo FROM unnest(p_photos) u
        ON CONFLICT DO NOTHING;
    END IF;
    UPDATE device_county d
    SET n_high = d_high, n_made = greatest(d.n_made, d_made), clocks = d_clocks, marks = d_marks, holes = d_holes, seen_at = now()
    WHERE d.county = p_county AND d.device = p_device;
END $$;

ALTER TABLE blob DROP COLUMN deaths, ALTER COLUMN bytes DROP DEFAULT, ADD COLUMN media_type text NOT NULL DEFAULT '';
ALTER TABLE blob ALTER COLUMN media_type DROP DEFAULT, ADD COLUMN completed_at timestamptz, ADD COLUMN completed_by uuid;
CREATE INDEX blob_verifying ON blob (county, completed_at) WHERE state = 'wanted' AND completed_at IS NOT NULL;
DROP TABLE blob_sending;
DROP INDEX blob_announcement_unnoted;
CREATE INDEX blob_announcement_unnoted ON blob_announcement (county, sha256) WHERE noted_at IS NULL;
ALTER TABLE blob_announcement DROP COLUMN person, DROP COLUMN bytes, DROP COLUMN refused;
