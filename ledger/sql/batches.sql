-- What a batch is may be read again at any time: what was asked for never changes, its plan is made while it is a
-- draft and then stays, and its status goes one way. ENABLE ALWAYS: replication roles are no way round.

CREATE FUNCTION ledger_batch_guard() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    v_plan constant text[] := ARRAY['planned_at', 'plan_expires_at', 'plan_hash', 'plan'];
    v_run constant text[] := ARRAY['confirmed_at', 'approval_id', 'job_id'];
    v_words constant text[] := ARRAY['reason', 'selection'];
    v_refusal text;
BEGIN
    IF TG_OP = 'INSERT' THEN
        v_refusal := CASE WHEN NEW.status <> 'draft' OR num_nonnulls(NEW.planned_at, NEW.confirmed_at, NEW.approval_id, NEW.job_id) > 0
                          THEN 'a batch begins as a draft' END;
    ELSIF TG_OP = 'UPDATE' THEN
        v_refusal := CASE
            WHEN to_jsonb(NEW) - 'status' - v_plan - v_run - v_words IS DISTINCT FROM to_jsonb(OLD) - 'status' - v_plan - v_run - v_words
                THEN 'what a batch is to do never changes'
            WHEN NEW.reason NOT IN (OLD.reason, '') OR NEW.selection NOT IN (OLD.selection, OLD.selection #- '{query,q}')
                THEN 'the words of a batch change by being erased, and not otherwise'
            WHEN OLD.status <> NEW.status AND (OLD.status, NEW.status) NOT IN (
                     ('draft', 'planned'), ('planned', 'draft'), ('planned', 'waiting'), ('planned', 'started'), ('waiting', 'started'),
                     ('draft', 'discarded'), ('planned', 'discarded'), ('waiting', 'discarded'))
                THEN format('a batch does not go from %s to %s', OLD.status, NEW.status)
            WHEN (OLD.planned_at, OLD.plan_expires_at, OLD.plan_hash, OLD.plan) IS DISTINCT FROM
                 (NEW.planned_at, NEW.plan_expires_at, NEW.plan_hash, NEW.plan) AND (OLD.status, NEW.status) <> ('draft', 'planned')
                THEN 'a plan is frozen'
            WHEN (OLD.confirmed_at, OLD.approval_id, OLD.job_id) IS DISTINCT FROM (NEW.confirmed_at, NEW.approval_id, NEW.job_id)
                 AND (OLD.status = NEW.status OR NEW.status NOT IN ('waiting', 'started')
                      OR OLD.approval_id <> NEW.approval_id OR NEW.confirmed_at IS NULL)
                THEN 'a batch is confirmed once'
            WHEN (NEW.status = 'started') <> (NEW.job_id IS NOT NULL) OR NEW.status = 'waiting' AND NEW.approval_id IS NULL
                THEN 'a batch has an approval when it waits for one, and a job when it has started' END;
    ELSE
        v_refusal := 'batches are kept: ' || TG_OP || ' refused';
    END IF;
    IF v_refusal IS NOT NULL THEN
        RAISE EXCEPTION '%', v_refusal USING ERRCODE = 'integrity_constraint_violation', TABLE = 'ledger_batch';
    END IF;
    RETURN NEW;
END $$;

-- Items come and go while their batch is a draft; so do those left out, and what did not move is added while it runs.
-- Once for each statement, however many rows: a look at each batch of theirs.
CREATE FUNCTION ledger_batch_lines_guard() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE v_is_other boolean;
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        v_is_other := true;
    ELSE                                 -- whoever plans or starts the batch meanwhile waits until we are through
        PERFORM 1 FROM ledger_batch WHERE id IN (SELECT batch_id FROM changed) FOR SHARE;
    END IF;
    IF v_is_other THEN
        NULL;
    ELSIF TG_TABLE_NAME = 'ledger_batchitem' THEN
        SELECT EXISTS (SELECT 1 FROM (SELECT DISTINCT batch_id FROM changed) c LEFT JOIN ledger_batch b ON b.id = c.batch_id
                       WHERE b.status IS DISTINCT FROM 'draft') INTO v_is_other;
    ELSE
        SELECT EXISTS (SELECT 1 FROM (SELECT DISTINCT batch_id, is_at_run FROM changed) c LEFT JOIN ledger_batch b ON b.id = c.batch_id
                       WHERE (c.is_at_run, b.status) NOT IN ((false, 'draft'), (true, 'started'))
                          OR b.id IS NULL OR c.is_at_run AND TG_OP = 'DELETE') INTO v_is_other;
    END IF;
    IF v_is_other THEN
        RAISE EXCEPTION '% on % refused: the plan of a batch is frozen', TG_OP, TG_TABLE_NAME
            USING ERRCODE = 'integrity_constraint_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION ledger_batch_lines_stay() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF to_jsonb(NEW) - 'note' IS DISTINCT FROM to_jsonb(OLD) - 'note' OR NEW.note NOT IN (OLD.note, '') THEN
        RAISE EXCEPTION 'UPDATE on % refused: a line of a batch never changes', TG_TABLE_NAME
            USING ERRCODE = 'integrity_constraint_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER ledger_batch_guards_rows BEFORE INSERT OR UPDATE OR DELETE ON ledger_batch
    FOR EACH ROW EXECUTE FUNCTION ledger_batch_guard();
CREATE TRIGGER ledger_batch_guards_table BEFORE TRUNCATE ON ledger_batch
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_batch_guard();
ALTER TABLE ledger_batch ENABLE ALWAYS TRIGGER ledger_batch_guards_rows;
ALTER TABLE ledger_batch ENABLE ALWAYS TRIGGER ledger_batch_guards_table;
DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['ledger_batchitem', 'ledger_batchexception'] LOOP
        EXECUTE format('CREATE TRIGGER frozen_for_insert AFTER INSERT ON %I REFERENCING NEW TABLE AS changed
                        FOR EACH STATEMENT EXECUTE FUNCTION ledger_batch_lines_guard()', t);
        EXECUTE format('CREATE TRIGGER frozen_for_delete AFTER DELETE ON %I REFERENCING OLD TABLE AS changed
                        FOR EACH STATEMENT EXECUTE FUNCTION ledger_batch_lines_guard()', t);
        EXECUTE format('CREATE TRIGGER frozen_for_truncate BEFORE TRUNCATE ON %I
                        FOR EACH STATEMENT EXECUTE FUNCTION ledger_batch_lines_guard()', t);
        EXECUTE format('CREATE TRIGGER frozen_for_update BEFORE UPDATE ON %I FOR EACH ROW EXECUTE FUNCTION ledger_batch_lines_stay()', t);
        EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER frozen_for_insert, ENABLE ALWAYS TRIGGER frozen_for_delete,
                        ENABLE ALWAYS TRIGGER frozen_for_truncate, ENABLE ALWAYS TRIGGER frozen_for_update', t);
    END LOOP;
END $$;
