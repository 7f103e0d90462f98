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
    SELECT array_agg(l.h) INTO heads FROM (
        SELECT h FROM stream_head h WHERE h.county = p_county AND h.stream = ANY (wanted) ORDER BY h.stream FOR UPDATE) l;
    IF cardinality(wanted) > coalesce(cardinality(heads), 0) THEN
        -- a stream's first record: the county row keeps a bump of the incarnation out meanwhile
        INSERT INTO stream_head (county, stream, incarnation)
        SELECT c.county, s, c.incarnation FROM county c, unnest(wanted) s
        WHERE c.county = p_county
        ORDER BY s FOR KEY SHARE OF c
        ON CONFLICT DO NOTHING;
        SELECT array_agg(l.h) INTO heads FROM (
            SELECT h FROM stream_head h WHERE h.county = p_county AND h.stream = ANY (wanted) ORDER BY h.stream FOR UPDATE) l;
    END IF;
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

-- Writes what was planned. A record write names the version it was planned on (0 = missing); a row count that differs
-- raises 'XL001' and the caller plans again. Markers: those of records that left, and none for those that entered.
CREATE FUNCTION push_write(
    p_county integer, p_device uuid, p_person uuid,
    h_stream text[], h_seq bigint[], h_count bigint[], h_digest bigint[],
    r_id uuid[], r_kind text[], r_stream text[], r_seq bigint[], r_incarnation integer[], r_version bigint[], r_on bigint[],
    r_crc bigint[], r_parent uuid[], r_deleted boolean[], r_moved integer[], r_fields text[], r_body text[],
    m_stream text[], m_record uuid[], m_seq bigint[], m_incarnation integer[], m_version bigint[],
    j_n bigint[], j_entry smallint[], j_what text[], j_mutation uuid[], j_record uuid[], j_kind text[], j_op text[],
    j_from timestamptz[], j_to timestamptz[], j_outcome text[], j_reason text[], j_detail text[],
    j_root_incarnation integer[], j_root_version bigint[],
    j_stream text[], j_seq bigint[], j_incarnation integer[], j_version bigint[], j_deleted boolean[], j_patch text[], j_raw bytea[],
    q_n bigint[], q_mutation uuid[], q_record uuid[], q_kind text[], q_unit text[], q_outcome text[], q_reason text[],
    q_detail text[], q_waits bigint[],
    b_sha256 text[], b_bytes bigint[], b_media_type text[], b_n bigint[], b_photo uuid[],
    d_high bigint, d_made bigint, d_clocks text, d_marks text, d_holes text
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    inserts integer := 0;
    written integer;
BEGIN
    IF cardinality(r_id) > 0 THEN
        INSERT INTO record (county, id, kind, stream, seq, incarnation, version, crc, parent, deleted, fields, body)
        SELECT h.county, u.id, u.kind, u.stream, u.seq, u.incarnation, u.version, u.crc, u.parent, u.deleted,
               u.fields::json, u.body::json
        FROM stream_head h
        JOIN unnest(r_id, r_kind, r_stream, r_seq, r_incarnation, r_version, r_on, r_crc, r_parent, r_deleted, r_fields, r_body)
             AS u (id, kind, stream, seq, incarnation, version, planned_on, crc, parent, deleted, fields, body)
          ON u.stream = h.stream COLLATE "C"
        WHERE h.county = p_county AND u.planned_on = 0
        ON CONFLICT (county, id) DO NOTHING;
        GET DIAGNOSTICS inserts = ROW_COUNT;
        written := inserts;
        IF inserts < cardinality(r_id) THEN
            UPDATE record r
            SET stream = u.stream, seq = u.seq, incarnation = u.incarnation, version = u.version, crc = u.crc, parent = u.parent,
                deleted = u.deleted, moved_to = u.moved, fields = u.fields::json, body = u.body::json, changed_at = now()
            FROM unnest(r_id, r_stream, r_seq, r_incarnation, r_version, r_on, r_crc, r_parent, r_deleted, r_moved, r_fields, r_body)
                 AS u (id, stream, seq, incarnation, version, planned_on, crc, parent, deleted, moved, fields, body)
            WHERE r.county = p_county AND r.id = u.id AND r.version = u.planned_on AND u.planned_on > 0;
            GET DIAGNOSTICS written = ROW_COUNT;
            written := written + inserts;
        END IF;
        IF written <> cardinality(r_id) THEN
            RAISE EXCEPTION 'planned on another state' USING ERRCODE = 'XL001';
        END IF;
        IF inserts < cardinality(r_id) OR cardinality(m_record) > 0 THEN
            DELETE FROM marker m USING unnest(r_id, r_stream) AS u (id, stream)
            WHERE m.county = p_county AND m.stream = u.stream AND m.record = u.id;
            INSERT INTO marker (county, stream, record, seq, incarnation, version)
            SELECT p_county, * FROM unnest(m_stream, m_record, m_seq, m_incarnation, m_version)
            ON CONFLICT (county, stream, record) DO UPDATE
            SET seq = EXCLUDED.seq, incarnation = EXCLUDED.incarnation, version = EXCLUDED.version;
        END IF;
        UPDATE stream_head h SET seq = u.seq, count = u.count, digest = u.digest
        FROM unnest(h_stream, h_seq, h_count, h_digest) AS u (stream, seq, count, digest)
        WHERE h.county = p_county AND h.stream = u.stream;
    END IF;
    IF cardinality(j_n) > 0 THEN
        INSERT INTO journal (county, device, n, entry, what, mutation, record, kind, op, person, captured_from, captured_to,
                             outcome, reason, detail, root_incarnation, root_version,
                             stream, seq, incarnation, version, deleted, patch, raw)
        SELECT p_county, p_device, u.n, u.entry, u.what, u.mutation, u.record, u.kind, u.op, p_person, u.f, u.t,
               u.outcome, u.reason, u.detail::json, u.ri, u.rv, u.stream, u.seq, u.incarnation, u.version, u.deleted,
               u.patch::json, u.raw
        FROM unnest(j_n, j_entry, j_what, j_mutation, j_record, j_kind, j_op, j_from, j_to, j_outcome, j_reason, j_detail,
                    j_root_incarnation, j_root_version, j_stream, j_seq, j_incarnation, j_version, j_deleted, j_patch, j_raw)
             AS u (n, entry, what, mutation, record, kind, op, f, t, outcome, reason, detail, ri, rv,
                   stream, seq, incarnation, version, deleted, patch, raw);
    END IF;
    IF cardinality(q_n) > 0 THEN
        INSERT INTO held (county, device, n, mutation, record, kind, unit, person, outcome, reason, detail, waits_for)
        SELECT p_county, p_device, u.n, u.mutation, u.record, u.kind, u.unit, p_person, u.outcome, u.reason, u.detail::json, u.waits
        FROM unnest(q_n, q_mutation, q_record, q_kind, q_unit, q_outcome, q_reason, q_detail, q_waits)
             AS u (n, mutation, record, kind, unit, outcome, reason, detail, waits)
        ON CONFLICT (county, device, n) DO UPDATE
        SET outcome = EXCLUDED.outcome, reason = EXCLUDED.reason, detail = EXCLUDED.detail, waits_for = EXCLUDED.waits_for,
            tries = held.tries + 1, settled_at = NULL, settled_by = NULL, settled_how = NULL;
    END IF;
    IF cardinality(b_sha256) > 0 THEN
        INSERT INTO blob (county, sha256, bytes, media_type)
        SELECT DISTINCT ON (u.sha256) p_county, u.sha256, u.bytes, u.media_type
        FROM unnest(b_sha256, b_bytes, b_media_type) AS u (sha256, bytes, media_type) ORDER BY u.sha256
        ON CONFLICT DO NOTHING;
        INSERT INTO blob_announcement (county, device, sha256, n, photo)
        SELECT p_county, p_device, u.sha256, u.n, u.photo FROM unnest(b_sha256, b_n, b_photo) AS u (sha256, n, photo)
        ON CONFLICT DO NOTHING;
    END IF;
    UPDATE device_county d
    SET n_high = d_high, n_made = greatest(d.n_made, d_made), clocks = d_clocks::json, marks = d_marks::json,
        holes = d_holes::json, seen_at = now()
    WHERE d.county = p_county AND d.device = p_device;
END $$;

-- migrate:down
