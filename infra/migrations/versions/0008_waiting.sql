-- What nobody has seen: the area less what the newest inventory that was mapped observed.
CREATE VIEW scarp.v_waiting AS
SELECT wait.event_id, event.title, event.state, wait.since, wait.looked_at, wait.next_look_at,
    wait.deadline, wait.seen_share, wait.wanted_share, wait.reason, wait.scenes, wait.ended_at,
    wait.outcome, mapped.version,
    CASE WHEN mapped.observed IS NULL THEN aoi.geom
         ELSE ST_Multi(ST_CollectionExtract(ST_Difference(aoi.geom, mapped.observed), 3))
    END AS geom
FROM scarp.imagery_wait AS wait
JOIN scarp.event ON event.id = wait.event_id
JOIN scarp.aoi ON aoi.event_id = wait.event_id
LEFT JOIN LATERAL (
    SELECT version, observed FROM scarp.inventory
    WHERE inventory.event_id = wait.event_id AND method NOT IN ('imported', 'manual')
    ORDER BY version DESC LIMIT 1
) AS mapped ON true;

COMMENT ON VIEW scarp.v_waiting IS
    'Events that wait, or waited, for clear imagery: outcome is NULL while they do.';

-- As in 0001: a column of a view says what the column of the same name says in its table.
DO $$
DECLARE
    column_read record;
BEGIN
    FOR column_read IN
        SELECT DISTINCT ON (view.column_name) view.column_name,
            col_description(format('scarp.%I', base.table_name)::regclass, base.ordinal_position)
                AS words
        FROM information_schema.columns AS view
        JOIN information_schema.columns AS base USING (table_schema, column_name)
        WHERE table_schema = 'scarp' AND view.table_name = 'v_waiting'
            AND base.table_name IN ('imagery_wait', 'event')
        ORDER BY view.column_name, base.table_name DESC
    LOOP
        EXECUTE format('COMMENT ON COLUMN scarp.v_waiting.%I IS %L',
                       column_read.column_name, column_read.words);
    END LOOP;
END $$;

COMMENT ON COLUMN scarp.v_waiting.version IS
    'Newest inventory version that was mapped from imagery; NULL if none was yet.';
COMMENT ON COLUMN scarp.v_waiting.geom IS 'Ground that nobody has seen yet, EPSG:4326.';
