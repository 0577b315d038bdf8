"""
Who may do what in the database: four roles, and the one table of what they may touch.

The owner has everything and logs in to nothing; the migrator may act as the owner; the application
reads all, and writes the books by the doors of the engine alone; the auditor reads the books and
the record. ``database_setup`` tells PostgreSQL so, ``checks`` compares.
"""

from typing import NamedTuple

from django.apps import apps

ORDINARY = frozenset({"INSERT", "UPDATE", "DELETE"})
ADD_AND_CHANGE = frozenset({"INSERT", "UPDATE"})
ADD = frozenset({"INSERT"})
NOTHING: frozenset[str] = frozenset()

# What the application may do to a table of ours besides reading it, where that is not ORDINARY.
APPLICATION_WRITES = {
    # The books: by the engine's doors alone.
    "ledger_wallet": NOTHING,
    "ledger_grant": NOTHING,
    "ledger_credittransaction": NOTHING,
    "ledger_entry": NOTHING,
    "ledger_restoration": NOTHING,
    "ledger_moneyreturn": NOTHING,
    "ledger_debt": NOTHING,
    "ledger_debtentry": NOTHING,
    "ledger_hold": NOTHING,
    "ledger_holdallocation": NOTHING,
    # What never changes.
    "ledger_featureprice": ADD,
    "ledger_lockedmonth": ADD,
    "ledger_creditsettings": ADD,
    "ledger_awardrun": ADD,
    "ledger_ledgercheck": ADD,
    "audit_auditevent": ADD,
    "audit_auditseal": ADD,
    "audit_sealedrange": ADD,
    "audit_checkpoint": ADD,
    "audit_verification": ADD,
    "billing_offerversion": ADD,
    "billing_offerprice": ADD,
    "billing_creditrate": ADD,
    "billing_discounts": ADD,
    "billing_paymenteffect": ADD,
    "billing_receipt": ADD,
    "billing_erasedreferral": ADD,
    "billing_sharemonth": ADD,
    "billing_sharestatement": ADD,
    "billing_shareline": ADD,
    "billing_sharepayout": ADD,
    "billing_subscriptioneffect": ADD,
    "billing_promisedmoney": ADD,
    "billing_tierallotment": ADD,
    "billing_plannotice": ADD,
    "billing_projectdebit": ADD,
    # What changes as its triggers say, and by being erased.
    "disputes_dispute": ADD_AND_CHANGE,
    "disputes_decision": ADD_AND_CHANGE,
    "disputes_disputeevent": ADD_AND_CHANGE,
    "disputes_attachment": ADD_AND_CHANGE,
    "disputes_paymentdispute": ADD_AND_CHANGE,
    "disputes_answer": ADD_AND_CHANGE,
    # What the sealer takes out once it is sealed.
    "audit_unsealedevent": frozenset({"INSERT", "DELETE"}),
    # What is frozen with the plan of its batch, but for notes, which are erased with a person.
    "ledger_batchitem": ORDINARY,
    "ledger_batchexception": ORDINARY,
    # What is never deleted.
    "ledger_referral": ADD_AND_CHANGE,
    "billing_offer": ADD_AND_CHANGE,
    "billing_promotion": ADD_AND_CHANGE,
    "billing_redemption": ADD_AND_CHANGE,
    "billing_payment": ADD_AND_CHANGE,
    "billing_refund": ADD_AND_CHANGE,
    "billing_subscription": ADD_AND_CHANGE,
    "billing_subscriptionchange": ADD_AND_CHANGE,
    "billing_slice": ADD_AND_CHANGE,
    "billing_stripeprice": ADD_AND_CHANGE,
    "billing_reviewitem": ADD_AND_CHANGE,
    "billing_webhooktally": ADD_AND_CHANGE,
    "billing_reconciliation": ADD_AND_CHANGE,
    "billing_break": ADD_AND_CHANGE,
    "billing_autotopup": ADD_AND_CHANGE,
    "billing_projectaccount": ADD_AND_CHANGE,
    "billing_projectcost": ADD_AND_CHANGE,
    "billing_topup": ADD_AND_CHANGE,
    "billing_stripeevent": ADD_AND_CHANGE,
    "billing_shareterm": ADD_AND_CHANGE,
    "billing_tier": ADD_AND_CHANGE,
    "ledger_batch": ADD_AND_CHANGE,
    "accounts_approval": ADD_AND_CHANGE,
    "accounts_erasure": ADD_AND_CHANGE,
    # What migrations alone write.
    "django_migrations": NOTHING,
}
# Functions that write nothing are open to the application, and those that write as their owner
# may: the doors. Besides these it calls what makes the default of a column.
APPLICATION_CALLS = ["ledger_uuid7"]
# Settings that functions carry. PostgreSQL does not know them, and so lets only superusers, and
# whoever they allow it, write such functions.
OWNER_SETTINGS = ["ledger.writer", "audit.writer"]

AUDITOR_APPS = {"audit", "billing", "ledger"}
AUDITOR_TABLES = {
    "accounts_approval",
    "accounts_role",
    "accounts_team",
    "accounts_teammembership",
    "accounts_user_groups",
    "auth_group",
    "disputes_decision",
    "disputes_dispute",
    "disputes_disputeevent",
    "disputes_disputereason",
    "disputes_paymentdispute",
}
# Of people who they are and what they may do; neither passwords nor tokens nor factors.
AUDITOR_COLUMNS = {
    "accounts_user": ["id", "email", "name", "role_id", "is_active", "is_staff", "is_superuser"]
}


class Roles(NamedTuple):
    """Their names on this server."""

    owner: str = "creditsite_owner"
    migrator: str = "creditsite_migrator"
    app: str = "creditsite_app"
    auditor: str = "creditsite_auditor"


def our_tables() -> dict[str, str]:
    """Return the tables of a database where all is migrated, each with its app."""
    models = [m for m in apps.get_models(include_auto_created=True) if m._meta.managed]
    tables = {model._meta.db_table: model._meta.app_label for model in models}
    return {**tables, "django_migrations": "migrations"}


def application_privileges(table: str) -> frozenset[str]:
    """Return what the application may do to a table of ours."""
    return APPLICATION_WRITES.get(table, ORDINARY) | {"SELECT"}


def auditor_reads(table: str, app: str) -> bool:
    return app in AUDITOR_APPS or table in AUDITOR_TABLES
