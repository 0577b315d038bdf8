-- Only the engine writes the books. Its functions carry SET ledger.writer = 'engine'; whatever else tries,
-- QuerySet.update() and the admin included, is refused. A setting can be made by whoever writes SQL, so this
-- stops mistakes; database roles stop attackers: the engine's doors are SECURITY DEFINER, and the application's
-- role may call them and no more (docs/database-roles.md). ENABLE ALWAYS: replication roles are no way round.

CREATE OR REPLACE FUNCTION ledger_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% on % refused: only the ledger engine writes the books', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END $$;

CREATE OR REPLACE FUNCTION ledger_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% on % refused: what is written there never changes', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END $$;

-- A transaction changes once at the most: its text becomes "erased", everything else stays.
CREATE OR REPLACE FUNCTION ledger_refuse_change_but_erasure() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE v_erased ledger_credittransaction := OLD;
BEGIN
    v_erased.reference_id := ''; v_erased.description := ''; v_erased.project := '';
    v_erased.metadata := NULL; v_erased.text_salt := NULL; v_erased.erased_at := NEW.erased_at;
    IF OLD.erased_at IS NULL AND NEW.erased_at IS NOT NULL AND NEW IS NOT DISTINCT FROM v_erased THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'UPDATE on % refused: what is written there never changes', TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END $$;

DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['wallet', 'grant', 'credittransaction', 'entry', 'restoration', 'debt', 'debtentry',
                             'hold', 'holdallocation'] LOOP
        EXECUTE format($f$CREATE TRIGGER engine_only BEFORE INSERT OR UPDATE OR DELETE ON ledger_%1$s FOR EACH STATEMENT
            WHEN (current_setting('ledger.writer', true) IS DISTINCT FROM 'engine') EXECUTE FUNCTION ledger_refuse()$f$, t);
        EXECUTE format('ALTER TABLE ledger_%s ENABLE ALWAYS TRIGGER engine_only', t);
    END LOOP;
    FOREACH t IN ARRAY ARRAY['wallet', 'grant', 'credittransaction', 'entry', 'restoration', 'debt', 'debtentry',
                             'hold', 'holdallocation', 'featureprice'] LOOP
        EXECUTE format('CREATE TRIGGER never_truncated BEFORE TRUNCATE ON ledger_%s FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change()', t);
        EXECUTE format('ALTER TABLE ledger_%s ENABLE ALWAYS TRIGGER never_truncated', t);
    END LOOP;
    -- Not even the engine edits or deletes history.
    FOREACH t IN ARRAY ARRAY['entry', 'restoration', 'debtentry', 'featureprice'] LOOP
        EXECUTE format('CREATE TRIGGER never_changed BEFORE UPDATE OR DELETE ON ledger_%s FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change()', t);
        EXECUTE format('ALTER TABLE ledger_%s ENABLE ALWAYS TRIGGER never_changed', t);
    END LOOP;
    FOREACH t IN ARRAY ARRAY['wallet', 'grant', 'credittransaction', 'debt', 'hold', 'holdallocation'] LOOP
        EXECUTE format('CREATE TRIGGER never_deleted BEFORE DELETE ON ledger_%s FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change()', t);
        EXECUTE format('ALTER TABLE ledger_%s ENABLE ALWAYS TRIGGER never_deleted', t);
    END LOOP;
END $$;

CREATE TRIGGER never_changed BEFORE UPDATE ON ledger_credittransaction
    FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change_but_erasure();
ALTER TABLE ledger_credittransaction ENABLE ALWAYS TRIGGER never_changed;

-- Room for heap-only updates of the rows that every spend changes.
ALTER TABLE ledger_wallet SET (fillfactor = 70);
ALTER TABLE ledger_grant SET (fillfactor = 70);

-- Rules of columns that hardly ever change, checked when they do. As CHECKs they would be compiled by every spend.
CREATE OR REPLACE FUNCTION ledger_refuse_rule() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%: %', TG_NAME, TG_ARGV[0] USING ERRCODE = 'check_violation', CONSTRAINT = TG_NAME, TABLE = TG_TABLE_NAME;
END $$;

CREATE TRIGGER ledger_wallet_has_one_owner BEFORE INSERT OR UPDATE OF user_id, team_id ON ledger_wallet FOR EACH ROW
    WHEN (num_nonnulls(NEW.user_id, NEW.team_id) <> 1)
    EXECUTE FUNCTION ledger_refuse_rule('a wallet belongs to one user or one team');
CREATE TRIGGER ledger_wallet_status_is_known BEFORE INSERT OR UPDATE OF status ON ledger_wallet FOR EACH ROW
    WHEN (NEW.status NOT IN ('active', 'paused', 'closed')) EXECUTE FUNCTION ledger_refuse_rule('unknown status');
CREATE TRIGGER ledger_grant_is_what_it_says BEFORE INSERT OR UPDATE OF amount, credit_type, paid_minor, currency, effective_at, expires_at
    ON ledger_grant FOR EACH ROW
    WHEN (NEW.amount NOT BETWEEN 1 AND 1000000000 OR NEW.credit_type NOT IN ('award', 'partner', 'purchase')
          OR NEW.paid_minor < 0 OR NEW.paid_minor > 0 AND (NEW.credit_type <> 'purchase' OR NEW.currency !~ '^[a-z]{3}$')
          OR NEW.expires_at <= NEW.effective_at)
    EXECUTE FUNCTION ledger_refuse_rule('1 to 1,000,000,000 credits of a known type, paid for only when purchased, in a currency, not expired from the start');
CREATE TRIGGER ledger_grant_gives_back_what_it_got BEFORE INSERT OR UPDATE OF clawback_target, clawed, pending, carried, carried_minor, returned_minor
    ON ledger_grant FOR EACH ROW
    WHEN (least(NEW.clawed, NEW.clawback_target - NEW.clawed, NEW.amount - NEW.clawback_target, NEW.pending, NEW.remaining - NEW.pending,
                NEW.carried, NEW.carried_minor, NEW.returned_minor, NEW.paid_minor - NEW.carried_minor - NEW.returned_minor) < 0)
    EXECUTE FUNCTION ledger_refuse_rule('clawed back, carried over and returned are parts of what was given and paid');
DO $$
DECLARE x record;
BEGIN
    FOR x IN SELECT tgname, tgrelid::regclass AS t FROM pg_trigger WHERE tgfoid = 'ledger_refuse_rule'::regproc LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', x.t, x.tgname);
    END LOOP;
END $$;
