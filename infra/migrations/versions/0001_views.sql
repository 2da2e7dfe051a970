-- The analysts' views: an API. Columns are added at the end, never renamed or removed.

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

CREATE VIEW scarp.v_inventories AS
SELECT inventory.id AS inventory_id, event_id, version, status, method, threshold,
    minimum_mapping_unit_m2, landslide_count, area_m2, observed_km2, scene_ids, doubts, licence,
    attribution, created_at, published_at, superseded_at, run_id, digest
FROM scarp.inventory;

CREATE VIEW scarp.v_landslides_all AS
SELECT landslide.id AS landslide_id, inventory.event_id, landslide.inventory_id, inventory.version,
    inventory.status, landslide.number, landslide.kind, landslide.area_m2, landslide.perimeter_m,
    landslide.length_m, landslide.width_m, landslide.elevation_min_m, landslide.elevation_mean_m,
    landslide.elevation_max_m, landslide.drop_m, landslide.slope_mean_deg, landslide.aspect_deg,
    landslide.h_over_l, landslide.volume_m3, landslide.volume_relation, landslide.score_mean,
    landslide.confidence, landslide.scene_id, landslide.acquired_at, landslide.touches_scene_edge,
    landslide.touches_cloud_edge, landslide.amalgamated, landslide.review_state,
    landslide.reviewed_by, landslide.reviewed_at, inventory.method,
    ST_X(landslide.centroid) AS longitude, ST_Y(landslide.centroid) AS latitude, landslide.geom
FROM scarp.landslide
JOIN scarp.inventory ON inventory.id = landslide.inventory_id;

CREATE VIEW scarp.v_landslides AS
SELECT * FROM scarp.v_landslides_all WHERE status = 'published';

CREATE VIEW scarp.v_observed_area AS
SELECT inventory.id AS inventory_id, event_id, version, status, observed_km2, observed AS geom
FROM scarp.inventory;

CREATE VIEW scarp.v_susceptibility AS
SELECT susceptibility.id AS susceptibility_id, susceptibility.event_id, inventory.version,
    susceptibility.current, susceptibility.path, susceptibility.auc_spatial,
    susceptibility.auc_spatial_low, susceptibility.auc_spatial_high, susceptibility.auc_random,
    susceptibility.auc_random_low, susceptibility.auc_random_high, susceptibility.model,
    susceptibility.factors, susceptibility.sampling, susceptibility.importance, susceptibility.roc,
    susceptibility.doubts, susceptibility.created_at, susceptibility.inventory_id,
    susceptibility.run_id, susceptibility.digest
FROM scarp.susceptibility
JOIN scarp.inventory ON inventory.id = susceptibility.inventory_id;

CREATE VIEW scarp.v_runs AS
SELECT run.id AS run_id, event_id, flow, flow_run_id, outcome, error, started_at, ended_at,
    inputs, parameters, weights_digest, code_commit, digest,
    (SELECT count(*) FROM scarp.run_scene WHERE run_id = run.id AND used) AS scenes_used,
    (SELECT count(*) FROM scarp.run_scene WHERE run_id = run.id AND NOT used) AS scenes_refused
FROM scarp.run;

COMMENT ON VIEW scarp.v_events IS
    'Events with their area of interest and the version of their published inventory.';
COMMENT ON VIEW scarp.v_inventories IS 'Every version of every inventory.';
COMMENT ON VIEW scarp.v_landslides IS
    'Landslides of the published inventory of each event: what most questions want.';
COMMENT ON VIEW scarp.v_landslides_all IS
    'Landslides of every inventory version, drafts and superseded ones among them.';
COMMENT ON VIEW scarp.v_observed_area IS
    'Ground seen by each inventory; outside it nothing is known, which is not "no landslide".';
COMMENT ON VIEW scarp.v_susceptibility IS 'Susceptibility maps and how well they predict.';
COMMENT ON VIEW scarp.v_runs IS 'What was run, from which inputs, and how it ended.';

-- A column of a view says what the column of the same name says in one of the tables it reads.
DO $$
DECLARE
    undocumented record;
BEGIN
    FOR undocumented IN
        SELECT DISTINCT ON (view.table_name, view.column_name)
            view.table_name, view.column_name,
            col_description(format('scarp.%I', base.table_name)::regclass, base.ordinal_position)
                AS words
        FROM (VALUES ('v_events', 'event', 1), ('v_events', 'inventory', 2),
                     ('v_inventories', 'inventory', 1),
                     ('v_landslides_all', 'landslide', 1), ('v_landslides_all', 'inventory', 2),
                     ('v_landslides', 'landslide', 1), ('v_landslides', 'inventory', 2),
                     ('v_observed_area', 'inventory', 1),
                     ('v_susceptibility', 'susceptibility', 1), ('v_susceptibility', 'inventory', 2),
                     ('v_runs', 'run', 1)) AS reads (view_name, table_name, preference)
        JOIN information_schema.columns AS view
            ON view.table_schema = 'scarp' AND view.table_name = reads.view_name
        JOIN information_schema.columns AS base
            ON base.table_schema = 'scarp' AND base.table_name = reads.table_name
            AND base.column_name = view.column_name
        ORDER BY view.table_name, view.column_name, reads.preference
    LOOP
        EXECUTE format('COMMENT ON COLUMN scarp.%I.%I IS %L', undocumented.table_name,
                       undocumented.column_name, undocumented.words);
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
COMMENT ON COLUMN scarp.v_inventories.inventory_id IS 'Identity of the inventory.';
COMMENT ON COLUMN scarp.v_landslides_all.landslide_id IS 'Identity of the landslide.';
COMMENT ON COLUMN scarp.v_landslides_all.longitude IS 'Longitude of the centroid, degrees east.';
COMMENT ON COLUMN scarp.v_landslides_all.latitude IS 'Latitude of the centroid, degrees north.';
COMMENT ON COLUMN scarp.v_landslides.landslide_id IS 'Identity of the landslide.';
COMMENT ON COLUMN scarp.v_landslides.longitude IS 'Longitude of the centroid, degrees east.';
COMMENT ON COLUMN scarp.v_landslides.latitude IS 'Latitude of the centroid, degrees north.';
COMMENT ON COLUMN scarp.v_observed_area.inventory_id IS 'Identity of the inventory.';
COMMENT ON COLUMN scarp.v_observed_area.geom IS 'Ground seen clear, EPSG:4326.';
COMMENT ON COLUMN scarp.v_susceptibility.susceptibility_id IS 'Identity of the map.';
COMMENT ON COLUMN scarp.v_runs.run_id IS 'Identity of the run; every product names its run.';
COMMENT ON COLUMN scarp.v_runs.scenes_used IS 'Number of scenes the run used.';
COMMENT ON COLUMN scarp.v_runs.scenes_refused IS 'Number of scenes it judged and refused.';
