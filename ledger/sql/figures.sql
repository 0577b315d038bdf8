-- What the books moved, day by day: what ledger.services.figures adds up, and how what it has not come to yet is read.
-- Nothing here writes. STABLE: together with the statement that calls them they see one state of the books.

-- The stretches of time in which days begin in one zone and a used credit costs us one amount, as the versions of the
-- settings say. A day never comes back: first_day is the one that was on when the stretch began, and what its zone would
-- put before that day counts to it.
CREATE FUNCTION ledger_stretches()
RETURNS TABLE (since timestamptz, until timestamptz, time_zone text, first_day date, unit_cost numeric, cost_currency text)
LANGUAGE sql STABLE ROWS 1 AS $$
    WITH version (at, zone, cost, currency) AS (
        SELECT '-infinity'::timestamptz, 'UTC', 0.0183, 'zar'          -- the defaults of CreditSettings
        UNION ALL
        (SELECT DISTINCT ON (changed_at) changed_at, time_zone, recovery_cost, lower(recovery_currency)
         FROM ledger_creditsettings ORDER BY changed_at, id DESC)
    ), change AS (
        SELECT *, lag(zone) OVER earlier AS zone_before, lag(cost) OVER earlier AS cost_before,
               lag(currency) OVER earlier AS currency_before
        FROM version WINDOW earlier AS (ORDER BY at)
    )
    SELECT at, lead(at, 1, 'infinity') OVER (ORDER BY at), zone,
           max((at AT TIME ZONE zone_before)::date) OVER (ORDER BY at ROWS UNBOUNDED PRECEDING), cost, currency
    FROM change WHERE (zone, cost, currency) IS DISTINCT FROM (zone_before, cost_before, currency_before)
$$;

-- The day of business that an instant belongs to.
CREATE FUNCTION ledger_business_day(p_at timestamptz) RETURNS date LANGUAGE sql STABLE AS $$
    SELECT greatest((p_at AT TIME ZONE time_zone)::date, first_day) FROM ledger_stretches()
    WHERE p_at >= since AND p_at < until
$$;

-- Whether money was paid for a grant, or for the one that it carries on.
CREATE FUNCTION ledger_is_funded(p_grant uuid) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
DECLARE v_grant uuid := p_grant; v_paid bigint;
BEGIN
    WHILE v_grant IS NOT NULL LOOP
        SELECT paid_minor, carried_from_id INTO v_paid, v_grant FROM ledger_grant WHERE id = v_grant;
        IF v_paid > 0 THEN RETURN true; END IF;
    END LOOP;
    RETURN false;
END $$;

-- The credits that transactions with ids in [p_since, p_until) moved. reverses and feature are of the transaction given
-- back where there is one, and so is the unit cost, told of free credits that are used. A transaction, and the debt that
-- it opened or repaid, counts with its first line.
CREATE FUNCTION ledger_credit_moves(p_since uuid, p_until uuid)
RETURNS TABLE (day date, kind text, credit_type text, is_funded boolean, source text, feature text, reverses text,
               unit_cost numeric, cost_currency text, credits bigint, transactions bigint, debt bigint)
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_custom_plan AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT line.day, line.kind, line.credit_type, line.is_funded, line.source, line.feature, line.reverses,
           CASE WHEN is_free_use THEN cost ELSE 0 END, CASE WHEN is_free_use THEN currency ELSE '' END,
           sum(line.amount)::bigint, count(*) FILTER (WHERE is_first), coalesce(sum(line.debt) FILTER (WHERE is_first), 0)::bigint
    FROM (
        SELECT greatest((t.recorded_at AT TIME ZONE s.time_zone)::date, s.first_day) AS day, t.kind::text,
               coalesce(e.credit_type, '')::text AS credit_type, coalesce(f.is_funded, false) AS is_funded,
               CASE WHEN e.amount > 0 AND t.kind IN ('award', 'partner', 'purchase', 'allocation', 'adjustment')
                    THEN g.source ELSE '' END::text AS source,
               coalesce(o.feature, t.feature)::text AS feature, coalesce(o.kind, '')::text AS reverses,
               coalesce(c.unit_cost, s.unit_cost) AS cost, coalesce(c.cost_currency, s.cost_currency) AS currency,
               coalesce(o.kind, t.kind) = 'usage' AND e.amount IS NOT NULL AND NOT coalesce(f.is_funded, false) AS is_free_use,
               coalesce(e.amount, 0) AS amount, t.debt, coalesce(e.position, 1) = 1 AS is_first
        FROM ledger_credittransaction t
        JOIN ledger_stretches() s ON t.recorded_at >= s.since AND t.recorded_at < s.until
        -- OFFSET 0: an index probe for each that gives something back, however many there are
        LEFT JOIN LATERAL (SELECT x.kind, x.feature, x.recorded_at FROM ledger_credittransaction x
                           WHERE x.id = t.reverses_id OFFSET 0) o ON true
        LEFT JOIN ledger_stretches() c ON o.recorded_at >= c.since AND o.recorded_at < c.until
        LEFT JOIN ledger_entry e ON e.transaction_id = t.id
        LEFT JOIN ledger_grant g ON g.id = e.grant_id
        LEFT JOIN LATERAL (SELECT e.credit_type = 'purchase' AND (g.paid_minor > 0 OR g.carried_from_id IS NOT NULL
                                  AND ledger_is_funded(g.carried_from_id)) AS is_funded) f ON true
        WHERE t.id >= p_since AND t.id < p_until) AS line
    GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9;
