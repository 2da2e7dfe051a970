-- Landslides are counted as they stand after reviews, by the one rule of `v_landslides_all`.

-- Counting takes as long as there are landslides: what nobody reviewed stands as it was stored.
CREATE OR REPLACE VIEW scarp.v_inventories AS
SELECT inventory.id AS inventory_id, event_id, version, status, method, threshold,
    minimum_mapping_unit_m2, landslide_count, area_m2, observed_km2, scene_ids, doubts, licence,
    attribution, created_at, published_at, superseded_at, run_id, digest, screens,
    CASE WHEN EXISTS (SELECT FROM scarp.review WHERE review.inventory_id = inventory.id)
        THEN (SELECT count(*)::integer FROM scarp.v_landslides_all AS reviewed
              WHERE reviewed.inventory_id = inventory.id AND stands)
        ELSE landslide_count END AS standing_count,
    CASE WHEN EXISTS (SELECT FROM scarp.review WHERE review.inventory_id = inventory.id)
        THEN (SELECT coalesce(sum(reviewed.area_m2), 0) FROM scarp.v_landslides_all AS reviewed
              WHERE reviewed.inventory_id = inventory.id AND stands)
        ELSE area_m2 END AS standing_area_m2
FROM scarp.inventory;

CREATE OR REPLACE VIEW scarp.v_events AS
SELECT event.id AS event_id, event.kind, event.title, event.occurred_at, event.magnitude,
    event.magnitude_type, event.depth_km, event.rainfall_mm, event.duration_h, event.source,
    event.source_version,
    ARRAY(SELECT event_alias.id FROM scarp.event_alias WHERE event_alias.event_id = event.id
          AND event_alias.id <> event.id ORDER BY position, event_alias.id) AS alternate_ids,
    event.state, event.registered_at, event.updated_at,
    aoi.how AS aoi_how, aoi.area_km2 AS aoi_km2, published.version AS published_version,
    published.standing_count AS landslide_count, event.point AS geom, aoi.geom AS aoi,
    event.priority, event.priority_how, event.forced, event.merged_into, event.reported_at,
    shakemap.identity AS shakemap
FROM scarp.event
JOIN scarp.aoi ON aoi.event_id = event.id
LEFT JOIN scarp.v_inventories AS published
    ON published.event_id = event.id AND published.status = 'published'
LEFT JOIN scarp.shakemap ON shakemap.event_id = event.id AND shakemap.in_use;

-- Maps of drafts stand beside that of the published version, and looked like it.
CREATE OR REPLACE VIEW scarp.v_susceptibility AS
SELECT susceptibility.id AS susceptibility_id, susceptibility.event_id, inventory.version,
    susceptibility.current, susceptibility.path, susceptibility.auc_spatial,
    susceptibility.auc_spatial_low, susceptibility.auc_spatial_high, susceptibility.auc_random,
    susceptibility.auc_random_low, susceptibility.auc_random_high, susceptibility.model,
    susceptibility.factors, susceptibility.sampling, susceptibility.importance, susceptibility.roc,
    susceptibility.doubts, susceptibility.created_at, susceptibility.inventory_id,
    susceptibility.run_id, susceptibility.digest, susceptibility.kind, susceptibility.learned_from,
    susceptibility.auc_random - susceptibility.auc_spatial AS auc_gap, susceptibility.settings,
    susceptibility.metrics, susceptibility.classes, susceptibility.factor_table,
    susceptibility.absent_factors, susceptibility.compared, susceptibility.applicable_share,
    susceptibility.classes_path, susceptibility.uncertainty_path,
    susceptibility.applicability_path, inventory.status
FROM scarp.susceptibility
LEFT JOIN scarp.inventory ON inventory.id = susceptibility.inventory_id;

COMMENT ON COLUMN scarp.v_events.landslide_count IS
    'Landslides in it, as reviewed; 0 is a finding, NULL is not known.';
COMMENT ON COLUMN scarp.v_inventories.landslide_count IS
    'Landslides as they were stored, without those screened; 0 is valid.';
COMMENT ON COLUMN scarp.v_inventories.area_m2 IS 'Sum of the areas as they were stored, in m².';
COMMENT ON COLUMN scarp.v_inventories.standing_count IS
    'Landslides that stand after reviews; 0 is valid.';
COMMENT ON COLUMN scarp.v_inventories.standing_area_m2 IS
    'Sum of the areas of those that stand, in m².';
COMMENT ON COLUMN scarp.v_landslides.perimeter_m IS
    'Geodesic perimeter in m, without the rims of holes.';
COMMENT ON COLUMN scarp.v_landslides_all.perimeter_m IS
    'Geodesic perimeter in m, without the rims of holes.';
COMMENT ON COLUMN scarp.v_susceptibility.status IS
    'Of that inventory: draft, published or superseded; NULL if it was carried over.';
