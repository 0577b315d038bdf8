"""What must be true of payments of subscriptions at every commit, for ``ledger.invariants``."""

CHECKS = {
    "What an invoice paid is in its months' grants, still to be allotted, or returned": """
        SELECT p.wallet_id, format('payment %%s: %%s paid, %%s in grants, %%s to be allotted, %%s returned', p.id, p.net_minor,
                                   s.paid, m.open, m.returned)
        FROM billing_payment p
        CROSS JOIN LATERAL (SELECT coalesce(sum(paid_minor), 0) AS paid, coalesce(sum(credits), 0) AS credits,
                                   coalesce(sum(credits - voided) FILTER (WHERE status <> 'posted'), 0) AS open
                            FROM billing_slice s WHERE s.payment_id = p.id {s}) s
        CROSS JOIN LATERAL (SELECT coalesce(sum(amount_minor), 0) AS open,
                                   -coalesce(sum(amount_minor) FILTER (WHERE move = 'returned'), 0) AS returned
                            FROM billing_promisedmoney WHERE payment_id = p.id) m
        WHERE p.invoice_id IS NOT NULL AND p.status = 'credited'
          AND ((s.credits, s.paid + m.open + m.returned) <> (p.credits, p.net_minor) OR m.open < 0 OR m.returned < 0
               OR s.open = 0 AND m.open > 0) {p}""",
    "A month that is posted is the grant that it says": """
        SELECT s.wallet_id, format('slice %%s: %%s credits for %%s, its grant %%s for %%s', s.id, s.credits, s.paid_minor,
                                   g.amount, g.paid_minor)
        FROM billing_slice s JOIN ledger_grant g ON g.id = s.grant_id
        WHERE (s.wallet_id, s.credits, s.paid_minor) <> (g.wallet_id, g.amount, g.paid_minor) {s}""",
    "What went back of an invoice was taken from its months": """
        SELECT p.wallet_id, format('payment %%s: %%s of %%s went back; %%s credits of %%s were taken', p.id, p.returned_minor,
                                   p.charged_minor, s.taken, p.credits)
        FROM billing_payment p CROSS JOIN LATERAL (
            WITH RECURSIVE lot AS (
                SELECT g.id, g.clawback_target FROM billing_slice s JOIN ledger_grant g ON g.id = s.grant_id
                WHERE s.payment_id = p.id {s}
                UNION ALL SELECT g.id, g.clawback_target FROM lot JOIN ledger_grant g ON g.carried_from_id = lot.id)
            SELECT coalesce((SELECT sum(clawback_target) FROM lot), 0)
                   + coalesce((SELECT sum(voided) FROM billing_slice s WHERE s.payment_id = p.id {s}), 0) AS taken) s
        WHERE p.invoice_id IS NOT NULL AND p.status = 'credited'
          AND s.taken <> CASE WHEN p.charged_minor = 0 THEN 0
                              ELSE floor(p.credits::numeric * p.returned_minor / p.charged_minor) END {p}""",
}