END $$;

-- The state of each paid grant at the end of each day that transactions with ids in [p_since, p_until) change something
-- about: what ledger_grantday knows of it (nothing, if p_afresh) and what they moved, in credits; what follows from that by
-- DESIGN 4's money rule, and by how much the day's money is more (new_…) than was known, in minor units.
--
-- Breakage is what expiry adds to what use alone would make revenue, so that the two sum to what is recognised.
CREATE FUNCTION ledger_money_moves(p_since uuid, p_until uuid, p_afresh boolean DEFAULT false)
RETURNS TABLE (grant_id uuid, day date, currency text, used bigint, expired bigint, taken bigint, remaining bigint, carried bigint,
               carried_minor bigint, returned_minor bigint, used_minor bigint, breakage_minor bigint, released_minor bigint,
               new_paid bigint, new_brought_in bigint, new_returned bigint, new_used bigint, new_breakage bigint, new_released bigint)
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_custom_plan AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH tx AS MATERIALIZED (
        SELECT t.id, t.kind, greatest((t.recorded_at AT TIME ZONE s.time_zone)::date, s.first_day) AS day
        FROM ledger_credittransaction t JOIN ledger_stretches() s ON t.recorded_at >= s.since AND t.recorded_at < s.until
        WHERE t.id >= p_since AND t.id < p_until
    ), line AS (                         -- what moved: in and out, given back, carried over, and money returned
        SELECT e.grant_id, tx.day,
               CASE WHEN e.amount < 0 AND tx.kind IN ('usage', 'debt_repayment') THEN -e.amount ELSE 0 END AS used,
               CASE WHEN e.amount < 0 AND tx.kind = 'expiry' THEN -e.amount ELSE 0 END AS expired,
               CASE WHEN e.amount < 0 AND tx.kind IN ('adjustment', 'void') THEN -e.amount ELSE 0 END AS taken,
               e.amount AS remaining, CASE WHEN n.id IS NOT NULL THEN -e.amount ELSE 0 END AS carried,
               coalesce(n.paid_minor, 0) AS carried_minor, 0::bigint AS returned_minor,
               CASE WHEN e.amount > 0 AND tx.kind IN ('purchase', 'allocation', 'adjustment') THEN g.paid_minor ELSE 0 END AS paid
        -- OFFSET 0: from the transactions to their lines and grants by key, however few those are that were paid for
        FROM tx CROSS JOIN LATERAL (SELECT * FROM ledger_entry x WHERE x.transaction_id = tx.id OFFSET 0) e
        CROSS JOIN LATERAL (SELECT * FROM ledger_grant x WHERE x.id = e.grant_id AND x.paid_minor > 0 OFFSET 0) g
        LEFT JOIN LATERAL (              -- the line after one that carries credits over puts them into their new grant
            SELECT x.id, x.paid_minor FROM ledger_entry y JOIN ledger_grant x ON x.id = y.grant_id
            WHERE tx.kind <> 'usage' AND e.amount < 0 AND y.transaction_id = e.transaction_id AND y.position = e.position + 1
              AND y.amount > 0 AND x.carried_from_id = e.grant_id OFFSET 0) n ON true
        UNION ALL
        SELECT e.grant_id, tx.day, CASE WHEN o.kind IN ('usage', 'debt_repayment') THEN -r.amount ELSE 0 END,
               CASE WHEN o.kind = 'expiry' THEN -r.amount ELSE 0 END,
               CASE WHEN o.kind IN ('adjustment', 'void') THEN -r.amount ELSE 0 END, 0, 0, 0, 0, 0
        FROM tx CROSS JOIN LATERAL (SELECT * FROM ledger_restoration x WHERE x.transaction_id = tx.id OFFSET 0) r
        CROSS JOIN LATERAL (SELECT * FROM ledger_entry x WHERE x.transaction_id = r.original_id AND x.position = r.position OFFSET 0) e
        CROSS JOIN LATERAL (SELECT * FROM ledger_credittransaction x WHERE x.id = r.original_id OFFSET 0) o
        CROSS JOIN LATERAL (SELECT * FROM ledger_grant x WHERE x.id = e.grant_id AND x.paid_minor > 0 OFFSET 0) g
        WHERE tx.kind <> 'usage'
        UNION ALL
        SELECT m.grant_id, tx.day, 0, 0, 0, 0, 0, 0, m.amount_minor, 0
        FROM tx CROSS JOIN LATERAL (SELECT * FROM ledger_moneyreturn x WHERE x.transaction_id = tx.id OFFSET 0) m
        CROSS JOIN LATERAL (SELECT * FROM ledger_grant x WHERE x.id = m.grant_id AND x.paid_minor > 0 OFFSET 0) g
        WHERE tx.kind <> 'usage'
    ), moved AS MATERIALIZED (
        SELECT grant_id, day, sum(used) AS used, sum(expired) AS expired, sum(taken) AS taken, sum(remaining) AS remaining,
               sum(carried) AS carried, sum(carried_minor) AS carried_minor, sum(returned_minor) AS returned_minor, sum(paid) AS paid
        FROM line GROUP BY 1, 2
    ), since AS (
        SELECT grant_id, min(day) AS day FROM moved GROUP BY 1
    ), known AS (                        -- of those grants, from the day before the first of those days on
        SELECT k.* FROM since CROSS JOIN LATERAL (
            (SELECT * FROM ledger_grantday x WHERE x.grant_id = since.grant_id AND x.day < since.day ORDER BY x.day DESC LIMIT 1)
            UNION ALL
            (SELECT * FROM ledger_grantday x WHERE x.grant_id = since.grant_id AND x.day >= since.day)) k
        WHERE NOT p_afresh
    ), step AS (                         -- day by day, also of what is known
        SELECT grant_id, day, used, expired, taken, remaining, carried, carried_minor, returned_minor, paid,
               0 AS was_returned, 0 AS was_used, 0 AS was_breakage, 0 AS was_released
        FROM moved
        UNION ALL
        SELECT grant_id, day, used - lag(used, 1, 0::bigint) OVER days, expired - lag(expired, 1, 0::bigint) OVER days,
               taken - lag(taken, 1, 0::bigint) OVER days, remaining - lag(remaining, 1, 0::bigint) OVER days,
               carried - lag(carried, 1, 0::bigint) OVER days, carried_minor - lag(carried_minor, 1, 0::bigint) OVER days,
               returned_minor - lag(returned_minor, 1, 0::bigint) OVER days, 0,
               returned_minor - lag(returned_minor, 1, 0::bigint) OVER days, used_minor - lag(used_minor, 1, 0::bigint) OVER days,
               breakage_minor - lag(breakage_minor, 1, 0::bigint) OVER days,
               released_minor - lag(released_minor, 1, 0::bigint) OVER days
        FROM known WINDOW days AS (PARTITION BY grant_id ORDER BY day)
    ), state AS (
        SELECT grant_id, day, sum(sum(used)) OVER days AS used, sum(sum(expired)) OVER days AS expired,
               sum(sum(taken)) OVER days AS taken, sum(sum(remaining)) OVER days AS remaining, sum(sum(carried)) OVER days AS carried,
               sum(sum(carried_minor)) OVER days AS carried_minor, sum(sum(returned_minor)) OVER days AS returned_minor,
               sum(paid) AS paid, sum(was_returned) AS was_returned, sum(was_used) AS was_used, sum(was_breakage) AS was_breakage,
               sum(was_released) AS was_released
        FROM step GROUP BY grant_id, day WINDOW days AS (PARTITION BY grant_id ORDER BY day)
    ), rule AS (
        SELECT x.*, g.currency, g.source, r.recognised, r.used_minor,
               CASE WHEN x.taken = 0 THEN 0
                    WHEN x.remaining = 0 THEN left_minor - recognised
                    ELSE least(left_minor - recognised, floor(p.paid_minor::numeric * x.taken / nullif(p.amount, 0))) END AS released_minor
        FROM state x JOIN ledger_grant g ON g.id = x.grant_id
        CROSS JOIN LATERAL (SELECT (g.paid_minor - x.carried_minor)::bigint AS paid_minor, (g.amount - x.carried)::bigint AS amount,
                                   (g.paid_minor - x.carried_minor - x.returned_minor)::bigint AS left_minor) p
        CROSS JOIN LATERAL (
            SELECT ledger_recognised(p.paid_minor, x.returned_minor::bigint, (x.used + x.expired)::bigint, p.amount) AS recognised,
                   ledger_recognised(p.paid_minor, x.returned_minor::bigint, x.used::bigint, p.amount) AS used_minor) r
    ), change AS (
        SELECT x.*, recognised - used_minor AS breakage_minor,
               returned_minor - lag(returned_minor, 1, 0::numeric) OVER days - was_returned AS new_returned,
               used_minor - lag(used_minor, 1, 0::bigint) OVER days - was_used AS new_used,
               recognised - used_minor - lag(recognised - used_minor, 1, 0::bigint) OVER days - was_breakage AS new_breakage,
               released_minor - lag(released_minor, 1, 0::numeric) OVER days - was_released AS new_released
        FROM rule x WINDOW days AS (PARTITION BY grant_id ORDER BY day)
    )
    SELECT grant_id, change.day, change.currency::text, used::bigint, expired::bigint, taken::bigint, remaining::bigint, carried::bigint,
           carried_minor::bigint, returned_minor::bigint, used_minor::bigint, breakage_minor::bigint, released_minor::bigint,
           CASE WHEN source = 'opening' THEN 0 ELSE paid END::bigint, CASE WHEN source = 'opening' THEN paid ELSE 0 END::bigint,
           new_returned::bigint, new_used::bigint, new_breakage::bigint, new_released::bigint
    FROM change JOIN since USING (grant_id) WHERE change.day >= since.day;
END $$;
