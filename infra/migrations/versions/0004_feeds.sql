-- An id belongs to one event: where two claimed it, the one registered first keeps it.
INSERT INTO scarp.event_alias (id, event_id, position) SELECT id, id, 0 FROM scarp.event;
INSERT INTO scarp.event_alias (id, event_id, position)
SELECT alias.id, event.id, alias.position
FROM scarp.event, unnest(alternate_ids) WITH ORDINALITY AS alias (id, position)
ORDER BY event.registered_at, event.id, alias.position
ON CONFLICT (id) DO NOTHING;

-- Columns are added at the end, as ever. Nothing but the alternate ids comes from elsewhere now.
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

CREATE VIEW scarp.v_decisions AS
SELECT id AS decision_id, event_id, source, source_version, decision, reason, priority, shakemap,
    reported_at, decided_at, rules_digest, stored_at
FROM scarp.decision;

CREATE VIEW scarp.v_prior_maps AS
SELECT prior_map.id AS prior_map_id, event_id, model, source_version, expected_km2,
    probability_max, path, parameters, digest, created_at
FROM scarp.prior_map;

COMMENT ON VIEW scarp.v_decisions IS
    'What was decided about everything the feeds said, ignored events among them, and why.';
COMMENT ON VIEW scarp.v_prior_maps IS
    'What models expected of an event before any image was taken.';

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
        FROM (VALUES ('v_events', 'event'), ('v_decisions', 'decision'),
                     ('v_prior_maps', 'prior_map')) AS reads (view_name, table_name)
        JOIN information_schema.columns AS view
            ON view.table_schema = 'scarp' AND view.table_name = reads.view_name
        JOIN information_schema.columns AS base
            ON base.table_schema = 'scarp' AND base.table_name = reads.table_name
            AND base.column_name = view.column_name
    LOOP
        EXECUTE format('COMMENT ON COLUMN scarp.%I.%I IS %L', column_read.table_name,
                       column_read.column_name, column_read.words);
    END LOOP;
END $$;

COMMENT ON COLUMN scarp.v_events.alternate_ids IS 'Other ids of the same event.';
COMMENT ON COLUMN scarp.v_events.shakemap IS
    'ShakeMap its area of interest was drawn from; NULL if it was not.';
COMMENT ON COLUMN scarp.v_decisions.decision_id IS 'Identity; later ones are higher.';
COMMENT ON COLUMN scarp.v_prior_maps.prior_map_id IS 'Identity of the map.';
