-- migrate:up

-- Two functions, because round trips dominate a push (design.md section 7): one locks and reads, one writes. They hold
-- no rule: every decision is made in sync/ between the two. Decision 0003.

-- Locks the device's row, then the heads in sorted order; only then, as later statements with a fresh snapshot, reads.
-- p_streams are the heads that the caller expects to need; the streams of the named records are added by an unlocked
-- read. The caller checks that every stream it plans on is among the heads returned, and asks again otherwise.
CREATE FUNCTION push_read(
    p_county integer, p_device uuid, p_ns bigint[], p_records uuid[], p_bases uuid[], p_streams text[], p_all boolean,
    OUT device device_county, OUT heads stream_head[], OUT records public.record[], OUT known json, OUT bases json, OUT held json
) LANGUAGE plpgsql AS $$
DECLARE
    wanted text[];
BEGIN
    SELECT * INTO device FROM device_county d WHERE d.county = p_county AND d.device = p_device FOR UPDATE;
    IF NOT FOUND THEN
        INSERT INTO device_county (county, device) VALUES (p_county, p_device) ON CONFLICT DO NOTHING;
        SELECT * INTO device FROM device_county d WHERE d.county = p_county AND d.device = p_device FOR UPDATE;
    END IF;
    SELECT array_agg(s ORDER BY s) INTO wanted FROM (
        SELECT unnest(p_streams) COLLATE "C" AS s
        UNION
        SELECT r.stream FROM record r WHERE r.county = p_county AND r.id = ANY (p_records)
        UNION
        SELECT h.stream FROM stream_head h WHERE p_all AND h.county = p_county) w;
    IF EXISTS (SELECT FROM unnest(wanted) s
               WHERE NOT EXISTS (SELECT FROM stream_head h WHERE h.county = p_county AND h.stream = s)) THEN
        -- A stream's first record. Before any head is locked: whoever waits here for another's new head holds none that the
        -- other may want. The county row keeps a bump of the incarnation out meanwhile.
        INSERT INTO stream_head (county, stream, incarnation)
        SELECT c.county, s, c.incarnation FROM county c, unnest(wanted) s
        WHERE c.county = p_county
        ORDER BY s FOR KEY SHARE OF c
        ON CONFLICT DO NOTHING;
    END IF;
    SELECT array_agg(l.h) INTO heads FROM (
        SELECT h FROM stream_head h WHERE h.county = p_county AND h.stream = ANY (wanted) ORDER BY h.stream FOR UPDATE) l;
    IF cardinality(p_records) > 0 THEN
        SELECT array_agg(r) INTO records FROM record r WHERE r.county = p_county AND r.id = ANY (p_records);
        SELECT json_agg(json_build_array(h.n, h.record, h.mutation)) INTO held FROM held h
        WHERE h.county = p_county AND h.device = p_device AND h.settled_at IS NULL;
    END IF;
    IF device.n_high > 0 AND cardinality(p_ns) > 0 AND p_ns[1] <= device.n_high THEN
        SELECT json_agg(json_build_array(j.n, j.mutation, j.outcome, j.reason, j.detail, j.record, j.incarnation, j.version)
                        ORDER BY j.n, j.entry) INTO known
        FROM journal j
        WHERE j.county = p_county AND j.device = p_device AND j.n = ANY (p_ns) AND j.what <> 'consequence';
    END IF;
    IF records IS NOT NULL AND cardinality(p_bases) > 0 THEN
        SELECT json_agg(json_build_array(j.mutation, j.root_incarnation, j.root_version, j.outcome, j.device, j.n)
                        ORDER BY j.entry) INTO bases
        FROM journal j
        WHERE j.county = p_county AND j.record = ANY (p_records) AND j.mutation = ANY (p_bases) AND j.what <> 'consequence';
    END IF;
END $$;

-- The rows of push_write. Whole rows and not one array a column: a batch of 25 is 6 values to encode and to read instead of
-- 1,400, which is a third of the time that passing them takes (docs/performance.md).
CREATE TYPE push_head AS (stream text, seq bigint, count bigint, digest bigint);
CREATE TYPE push_record AS (
    id uuid, kind text, stream text, seq bigint, incarnation integer, version bigint, planned_on bigint, crc bigint, parent uuid,
    deleted boolean, moved_to integer, fields json, body json);
CREATE TYPE push_marker AS (stream text, record uuid, seq bigint, incarnation integer, version bigint);
CREATE TYPE push_entry AS (
    n bigint, entry smallint, what text, mutation uuid, record uuid, kind text, op text, captured_from timestamptz,
    captured_to timestamptz, outcome text, reason text, detail json, root_incarnation integer, root_version bigint, stream text,
    seq bigint, incarnation integer, version bigint, deleted boolean, patch json, raw bytea);
CREATE TYPE push_held AS (
    n bigint, mutation uuid, record uuid, kind text, unit text, outcome text, reason text, detail json, waits_for bigint);
CREATE TYPE push_photo AS (sha256 text, bytes bigint, media_type text, n bigint, photo uuid);

-- Writes what was planned. A record write names the version it was planned on (0 = missing); where the database has another,
-- 'XL001' or a unique violation is raised and the caller plans again. Markers: those of records that left, and none for those
-- that entered.
CREATE FUNCTION push_write(
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

-- migrate:down
