"""The books as the audit chain seals them: a wallet is a stream of its numbered transactions."""

from audit.sources import Source

# Each line of a transaction with it, and of a grant that is put credits in what never changes of
# it, the money paid among that: balances and remainders follow from these, as check_ledger checks.
# Types are pinned, so that a later migration of a column changes no byte.
TRANSACTIONS = """
    SELECT t.wallet_id, t.number, record_send(ROW(
        t.wallet_id::int8, t.number::int8, t.id::uuid, t.kind::text, t.amount::int8,
        t.award::int8, t.partner::int8, t.purchase::int8, t.debt::int8, t.balance_after::int8,
        t.key::uuid, t.fingerprint::uuid, t.actor_id::int8, t.caller::text, t.reverses_id::uuid,
        t.hold_id::uuid, t.feature::text, t.price_ids::int8[], t.quantities::numeric[],
        t.occurred_at::timestamptz, t.recorded_at::timestamptz,
        ARRAY(SELECT ROW(e.position::int2, e.grant_id::uuid, e.wallet_id::int8, e.credit_type::text,
                         e.amount::int8, g.wallet_id::int8, g.credit_type::text, g.source::text,
                         g.amount::int8, g.paid_minor::int8, g.currency::text,
                         g.effective_at::timestamptz, g.carried_from_id::uuid)
              FROM ledger_entry e LEFT JOIN ledger_grant g ON g.id = e.grant_id AND e.amount > 0
              WHERE e.transaction_id = t.id ORDER BY e.position),
        ARRAY(SELECT ROW(d.id::int8, d.debt_id::uuid, d.wallet_id::int8, d.amount::int8)
              FROM ledger_debtentry d WHERE d.transaction_id = t.id ORDER BY d.id),
        ARRAY(SELECT ROW(r.id::int8, r.original_id::uuid, r.position::int2, r.wallet_id::int8,
                         r.amount::int8)
              FROM ledger_restoration r
              WHERE r.original_id = t.reverses_id AND r.transaction_id = t.id ORDER BY r.id),
        t.text_digest::bytea)),
        t.text_digest, uuid_send(t.text_salt),
        jsonb_build_array(t.reference_id, t.description, t.project, t.metadata)::text,
        t.erased_at IS NOT NULL
    FROM {ranges} JOIN ledger_credittransaction t
        ON t.wallet_id = r.stream_id AND t.number BETWEEN r.first AND r.last
"""

LEDGER = Source(
    name="ledger",
    # A wallet's transactions take their numbers under its lock: a version that is visible is whole.
    heads="SELECT id AS stream_id, version AS number FROM ledger_wallet",
    # Their keys carry the database's clock, so nothing is kept for this and no spend does more.
    recent="""SELECT wallet_id AS stream_id, max(number) AS number FROM ledger_credittransaction
              WHERE id >= %(since)s GROUP BY wallet_id""",
    rows=TRANSACTIONS,
    no_text='["", "", "", null]',
)
