-- Reviews stand beside what was stored, which stays as it was; the views show the outcome.

CREATE OR REPLACE FUNCTION scarp.guard_measures() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM scarp.inventory
        WHERE status <> 'draft'
            AND id IN (SELECT inventory_id FROM before UNION SELECT inventory_id FROM after)
    ) THEN
        RAISE EXCEPTION 'the inventory is published: its landslides cannot be changed; review them'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION scarp.guard_reviews() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- A draft that is thrown away takes its reviews with it.
    IF TG_OP = 'DELETE'
       AND NOT EXISTS (SELECT FROM scarp.inventory WHERE id = OLD.inventory_id) THEN
        RETURN OLD;
    END IF;
    IF TG_OP = 'UPDATE' AND TG_TABLE_NAME = 'review_outcome' THEN
        -- An outcome stops being the current one, once; nothing else of it changes.
        IF to_jsonb(OLD) ->> 'current' = 'true'
           AND to_jsonb(NEW) = jsonb_set(to_jsonb(OLD), '{current}', 'false') THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'reviews are evidence: they are undone by another review, never changed'
        USING ERRCODE = 'integrity_constraint_violation';
END $$;

CREATE TRIGGER guard_reviews BEFORE UPDATE OR DELETE ON scarp.review
    FOR EACH ROW EXECUTE FUNCTION scarp.guard_reviews();
CREATE TRIGGER guard_reviews BEFORE UPDATE OR DELETE ON scarp.review_outcome
    FOR EACH ROW EXECUTE FUNCTION scarp.guard_reviews();
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON scarp.review
    FOR EACH STATEMENT EXECUTE FUNCTION scarp.guard_truncate();
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON scarp.review_outcome
    FOR EACH STATEMENT EXECUTE FUNCTION scarp.guard_truncate();

-- A plain SQL expression, which the planner sees through: the distance in degrees uses the spatial
-- index and is quick to judge, the one in metres does not. A degree of longitude is never shorter
-- than 111,319 m times the cosine of latitude, one of latitude than 110,574 m. Geodesic lines bulge
-- from straight ones: with a vertex every 10 km by less than 10 m.
CREATE FUNCTION scarp.near(geom geometry, place geometry, metres double precision)
RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT ST_DWithin(
        geom,
        ST_Segmentize(place::geography, 10000)::geometry,
        (metres + 10) / (110574 * cos(radians(least(89.9, (metres + 10) / 110574
            + greatest(abs(ST_YMin(place)), abs(ST_YMax(place)))))))
    ) AND ST_DWithin(geom::geography, place::geography, metres)
$$;

COMMENT ON FUNCTION scarp.near(geometry, geometry, double precision) IS
    'Whether geom comes within so many metres (geodesic) of place; both EPSG:4326; uses the index.';

-- Above: landslides as stored, unless a reviewer drew them anew. Below: those drawn.
CREATE VIEW scarp.v_landslides_all AS
SELECT landslide.id AS landslide_id, inventory.event_id, landslide.inventory_id, inventory.version,
    inventory.status, landslide.number, landslide.kind, landslide.area_m2, landslide.perimeter_m,
    landslide.length_m, landslide.width_m, landslide.elevation_min_m, landslide.elevation_mean_m,
    landslide.elevation_max_m, landslide.drop_m, landslide.slope_mean_deg, landslide.aspect_deg,
    landslide.h_over_l, landslide.volume_m3, landslide.volume_relation, landslide.score_mean,
    landslide.confidence, landslide.scene_id, landslide.acquired_at, landslide.touches_scene_edge,
    landslide.touches_cloud_edge, landslide.amalgamated,
    coalesce(outcome.state, landslide.review_state) AS review_state,
    CASE WHEN outcome.state IS NULL THEN landslide.reviewed_by ELSE review.reviewer END
        AS reviewed_by,
    CASE WHEN outcome.state IS NULL THEN landslide.reviewed_at ELSE review.reviewed_at END
        AS reviewed_at,
    inventory.method, ST_X(ST_Centroid(landslide.geom)) AS longitude,
    ST_Y(ST_Centroid(landslide.geom)) AS latitude, landslide.geom, landslide.length_axis,
    landslide.slope_min_deg, landslide.slope_max_deg, landslide.slope_std_deg,
    landslide.aspect_concentration, landslide.relief_share, landslide.score_max, landslide.body,
    coalesce(outcome.state, landslide.review_state) NOT IN ('rejected', 'replaced') AS stands,
    coalesce(outcome.made_from, '{}') AS made_from, outcome.review_id
FROM scarp.landslide
JOIN scarp.inventory ON inventory.id = landslide.inventory_id
LEFT JOIN scarp.review_outcome AS outcome
    ON outcome.inventory_id = landslide.inventory_id AND outcome.number = landslide.number
    AND outcome.current
