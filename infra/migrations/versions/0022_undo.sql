-- Back to counts as stored.

CREATE OR REPLACE VIEW scarp.v_events AS
SELECT event.id AS event_id, event.kind, event.title, event.occurred_at, event.magnitude,
    event.magnitude_type, event.depth_km, event.rainfall_mm, event.duration_h, event.source,
    event.source_version,
    ARRAY(SELECT event_alias.id FROM scarp.event_alias WHERE event_alias.event_id = event.id
          AND event_alias.id <> event.id ORDER BY position, event_alias.id) AS alternate_ids,
    event.state, event.registered_at, event.updated_at,
    aoi.how AS aoi_how, aoi.area_km2 AS aoi_km2, published.version AS published_version,
    published.landslide_count, event.point AS geom, aoi.geom AS aoi, event.priority,
    event.priority_how, event.forced, event.merged_into, event.reported_at,
    shakemap.identity AS shakemap
FROM scarp.event
JOIN scarp.aoi ON aoi.event_id = event.id
LEFT JOIN scarp.inventory AS published
    ON published.event_id = event.id AND published.status = 'published'
LEFT JOIN scarp.shakemap ON shakemap.event_id = event.id AND shakemap.in_use;

COMMENT ON COLUMN scarp.v_events.landslide_count IS
    'Landslides in it; 0 is a finding, NULL is not known.';

DROP VIEW scarp.v_inventories;
CREATE VIEW scarp.v_inventories AS
SELECT inventory.id AS inventory_id, event_id, version, status, method, threshold,
    minimum_mapping_unit_m2, landslide_count, area_m2, observed_km2, scene_ids, doubts, licence,
    attribution, created_at, published_at, superseded_at, run_id, digest, screens
FROM scarp.inventory;

COMMENT ON VIEW scarp.v_inventories IS 'Every version of every inventory.';

DO $$
DECLARE
    column_read record;
BEGIN
    FOR column_read IN
        SELECT attname AS column_name, col_description(attrelid, attnum) AS words
        FROM pg_attribute
        WHERE attrelid = 'scarp.inventory'::regclass AND attnum > 0 AND NOT attisdropped
            AND attname IN (SELECT column_name FROM information_schema.columns
                            WHERE table_schema = 'scarp' AND table_name = 'v_inventories')
    LOOP
        EXECUTE format('COMMENT ON COLUMN scarp.v_inventories.%I IS %L', column_read.column_name,
                       column_read.words);
    END LOOP;
END $$;

COMMENT ON COLUMN scarp.v_inventories.inventory_id IS 'Identity of the inventory.';
COMMENT ON COLUMN scarp.v_landslides.perimeter_m IS 'Geodesic perimeter in m.';
COMMENT ON COLUMN scarp.v_landslides_all.perimeter_m IS 'Geodesic perimeter in m.';

DROP VIEW scarp.v_susceptibility;
