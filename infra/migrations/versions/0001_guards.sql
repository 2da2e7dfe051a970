-- An inventory is evidence: what has been published stays as it was.

CREATE FUNCTION scarp.guard_inventory() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.status = 'draft' THEN
        RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
    END IF;
    IF TG_OP = 'UPDATE' AND OLD.status = 'published' AND NEW.status = 'superseded'
       AND to_jsonb(NEW) - '{status,superseded_at}'::text[]
         = to_jsonb(OLD) - '{status,superseded_at}'::text[] THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'inventory % of event % is % and immutable; store a new version',
        OLD.version, OLD.event_id, OLD.status USING ERRCODE = 'integrity_constraint_violation';
END $$;

CREATE TRIGGER guard_inventory BEFORE UPDATE OR DELETE ON scarp.inventory
    FOR EACH ROW EXECUTE FUNCTION scarp.guard_inventory();

-- Statement triggers with transition tables: one check for a COPY of any number of landslides.

CREATE FUNCTION scarp.guard_landslides() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM scarp.inventory
        WHERE status <> 'draft' AND id IN (SELECT DISTINCT inventory_id FROM changed)
    ) THEN
        RAISE EXCEPTION 'the inventory is published: its landslides cannot be added or removed'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER guard_landslides_added AFTER INSERT ON scarp.landslide
    REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION scarp.guard_landslides();

CREATE TRIGGER guard_landslides_removed AFTER DELETE ON scarp.landslide
    REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION scarp.guard_landslides();

CREATE FUNCTION scarp.guard_measures() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    review CONSTANT text[] := '{review_state,reviewed_by,reviewed_at}';
BEGIN
    IF EXISTS (
        SELECT FROM before JOIN after USING (id) JOIN scarp.inventory AS inventory
            ON inventory.id IN (before.inventory_id, after.inventory_id)
        WHERE inventory.status <> 'draft'
            AND to_jsonb(before.*) - review IS DISTINCT FROM to_jsonb(after.*) - review
    ) THEN
        RAISE EXCEPTION 'the inventory is published: only the review of a landslide can change'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER guard_measures AFTER UPDATE ON scarp.landslide
    REFERENCING OLD TABLE AS before NEW TABLE AS after
    FOR EACH STATEMENT EXECUTE FUNCTION scarp.guard_measures();

CREATE FUNCTION scarp.guard_truncate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'inventories are evidence and cannot be truncated'
        USING ERRCODE = 'integrity_constraint_violation';
END $$;

CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON scarp.inventory
    FOR EACH STATEMENT EXECUTE FUNCTION scarp.guard_truncate();

CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON scarp.landslide
    FOR EACH STATEMENT EXECUTE FUNCTION scarp.guard_truncate();
