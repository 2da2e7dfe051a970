-- Who may do what in the schema. Run after every migration and restore: it sets all grants anew.
--   scarp_writer  flows: reads and adds; changes what may change, but deletes nothing
--   scarp_reader  analysts: the views
DO $$
DECLARE
    role_name text;
    relation record;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['scarp_writer', 'scarp_reader'] LOOP
        CONTINUE WHEN EXISTS (SELECT FROM pg_roles WHERE rolname = role_name);
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', role_name);
            EXECUTE format('GRANT %I TO CURRENT_USER', role_name);
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN NULL;  -- made meanwhile by another
            WHEN insufficient_privilege THEN RETURN;  -- the owner can do without; `--role` says so
        END;
    END LOOP;
    REVOKE ALL ON ALL TABLES IN SCHEMA scarp FROM scarp_writer, scarp_reader;
    GRANT USAGE ON SCHEMA scarp TO scarp_writer, scarp_reader;
    FOR relation IN
        SELECT oid::regclass AS name, relkind, relname FROM pg_class
        WHERE relnamespace = 'scarp'::regnamespace AND relkind IN ('r', 'v')
    LOOP
        EXECUTE format('GRANT SELECT ON %s TO scarp_writer', relation.name);
        IF relation.relkind = 'v' THEN
            EXECUTE format('GRANT SELECT ON %s TO scarp_reader', relation.name);
        ELSIF relation.relname <> 'alembic_version' THEN
            EXECUTE format('GRANT INSERT, UPDATE ON %s TO scarp_writer', relation.name);
        END IF;
    END LOOP;
END $$;
