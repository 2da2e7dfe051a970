-- Back to reviews as three columns of a landslide: what was confirmed or rejected stays so.

DROP VIEW scarp.v_reviews;
DROP VIEW scarp.v_screened;
DROP VIEW scarp.v_landslides;
DROP VIEW scarp.v_landslides_all;

CREATE OR REPLACE FUNCTION scarp.guard_measures() RETURNS trigger LANGUAGE plpgsql AS $$
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

UPDATE scarp.landslide
SET review_state = outcome.state, reviewed_by = review.reviewer, reviewed_at = review.reviewed_at
FROM scarp.review_outcome AS outcome JOIN scarp.review ON review.id = outcome.review_id
WHERE outcome.current AND outcome.state IN ('confirmed', 'rejected')
    AND outcome.inventory_id = landslide.inventory_id AND outcome.number = landslide.number;

DROP TABLE scarp.review_outcome;
DROP TABLE scarp.review;
DROP FUNCTION scarp.guard_reviews();
DROP FUNCTION scarp.near(geometry, geometry, double precision);
