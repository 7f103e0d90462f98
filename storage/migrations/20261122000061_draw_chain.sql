-- migrate:up
ALTER TABLE draw_sealed ADD COLUMN previous text COLLATE "C";
UPDATE draw_sealed d SET previous = b.previous
FROM (
    SELECT county, draw, lag(commitment) OVER (PARTITION BY county, unit ORDER BY committed_at, commitment) AS previous
    FROM draw_sealed WHERE commitment IS NOT NULL
) b
WHERE b.county = d.county AND b.draw = d.draw;
CREATE UNIQUE INDEX draw_sealed_chain ON draw_sealed (county, unit, previous) NULLS NOT DISTINCT WHERE commitment IS NOT NULL;
-- a row per draw: the locks are short
-- squawk-ignore require-concurrent-index-deletion
DROP INDEX draw_sealed_published;
-- squawk-ignore require-concurrent-index-deletion
DROP INDEX draw_sealed_commitment;
CREATE INDEX draw_sealed_published ON draw_sealed (county, committed_at, commitment) WHERE commitment IS NOT NULL;
CREATE INDEX draw_sealed_commitment ON draw_sealed (county, commitment) WHERE commitment IS NOT NULL;
-- what was given up says so in its record
-- squawk-ignore ban-drop-column
ALTER TABLE draw_sealed DROP COLUMN cancelled_at;

-- migrate:down
ALTER TABLE draw_sealed ADD COLUMN cancelled_at timestamptz;
DROP INDEX draw_sealed_commitment;
DROP INDEX draw_sealed_published;
CREATE INDEX draw_sealed_published ON draw_sealed (committed_at, commitment) WHERE commitment IS NOT NULL;
CREATE INDEX draw_sealed_commitment ON draw_sealed (commitment) WHERE commitment IS NOT NULL;
DROP INDEX draw_sealed_chain;
ALTER TABLE draw_sealed DROP COLUMN previous;
