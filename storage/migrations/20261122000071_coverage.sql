-- migrate:up
CREATE TABLE site_watch (
    county integer NOT NULL,
    site uuid NOT NULL,
    stream text COLLATE "C" NOT NULL,
    period_days integer,
    subjects text[] COLLATE "C" NOT NULL,
    PRIMARY KEY (county, site)
);
CREATE INDEX site_watch_stream ON site_watch (county, stream, site);
CREATE TABLE site_seen (
    county integer NOT NULL,
    inspection uuid NOT NULL,
    site uuid NOT NULL,
    seen_at timestamptz NOT NULL,
    PRIMARY KEY (county, inspection)
);
CREATE INDEX site_seen_site ON site_seen (county, site, seen_at);
CREATE TABLE site_last (
    county integer NOT NULL,
    site uuid NOT NULL,
    seen_at timestamptz,
    PRIMARY KEY (county, site)
);

CREATE FUNCTION coverage_write(p_county integer, p_sites uuid[], p_inspections uuid[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_touched uuid[];
BEGIN
    DELETE FROM site_watch w WHERE w.county = p_county AND w.site = ANY (p_sites);
    INSERT INTO site_watch (county, site, stream, period_days, subjects)
    SELECT r.county, r.id, r.stream, (r.body ->> 'period_days')::integer, ARRAY(SELECT json_array_elements_text(r.body -> 'subjects'))
    FROM record r
    WHERE r.county = p_county AND r.id = ANY (p_sites) AND r.kind = 'site' AND NOT r.deleted
      AND coalesce(r.body ->> 'status', 'active') = 'active';
    IF cardinality(p_inspections) > 0 THEN
        v_touched := ARRAY(SELECT s.site FROM site_seen s WHERE s.county = p_county AND s.inspection = ANY (p_inspections));
        DELETE FROM site_seen s WHERE s.county = p_county AND s.inspection = ANY (p_inspections);
        INSERT INTO site_seen (county, inspection, site, seen_at)
        SELECT r.county, r.id, (r.body ->> 'site')::uuid, (r.body ->> 'submitted_at')::timestamptz
        FROM record r
        WHERE r.county = p_county AND r.id = ANY (p_inspections) AND r.kind = 'inspection' AND NOT r.deleted
          AND (r.body ->> 'site') IS NOT NULL AND (r.body ->> 'submitted_at') IS NOT NULL AND r.stream NOT LIKE '%.visit';
        v_touched := v_touched
            || ARRAY(SELECT s.site FROM site_seen s WHERE s.county = p_county AND s.inspection = ANY (p_inspections));
        INSERT INTO site_last (county, site)
        SELECT DISTINCT p_county, t.site FROM unnest(v_touched) t (site) ORDER BY t.site
        ON CONFLICT (county, site) DO NOTHING;
        PERFORM l.site FROM site_last l WHERE l.county = p_county AND l.site = ANY (v_touched) ORDER BY l.site FOR UPDATE;
        UPDATE site_last l
        SET seen_at = (SELECT max(s.seen_at) FROM site_seen s WHERE s.county = p_county AND s.site = l.site)
        WHERE l.county = p_county AND l.site = ANY (v_touched);
    END IF;
END $$;

INSERT INTO site_watch (county, site, stream, period_days, subjects)
SELECT r.county, r.id, r.stream, (r.body ->> 'period_days')::integer, ARRAY(SELECT json_array_elements_text(r.body -> 'subjects'))
FROM record r WHERE r.kind = 'site' AND NOT r.deleted AND coalesce(r.body ->> 'status', 'active') = 'active';
INSERT INTO site_seen (county, inspection, site, seen_at)
SELECT r.county, r.id, (r.body ->> 'site')::uuid, (r.body ->> 'submitted_at')::timestamptz
FROM record r
WHERE r.kind = 'inspection' AND NOT r.deleted AND (r.body ->> 'site') IS NOT NULL AND (r.body ->> 'submitted_at') IS NOT NULL
  AND r.stream NOT LIKE '%.visit';
INSERT INTO site_last (county, site, seen_at) SELECT county, site, max(seen_at) FROM site_seen GROUP BY county, site;

-- migrate:down
DROP FUNCTION coverage_write;
DROP TABLE site_last;
DROP TABLE site_seen;
DROP TABLE site_watch;
