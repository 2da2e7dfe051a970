-- What screens set aside is no landslide: it stays with its inventory, in a view of its own.

CREATE OR REPLACE VIEW scarp.v_inventories AS
SELECT inventory.id AS inventory_id, event_id, version, status, method, threshold,
    minimum_mapping_unit_m2, landslide_count, area_m2, observed_km2, scene_ids, doubts, licence,
    attribution, created_at, published_at, superseded_at, run_id, digest, screens
FROM scarp.inventory;

CREATE OR REPLACE VIEW scarp.v_landslides_all AS
SELECT landslide.id AS landslide_id, inventory.event_id, landslide.inventory_id, inventory.version,
    inventory.status, landslide.number, landslide.kind, landslide.area_m2, landslide.perimeter_m,
    landslide.length_m, landslide.width_m, landslide.elevation_min_m, landslide.elevation_mean_m,
    landslide.elevation_max_m, landslide.drop_m, landslide.slope_mean_deg, landslide.aspect_deg,
    landslide.h_over_l, landslide.volume_m3, landslide.volume_relation, landslide.score_mean,
    landslide.confidence, landslide.scene_id, landslide.acquired_at, landslide.touches_scene_edge,
    landslide.touches_cloud_edge, landslide.amalgamated, landslide.review_state,
    landslide.reviewed_by, landslide.reviewed_at, inventory.method,
    ST_X(landslide.centroid) AS longitude, ST_Y(landslide.centroid) AS latitude, landslide.geom,
    landslide.length_axis, landslide.slope_min_deg, landslide.slope_max_deg,
    landslide.slope_std_deg, landslide.aspect_concentration, landslide.relief_share,
    landslide.score_max, landslide.body
FROM scarp.landslide
JOIN scarp.inventory ON inventory.id = landslide.inventory_id
WHERE landslide.screened_by IS NULL;

-- The star of 0001 stood for the columns of its day.
CREATE OR REPLACE VIEW scarp.v_landslides AS
SELECT * FROM scarp.v_landslides_all WHERE status = 'published';

CREATE VIEW scarp.v_screened AS
SELECT landslide.id AS landslide_id, inventory.event_id, landslide.inventory_id, inventory.version,
    inventory.status, landslide.number, landslide.screened_by, landslide.screen_reason,
    landslide.area_m2, landslide.slope_mean_deg, landslide.score_mean, landslide.confidence,
    landslide.scene_id, landslide.acquired_at, landslide.body,
    ST_X(landslide.centroid) AS longitude, ST_Y(landslide.centroid) AS latitude, landslide.geom
FROM scarp.landslide
JOIN scarp.inventory ON inventory.id = landslide.inventory_id
WHERE landslide.screened_by IS NOT NULL;

COMMENT ON VIEW scarp.v_screened IS
    'What the network took for landslides and a screen set aside, in every inventory version.';

-- As in 0001: a column of a view says what the column of the same name says in its table.
DO $$
DECLARE
    column_read record;
BEGIN
    FOR column_read IN
        SELECT DISTINCT ON (view.table_name, view.column_name)
            view.table_name, view.column_name,
            col_description(format('scarp.%I', base.table_name)::regclass, base.ordinal_position)
                AS words
        FROM (VALUES ('v_inventories', 'inventory', 1),
                     ('v_landslides_all', 'landslide', 1), ('v_landslides_all', 'inventory', 2),
                     ('v_landslides', 'landslide', 1), ('v_landslides', 'inventory', 2),
                     ('v_screened', 'landslide', 1), ('v_screened', 'inventory', 2)
             ) AS reads (view_name, table_name, preference)
        JOIN information_schema.columns AS view
            ON view.table_schema = 'scarp' AND view.table_name = reads.view_name
        JOIN information_schema.columns AS base
            ON base.table_schema = 'scarp' AND base.table_name = reads.table_name
            AND base.column_name = view.column_name
        ORDER BY view.table_name, view.column_name, reads.preference
    LOOP
        EXECUTE format('COMMENT ON COLUMN scarp.%I.%I IS %L', column_read.table_name,
                       column_read.column_name, column_read.words);
    END LOOP;
END $$;

COMMENT ON COLUMN scarp.v_screened.landslide_id IS 'Identity of what was set aside.';
COMMENT ON COLUMN scarp.v_screened.longitude IS 'Longitude of the centroid, degrees east.';
COMMENT ON COLUMN scarp.v_screened.latitude IS 'Latitude of the centroid, degrees north.';
