"""
Every act we record, with the sentence that displays it.

A name once used stays here: its events are kept for ever.
"""

ACTIONS = {
    "accounts.api_key.created": "{actor} created the API key {target}",
    "accounts.api_key.revoked": "{actor} revoked the API key {target}",
    "accounts.job.cancelled": "{actor} cancelled the job {target}",
    "accounts.job.paused": "{actor} paused the job {target}",
    "accounts.job.resumed": "{actor} resumed the job {target}",
    "accounts.role.changed": "{actor} changed the role {target}",
    "accounts.role.created": "{actor} created the role {target}",
    "accounts.staff.created": "{actor} created the member of staff {target}",
    "accounts.team.changed": "{actor} changed the team {target}",
    "accounts.team.created": "{actor} created the team {target}",
    "accounts.team.member_added": "{actor} added a member to the team {target}",
    "accounts.team.member_removed": "{actor} removed a member from the team {target}",
    "accounts.user.activated": "{actor} activated {target}",
    "accounts.user.agent_changed": "{actor} changed whether {target} is an agent",
    "accounts.user.created": "{actor} created the user {target}",
    "accounts.user.deactivated": "{actor} deactivated {target}",
    "accounts.user.partner_changed": "{actor} changed whether {target} is a partner",
    "accounts.user.password_set": "{actor} set a new password for {target}",
    "accounts.user.renamed": "{actor} changed the name of {target}",
    "accounts.user.role_changed": "{actor} changed the role of {target}",
    "accounts.user.staff_changed": "{actor} changed the staff groups of {target}",
    "ledger.backfill.run": "{actor} ran the backfill {target}",
    "ledger.credits.added": "{actor} added credits to {target}",
    "ledger.credits.removed": "{actor} removed credits from {target}",
    "ledger.feature.changed": "{actor} changed the feature {target}",
    "ledger.feature.created": "{actor} created the feature {target}",
    "ledger.hold.captured": "{actor} captured {target} for whoever placed it",
    "ledger.hold.released": "{actor} released {target} for whoever placed it",
    "ledger.price.added": "{actor} added the price {target}",
    "ledger.transaction.reversed": "{actor} reversed the transaction {target}",
    "ledger.usage.imported": "{actor} imported usage into {target}",
    "ledger.wallet.adjusted": "{actor} set the balances of {target}",
    "ledger.wallet.paused": "{actor} paused {target}",
    "ledger.wallet.resumed": "{actor} resumed {target}",
}


def sentence(action: str, *, actor: str, target: str) -> str:
    """Return what ``action`` says; one that only a newer release knows shows its bare name."""
    return ACTIONS.get(action, "{actor}: " + action + " {target}").format(
        actor=actor, target=target
    )
