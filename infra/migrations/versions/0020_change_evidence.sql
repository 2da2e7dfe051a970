CREATE VIEW scarp.v_change_evidence AS
SELECT evidence.id AS evidence_id, evidence.event_id, event.title, evidence.method,
    evidence.threshold, evidence.comparisons, evidence.path, evidence.looked_km2,
    evidence.changed_km2, evidence.created_at, evidence.geom
FROM scarp.change_evidence AS evidence
JOIN scarp.event ON event.id = evidence.event_id;

COMMENT ON VIEW scarp.v_change_evidence IS
    'Ground whose radar backscatter changed across an event: evidence of change, not landslides.';

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
        WHERE table_schema = 'scarp' AND view.table_name = 'v_change_evidence'
            AND base.table_name IN ('change_evidence', 'event')
        ORDER BY view.column_name, base.table_name
    LOOP
        EXECUTE format('COMMENT ON COLUMN scarp.v_change_evidence.%I IS %L',
                       column_read.column_name, column_read.words);
    END LOOP;
END $$;

COMMENT ON COLUMN scarp.v_change_evidence.evidence_id IS 'Identity of the evidence.';