LEFT JOIN scarp.review ON review.id = outcome.review_id
WHERE outcome.geom IS NULL AND (landslide.screened_by IS NULL OR outcome.state = 'confirmed')
UNION ALL
SELECT -outcome.id, inventory.event_id, outcome.inventory_id, inventory.version,
    inventory.status, outcome.number, outcome.kind, outcome.area_m2, outcome.perimeter_m,
    outcome.length_m, outcome.width_m, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
    outcome.volume_m3, outcome.volume_relation, NULL, NULL, outcome.scene_id, outcome.acquired_at,
    NULL, NULL, NULL, outcome.state, review.reviewer, review.reviewed_at,
    inventory.method, ST_X(ST_Centroid(outcome.geom)), ST_Y(ST_Centroid(outcome.geom)),
    outcome.geom, outcome.length_axis, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
    outcome.state NOT IN ('rejected', 'replaced'), outcome.made_from, outcome.review_id
FROM scarp.review_outcome AS outcome
JOIN scarp.review ON review.id = outcome.review_id
JOIN scarp.inventory ON inventory.id = outcome.inventory_id
WHERE outcome.current AND outcome.geom IS NOT NULL;

CREATE VIEW scarp.v_landslides AS
SELECT * FROM scarp.v_landslides_all WHERE status = 'published' AND stands;

CREATE VIEW scarp.v_screened AS
SELECT landslide.id AS landslide_id, inventory.event_id, landslide.inventory_id, inventory.version,
    inventory.status, landslide.number, landslide.screened_by, landslide.screen_reason,
    landslide.area_m2, landslide.slope_mean_deg, landslide.score_mean, landslide.confidence,
    landslide.scene_id, landslide.acquired_at, landslide.body,
    ST_X(ST_Centroid(landslide.geom)) AS longitude,
    ST_Y(ST_Centroid(landslide.geom)) AS latitude, landslide.geom
FROM scarp.landslide
JOIN scarp.inventory ON inventory.id = landslide.inventory_id
LEFT JOIN scarp.review_outcome AS outcome
    ON outcome.inventory_id = landslide.inventory_id AND outcome.number = landslide.number
    AND outcome.current
WHERE landslide.screened_by IS NOT NULL AND outcome.state IS NULL;

CREATE VIEW scarp.v_reviews AS
SELECT review.id AS review_id, inventory.event_id, review.inventory_id, inventory.version,
    review.action, review.numbers, review.reviewer, review.comment, review.reviewed_at,
    review.undoes, undoing.id AS undone_by
FROM scarp.review
JOIN scarp.inventory ON inventory.id = review.inventory_id
LEFT JOIN scarp.review AS undoing ON undoing.undoes = review.id;

COMMENT ON VIEW scarp.v_landslides IS
    'Landslides of the published inventory of each event, as reviewed: what most questions want.';
COMMENT ON VIEW scarp.v_landslides_all IS
    'Landslides of every inventory version, as reviewed, rejected and replaced ones among them.';
COMMENT ON VIEW scarp.v_screened IS
    'What the network took for landslides and a screen set aside, unless a reviewer spoke of it.';
COMMENT ON VIEW scarp.v_reviews IS 'Every review: what was done, by whom and when.';

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
        FROM (VALUES ('v_landslides_all', 'landslide', 1), ('v_landslides_all', 'inventory', 2),
                     ('v_landslides_all', 'review_outcome', 3),
                     ('v_landslides', 'landslide', 1), ('v_landslides', 'inventory', 2),
                     ('v_landslides', 'review_outcome', 3),
                     ('v_screened', 'landslide', 1), ('v_screened', 'inventory', 2),
                     ('v_reviews', 'review', 1), ('v_reviews', 'inventory', 2)
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
    FOR column_read IN
        SELECT * FROM unnest(ARRAY['v_landslides', 'v_landslides_all']) AS names (table_name),
            (VALUES
                ('landslide_id', 'Identity of the outline; negative where a reviewer drew it.'),
                ('review_state', 'unreviewed, confirmed, rejected, edited (drawn by a reviewer) or '
                    'replaced (by a split or merge).'),
                ('stands', 'A landslide as far as is known: neither rejected nor replaced.'),
                ('review_id', 'Its newest review; NULL where there is none.'),
                ('longitude', 'Longitude of the centroid, degrees east.'),
                ('latitude', 'Latitude of the centroid, degrees north.')
            ) AS said (column_name, words)
    LOOP
        EXECUTE format('COMMENT ON COLUMN scarp.%I.%I IS %L', column_read.table_name,
                       column_read.column_name, column_read.words);
    END LOOP;
END $$;

COMMENT ON COLUMN scarp.v_screened.landslide_id IS 'Identity of what was set aside.';
COMMENT ON COLUMN scarp.v_screened.longitude IS 'Longitude of the centroid, degrees east.';
COMMENT ON COLUMN scarp.v_screened.latitude IS 'Latitude of the centroid, degrees north.';
COMMENT ON COLUMN scarp.v_reviews.review_id IS 'Identity of the review; later ones are higher.';
COMMENT ON COLUMN scarp.v_reviews.undone_by IS 'The review that undid it; NULL while it holds.';
