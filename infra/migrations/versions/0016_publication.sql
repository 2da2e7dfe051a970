-- What is published holds what it says it does, whoever else writes at that moment.

-- A landslide refers to its inventory by a lock that lets others publish it: `guard_landslides` then
-- saw a draft, and the landslide came to be in a published inventory. Triggers fire in the order of
-- their names: this one locks the inventory, then the guards look at it.
CREATE FUNCTION scarp.draft_held() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM scarp.inventory
        WHERE id IN (SELECT DISTINCT inventory_id FROM changed) ORDER BY id FOR SHARE;
    RETURN NULL;
END $$;

CREATE TRIGGER draft_held_added AFTER INSERT ON scarp.landslide
    REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION scarp.draft_held();
CREATE TRIGGER draft_held_before AFTER UPDATE ON scarp.landslide
    REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION scarp.draft_held();
CREATE TRIGGER draft_held_after AFTER UPDATE ON scarp.landslide
    REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION scarp.draft_held();
CREATE TRIGGER draft_held_removed AFTER DELETE ON scarp.landslide
    REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION scarp.draft_held();

CREATE FUNCTION scarp.guard_publication() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    held bigint;
BEGIN
    IF TG_OP = 'INSERT' THEN
        RAISE EXCEPTION 'inventory % of event % is stored as a draft first, then published',
            NEW.version, NEW.event_id USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    SELECT count(*) INTO held FROM scarp.landslide
        WHERE inventory_id = OLD.id AND screened_by IS NULL;
    IF held <> NEW.landslide_count THEN
        RAISE EXCEPTION 'inventory % of event % says % landslides and holds %: not published',
            NEW.version, NEW.event_id, NEW.landslide_count, held
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER guard_publication_stored BEFORE INSERT ON scarp.inventory
    FOR EACH ROW WHEN (NEW.status <> 'draft') EXECUTE FUNCTION scarp.guard_publication();
CREATE TRIGGER guard_publication BEFORE UPDATE ON scarp.inventory
    FOR EACH ROW WHEN (OLD.status = 'draft' AND NEW.status <> 'draft')
    EXECUTE FUNCTION scarp.guard_publication();
