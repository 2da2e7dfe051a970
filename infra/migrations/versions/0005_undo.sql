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

COMMENT ON VIEW scarp.v_susceptibility IS 'Susceptibility maps and how well they predict.';

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
        WHERE table_schema = 'scarp' AND view.table_name = 'v_susceptibility'
            AND base.table_name IN ('susceptibility', 'inventory')
        ORDER BY view.column_name, base.table_name DESC
    LOOP
        EXECUTE format('COMMENT ON COLUMN scarp.v_susceptibility.%I IS %L',
                       column_read.column_name, column_read.words);
    END LOOP;
END $$;

COMMENT ON COLUMN scarp.v_susceptibility.susceptibility_id IS 'Identity of the map.';
