-- Back to three states and to alternate ids as a list of each event.

DROP VIEW scarp.v_prior_maps;
DROP VIEW scarp.v_decisions;
DROP VIEW scarp.v_events;

UPDATE scarp.event SET alternate_ids = ARRAY(
    SELECT event_alias.id FROM scarp.event_alias WHERE event_alias.event_id = event.id
        AND event_alias.id <> event.id ORDER BY position, event_alias.id);

ALTER TABLE scarp.event DROP CONSTRAINT event_state_check,
    DROP CONSTRAINT event_merged_into_check, ALTER COLUMN state SET DEFAULT 'active';
UPDATE scarp.event SET state = 'active' WHERE state NOT IN ('held', 'cancelled');
ALTER TABLE scarp.event
    ADD CONSTRAINT event_state_check CHECK (state IN ('active', 'held', 'cancelled'));
COMMENT ON COLUMN scarp.event.state IS 'active, held or cancelled.';

-- What the old words cannot say is kept as the nearest of them.
ALTER TABLE scarp.event_history DROP CONSTRAINT event_history_change_check;
UPDATE scarp.event_history SET change = CASE change WHEN 'merged' THEN 'cancelled' ELSE 'updated' END
WHERE change NOT IN ('registered', 'updated', 'held', 'released', 'cancelled');
ALTER TABLE scarp.event_history ADD CONSTRAINT event_history_change_check
    CHECK (change IN ('registered', 'updated', 'held', 'released', 'cancelled'));

CREATE VIEW scarp.v_events AS
SELECT event.id AS event_id, event.kind, event.title, event.occurred_at, event.magnitude,
    event.magnitude_type, event.depth_km, event.rainfall_mm, event.duration_h, event.source,
    event.source_version, event.alternate_ids, event.state, event.registered_at, event.updated_at,
    aoi.how AS aoi_how, aoi.area_km2 AS aoi_km2, published.version AS published_version,
    published.landslide_count, event.point AS geom, aoi.geom AS aoi
FROM scarp.event
JOIN scarp.aoi ON aoi.event_id = event.id
LEFT JOIN scarp.inventory AS published
    ON published.event_id = event.id AND published.status = 'published';

COMMENT ON COLUMN scarp.event.alternate_ids IS 'Other ids of the same event.';
COMMENT ON VIEW scarp.v_events IS
    'Events with their area of interest and the version of their published inventory.';

DO $$
DECLARE
    column_read record;
BEGIN
    FOR column_read IN
        SELECT attname AS column_name, col_description(attrelid, attnum) AS words
        FROM pg_attribute
        WHERE attrelid = 'scarp.event'::regclass AND attnum > 0 AND NOT attisdropped
            AND attname IN (SELECT column_name FROM information_schema.columns
                            WHERE table_schema = 'scarp' AND table_name = 'v_events')
    LOOP
        EXECUTE format('COMMENT ON COLUMN scarp.v_events.%I IS %L', column_read.column_name,
                       column_read.words);
    END LOOP;
END $$;

COMMENT ON COLUMN scarp.v_events.event_id IS 'ComCat or GDACS id, or the operator''s slug.';
COMMENT ON COLUMN scarp.v_events.aoi_how IS 'How the area of interest was made.';
COMMENT ON COLUMN scarp.v_events.aoi_km2 IS 'Geodesic area of the area of interest in km².';
COMMENT ON COLUMN scarp.v_events.published_version IS
    'Version of the published inventory; NULL if there is none.';
COMMENT ON COLUMN scarp.v_events.landslide_count IS
    'Landslides in it; 0 is a finding, NULL is not known.';
COMMENT ON COLUMN scarp.v_events.geom IS 'Epicentre, or centre of the rain, EPSG:4326.';
COMMENT ON COLUMN scarp.v_events.aoi IS 'Area of interest, EPSG:4326.';
