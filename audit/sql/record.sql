-- What holds the record as it was written. ENABLE ALWAYS: replication roles are no way round.

-- Every event waits for its seal from the transaction that it comes with.
CREATE FUNCTION audit_await_seal() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO audit_unsealedevent (event_id) SELECT id FROM written;
    RETURN NULL;
END $$;
CREATE TRIGGER awaits_seal AFTER INSERT ON audit_auditevent REFERENCING NEW TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION audit_await_seal();
ALTER TABLE audit_auditevent ENABLE ALWAYS TRIGGER awaits_seal;
INSERT INTO audit_unsealedevent (event_id) SELECT id FROM audit_auditevent;

-- An event changes once at the most: its text becomes "erased", everything else stays. Events that say which texts
-- were erased keep theirs, which are numbers.
DROP TRIGGER audit_auditevent_never_changes ON audit_auditevent;
CREATE TRIGGER audit_auditevent_never_changes BEFORE DELETE OR TRUNCATE ON audit_auditevent
    FOR EACH STATEMENT EXECUTE FUNCTION audit_auditevent_refuse_change();
ALTER TABLE audit_auditevent ENABLE ALWAYS TRIGGER audit_auditevent_never_changes;

CREATE TRIGGER audit_auditevent_is_erased_by_function BEFORE UPDATE ON audit_auditevent FOR EACH STATEMENT
    WHEN (current_setting('audit.writer', true) IS DISTINCT FROM 'erasure')
    EXECUTE FUNCTION audit_auditevent_refuse_change();
ALTER TABLE audit_auditevent ENABLE ALWAYS TRIGGER audit_auditevent_is_erased_by_function;

CREATE FUNCTION audit_refuse_change_but_erasure() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE v_erased audit_auditevent := OLD;
BEGIN
    v_erased.actor_label := ''; v_erased.on_behalf_of_label := ''; v_erased.target_label := '';
    v_erased.before := NULL; v_erased.after := NULL; v_erased.reason := ''; v_erased.address := NULL;
    v_erased.text_salt := NULL; v_erased.erased_at := NEW.erased_at;
    IF OLD.erased_at IS NULL AND NEW.erased_at IS NOT NULL AND OLD.action <> 'audit.text.erased'
       AND NEW IS NOT DISTINCT FROM v_erased THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'audit events are never changed: % refused', TG_OP
        USING ERRCODE = 'integrity_constraint_violation', TABLE = 'audit_auditevent';
END $$;
CREATE TRIGGER audit_auditevent_is_erased_once BEFORE UPDATE ON audit_auditevent
    FOR EACH ROW EXECUTE FUNCTION audit_refuse_change_but_erasure();
ALTER TABLE audit_auditevent ENABLE ALWAYS TRIGGER audit_auditevent_is_erased_once;

-- Erase the text of events done by or for these users, about these targets, or with one of these words in it. It says
-- itself in the record whose text went: what was erased without that is found out. Answers how many were erased.
CREATE FUNCTION audit_erase_text(p_users bigint[], p_target_types text[], p_target_ids text[], p_words text[], p_at timestamptz)
RETURNS bigint LANGUAGE plpgsql SET audit.writer = 'erasure'
SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE v_erased bigint[];
BEGIN
    WITH erased AS (
        UPDATE audit_auditevent AS e
        SET actor_label = '', on_behalf_of_label = '', target_label = '', before = NULL, after = NULL, reason = '',
            address = NULL, text_salt = NULL, erased_at = p_at
        WHERE e.erased_at IS NULL AND e.action <> 'audit.text.erased' AND (
            e.actor_id = ANY (p_users) OR e.on_behalf_of_id = ANY (p_users)
            OR (e.target_type, e.target_id) IN (SELECT * FROM unnest(p_target_types, p_target_ids))
            OR EXISTS (
                SELECT FROM unnest(p_words) AS w(word)
                WHERE w.word <> '' AND strpos(lower(concat_ws(chr(31), e.actor_label, e.on_behalf_of_label, e.target_label,
                      e.before, e.after, e.reason, host(e.address))), lower(w.word)) > 0))
        RETURNING e.id)
    SELECT array_agg(id ORDER BY id) INTO v_erased FROM erased;
    IF v_erased IS NULL THEN RETURN 0; END IF;
    INSERT INTO audit_auditevent (at, action, actor_label, on_behalf_of_label, target_type, target_id, target_label, after,
                                  reason, request_id)
    VALUES (p_at, 'audit.text.erased', 'The system', '', 'audit.auditevent', '',
            format('%s audit events', cardinality(v_erased)), jsonb_build_object('events', v_erased), '', '');
    RETURN cardinality(v_erased);
END $$;

CREATE FUNCTION audit_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% on % refused: what is written there never changes', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'integrity_constraint_violation';
END $$;

-- Seals are added to and never changed. What waits for its seal is taken out by the sealer, and changed by nobody.
DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['auditseal', 'sealedrange', 'checkpoint', 'verification'] LOOP
        EXECUTE format('CREATE TRIGGER never_changed BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_%s FOR EACH STATEMENT
            EXECUTE FUNCTION audit_refuse_change()', t);
        EXECUTE format('ALTER TABLE audit_%s ENABLE ALWAYS TRIGGER never_changed', t);
    END LOOP;
END $$;
CREATE TRIGGER never_changed BEFORE UPDATE OR TRUNCATE ON audit_unsealedevent
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change();
ALTER TABLE audit_unsealedevent ENABLE ALWAYS TRIGGER never_changed;
