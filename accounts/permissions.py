"""
Who may do what: the one table, of staff groups and of every door.

``sync_staff_groups`` writes the groups' permissions onto them after every migrate. Doors look
themselves up here and what is not listed is shut; services ask ``require``. Nothing here asks
whether somebody is a superuser. docs/permissions.md is this table for people.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from django.apps import apps as installed_apps
from django.contrib.admindocs.views import simplify_regex
from django.contrib.auth.models import Group, Permission
from django.db import connections
from django.db.migrations.executor import MigrationExecutor

from accounts.choices import ApiScope, StaffGroup
from creditsite.errors import NotPermitted


def view(app_label: str, *models: str) -> frozenset[str]:
    return frozenset(f"{app_label}.view_{model}" for model in models)


SUPPORT = (
    view("accounts", "user", "role")
    | view("ledger", "wallet", "grant", "credittransaction", "entry", "hold")
    | view("ledger", "feature", "featureprice", "awardrun", "referral", "batch", "creditsettings")
    | view("billing", "offer", "offerversion", "offerprice", "creditrate", "discounts")
    | view("billing", "promotion", "redemption")
    | view("billing", "payment", "paymenteffect", "refund", "reviewitem", "stripeevent")
    | view("disputes", "dispute", "disputereason", "decision", "disputeevent", "attachment")
    | view("disputes", "paymentdispute", "answer")
    | view("billing", "subscription", "subscriptioneffect", "subscriptionchange", "slice")
    | view("billing", "promisedmoney")
    | view("billing", "reconciliation", "break")
    | view("billing", "autotopup", "topup")
    | view("billing", "projectcost")
)

TRIAGE = {"disputes.review_dispute"}

VIEW_LEDGER_AND_PEOPLE = (
    SUPPORT
    | view("accounts", "team", "teammembership", "job")
    | view("ledger", "holdallocation", "debt")
    | view("billing", "sharestatement", "shareterm")
    | view("billing", "webhooktally")
)

AUDITOR = (
    VIEW_LEDGER_AND_PEOPLE
    | view("accounts", "apikey", "approval", "erasure")
    | view("audit", "auditevent", "checkpoint")
    | view("auth", "group")
    | {"audit.export_auditevent", "ledger.view_report", "ledger.export_report"}
)

FINANCE = (VIEW_LEDGER_AND_PEOPLE | TRIAGE) | {
    "disputes.resolve_dispute",
    "disputes.change_disputereason",
    "disputes.answer_paymentdispute",
    "accounts.view_approval",
    "accounts.decide_approval",
    "ledger.adjust_wallet",
    "ledger.set_balances",
    "ledger.pause_wallet",
    "ledger.switch_partner",
    "ledger.run_backfill",
    "ledger.run_awards",
    "ledger.run_batch",
    "ledger.control_batch",
    "ledger.reverse_credittransaction",
    "ledger.change_creditsettings",
    "ledger.add_feature",
    "ledger.change_feature",
    "ledger.add_featureprice",
    "ledger.view_report",
    "ledger.export_report",
    "billing.add_offer",
    "billing.change_offer",
    "billing.add_creditrate",
    "billing.add_discounts",
    "billing.change_promotion",
    "billing.refund_payment",
    "billing.credit_payment",
    "billing.manage_subscription",
    "billing.post_slice",
    "billing.assign_feature",
    "billing.pay_share",
    "billing.replay_stripeevent",
    "billing.resolve_reviewitem",
    "billing.run_reconciliation",
    "billing.explain_break",
    "billing.settle_break",
    "billing.write_off_debt",
    "billing.stop_autotopup",
    "billing.assign_tier",
    "billing.allot_tier",
    "billing.add_projectcost",
    "billing.void_projectcost",
}

ADMIN = (
    FINANCE
    | AUDITOR
    | {
        "ledger.switch_credits",
        "accounts.add_user",
        "accounts.change_user",
        "accounts.assign_role",
        "accounts.manage_staff",
        "accounts.reset_factors",
        "accounts.add_role",
        "accounts.change_role",
        "accounts.delete_role",
        "accounts.add_team",
        "accounts.change_team",
        "accounts.delete_team",
        "accounts.add_apikey",
        "accounts.revoke_apikey",
        "accounts.control_job",
        "accounts.view_email",
        "accounts.resend_email",
        "accounts.erase_user",
        "accounts.export_user",
    }
)

PERMISSIONS: dict[StaffGroup, frozenset[str]] = {
    StaffGroup.ADMIN: ADMIN,
    StaffGroup.FINANCE: FINANCE,
    StaffGroup.SUPPORT: SUPPORT | TRIAGE,
    StaffGroup.AUDITOR: AUDITOR,
}


# What takes a sign-in at most five minutes old, whoever asks.
RECENT = frozenset(
    {
        "ledger.set_balances",
        "ledger.run_backfill",
        "ledger.run_awards",
        "ledger.run_batch",
        "ledger.change_creditsettings",
        "ledger.switch_credits",
        "accounts.assign_role",
        "accounts.manage_staff",
        "accounts.reset_factors",
        "accounts.add_role",
        "accounts.change_role",
        "accounts.delete_role",
        "accounts.delete_team",
        "accounts.add_apikey",
        "accounts.decide_approval",
        "accounts.erase_user",
        "accounts.export_user",
        "audit.export_auditevent",
        "ledger.export_report",
        "billing.add_offer",
        "billing.change_offer",
        "billing.add_creditrate",
        "billing.add_discounts",
        "billing.change_promotion",
        "billing.refund_payment",
        "billing.credit_payment",
        "billing.manage_subscription",
        "billing.assign_feature",
        "billing.pay_share",
        "disputes.answer_paymentdispute",
        "billing.write_off_debt",
        "billing.add_projectcost",
        "billing.explain_break",
    }
)


# --- Doors ----------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Door:
    """
    Whom a door lets in: anybody, nobody, or who is signed in.

    With ``permission``, only active staff in a group that has it. Service keys pass where a
    ``scope`` is named, with that scope, and where a permission is named, if their owner has it.
    """

    who: str
    permission: str | None = None
    scope: str | None = None
    is_for_services: bool = False


PUBLIC = Door("anybody")
NOBODY = Door("nobody")
USER = Door("a signed-in user")
STAFF = Door("any staff")


def key(scope: ApiScope) -> Door:
    """Return the door for users, and for service keys with ``scope``."""
    return Door("a signed-in user", scope=scope.value)


def service(scope: ApiScope) -> Door:
    """Return the door for service keys with ``scope``, and for nobody else."""
    return Door("services", scope=scope.value, is_for_services=True)


def staff(permission: str) -> Door:
    """Return the door for staff with ``permission``, and for their keys with credits:admin."""
    return Door("staff", permission, ApiScope.CREDITS_ADMIN.value)


def staff_in_person(permission: str) -> Door:
    """Return the door for staff with ``permission``, and for no service key."""
    return Door("staff", permission)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The admin pages of one model: the permission to look, to add, to change, and of each act."""

    view: str
    add: str | None = None
    change: str | None = None
    acts: Mapping[str, str] = field(default_factory=dict)


# Every operation of the API. Signed-in users see and use only what is theirs.
API: dict[str, dict[str, Door]] = {
    "/api/auth/register": {"POST": PUBLIC},
    "/api/auth/token": {"POST": PUBLIC},
    "/api/auth/token/refresh": {"POST": PUBLIC},
    "/api/auth/logout": {"POST": PUBLIC},
    "/api/auth/me": {"GET": USER},
    "/api/auth/me/export": {"GET": USER},
    "/api/credits/balance": {"GET": key(ApiScope.CREDITS_READ)},
    "/api/credits/summary": {"GET": key(ApiScope.CREDITS_READ)},
    "/api/credits/transactions": {"GET": key(ApiScope.CREDITS_READ)},
    "/api/credits/transactions/{transaction_id}": {"GET": key(ApiScope.CREDITS_READ)},
    "/api/credits/history": {"GET": key(ApiScope.CREDITS_READ)},
    "/api/credits/grants": {"GET": key(ApiScope.CREDITS_READ)},
    "/api/credits/features": {"GET": key(ApiScope.CREDITS_READ)},
    "/api/credits/check": {"POST": key(ApiScope.CREDITS_READ)},
    "/api/credits/add": {"POST": staff("ledger.adjust_wallet")},
    "/api/credits/deduct": {"POST": key(ApiScope.CREDITS_SPEND)},
    "/api/credits/usage/batch": {"POST": key(ApiScope.CREDITS_SPEND)},
    "/api/credits/holds": {
        "GET": key(ApiScope.CREDITS_READ),
        "POST": key(ApiScope.CREDITS_HOLD),
    },
    "/api/credits/holds/{hold_id}": {"GET": key(ApiScope.CREDITS_READ)},
    "/api/credits/holds/{hold_id}/capture": {"POST": key(ApiScope.CREDITS_HOLD)},
    "/api/credits/holds/{hold_id}/release": {"POST": key(ApiScope.CREDITS_HOLD)},
    "/api/credits/rate": {"GET": key(ApiScope.BILLING_READ)},
    "/api/credits/packages": {"GET": key(ApiScope.BILLING_READ)},
    "/api/credits/purchase": {"POST": key(ApiScope.BILLING_WRITE)},
    "/api/credits/purchase/validate": {"POST": key(ApiScope.BILLING_READ)},
    "/api/credits/redeem": {"POST": key(ApiScope.BILLING_WRITE)},
    "/api/billing/subscriptions": {"POST": key(ApiScope.BILLING_WRITE)},
    "/api/billing/subscriptions/current": {
        "GET": key(ApiScope.BILLING_READ),
        "PATCH": key(ApiScope.BILLING_WRITE),
        "DELETE": key(ApiScope.BILLING_WRITE),
    },
    "/api/billing/subscriptions/current/keep": {"POST": key(ApiScope.BILLING_WRITE)},
    "/api/billing/subscriptions/current/preview": {"GET": key(ApiScope.BILLING_READ)},
    "/api/billing/portal": {"POST": key(ApiScope.BILLING_WRITE)},
    "/api/credits/initialize": {"POST": staff("billing.assign_tier")},
    "/api/credits/tier": {"PUT": staff("billing.assign_tier")},
    "/api/credits/monthly-allocation": {"POST": staff("billing.allot_tier")},
    "/api/billing/auto-top-up": {
        "GET": key(ApiScope.BILLING_READ),
        "PUT": key(ApiScope.BILLING_WRITE),
    },
    "/api/billing/project-costs": {"POST": service(ApiScope.BILLING_WRITE)},
    "/api/billing/overview": {"GET": key(ApiScope.BILLING_READ)},
    "/api/billing/payments": {"GET": key(ApiScope.BILLING_READ)},
    "/api/billing/payments/{payment_id}": {"GET": key(ApiScope.BILLING_READ)},
    "/api/admin/credits/add": {"POST": staff("ledger.adjust_wallet")},
    "/api/admin/credits/remove": {"POST": staff("ledger.adjust_wallet")},
    "/api/admin/credits/pause": {"POST": staff("ledger.pause_wallet")},
    "/api/admin/credits/resume": {"POST": staff("ledger.pause_wallet")},
    "/api/admin/credits/user/{user_id}/balance": {"GET": staff("ledger.view_wallet")},
    "/api/admin/credits/user/{user_id}/summary": {"GET": staff("ledger.view_wallet")},
    "/api/admin/credits/user/{user_id}/transactions": {
        "GET": staff("ledger.view_credittransaction"),
    },
    "/api/admin/credits/system/summary": {"GET": staff("ledger.view_wallet")},
    "/api/admin/credits/users/status": {"GET": staff("ledger.view_wallet")},
    "/api/admin/approvals": {"GET": staff_in_person("accounts.view_approval")},
    "/api/admin/approvals/{approval_id}": {"GET": staff_in_person("accounts.view_approval")},
    "/api/admin/approvals/{approval_id}/approve": {
        "POST": staff_in_person("accounts.decide_approval"),
    },
    "/api/admin/approvals/{approval_id}/refuse": {
        "POST": staff_in_person("accounts.decide_approval"),
    },
    "/api/admin/approvals/{approval_id}/withdraw": {
        "POST": staff_in_person("accounts.view_approval"),
    },
    "/api/disputes/reasons": {"GET": key(ApiScope.CREDITS_READ)},
    "/api/disputes/submit": {"POST": USER},
    "/api/disputes/my-disputes": {"GET": key(ApiScope.CREDITS_READ)},
    "/api/disputes/{dispute_id}": {"GET": key(ApiScope.CREDITS_READ)},
    "/api/disputes/{dispute_id}/appeal": {"POST": USER},
    "/api/disputes/{dispute_id}/messages": {"POST": USER},
    "/api/disputes/{dispute_id}/attachments": {"POST": USER},
    "/api/disputes/{dispute_id}/attachments/{attachment_id}": {"GET": USER},
    "/api/disputes/admin/queue": {"GET": staff("disputes.view_dispute")},
    "/api/disputes/admin/statistics": {"GET": staff("ledger.view_report")},
    "/api/disputes/admin/{dispute_id}": {"GET": staff("disputes.view_dispute")},
    "/api/disputes/admin/{dispute_id}/review": {"PUT": staff("disputes.review_dispute")},
    "/api/disputes/admin/{dispute_id}/assign": {"POST": staff("disputes.review_dispute")},
    "/api/disputes/admin/{dispute_id}/messages": {"POST": staff("disputes.review_dispute")},
    "/api/disputes/admin/{dispute_id}/attachments": {
        "POST": staff_in_person("disputes.review_dispute"),
    },
    "/api/disputes/admin/{dispute_id}/attachments/{attachment_id}": {
        "GET": staff_in_person("disputes.view_dispute"),
    },
    "/api/disputes/admin/{dispute_id}/resolve": {"POST": staff("disputes.resolve_dispute")},
    "/api/schema": {"GET": PUBLIC},
    "/api/docs": {"GET": PUBLIC},
}

# The pages about each model in the admin. Nothing is deleted but by a named act.
PAGES: dict[str, Page] = {
    "accounts.apikey": Page(
        view="accounts.view_apikey",
        add="accounts.add_apikey",
        acts={
            "rotate": "accounts.add_apikey",
            "revoke_selected": "accounts.revoke_apikey",
        },
    ),
    "accounts.email": Page(
        view="accounts.view_email", acts={"resend_selected": "accounts.resend_email"}
    ),
    "accounts.erasure": Page(view="accounts.view_erasure"),
    "accounts.approval": Page(
        view="accounts.view_approval",
        acts={
            "approve": "accounts.decide_approval",
            "refuse": "accounts.decide_approval",
            "withdraw": "accounts.view_approval",
        },
    ),
    "accounts.job": Page(
        view="accounts.view_job",
        acts={
            "pause_selected": "accounts.control_job",
            "resume_selected": "accounts.control_job",
            "cancel_selected": "accounts.control_job",
        },
    ),
    "accounts.role": Page(
        view="accounts.view_role",
        add="accounts.add_role",
        change="accounts.change_role",
        acts={"delete": "accounts.delete_role"},
    ),
    "accounts.team": Page(
        view="accounts.view_team",
        add="accounts.add_team",
        change="accounts.change_team",
        acts={
            "add_member": "accounts.change_team",
            "remove_member": "accounts.change_team",
            "delete": "accounts.delete_team",
        },
    ),
    "accounts.teammembership": Page(view="accounts.view_teammembership"),
    "accounts.user": Page(
        view="accounts.view_user",
        add="accounts.add_user",
        change="accounts.change_user",
        acts={
            "role": "accounts.assign_role",
            "staff": "accounts.manage_staff",
            "start-agent": "accounts.manage_staff",
            "end-agent": "accounts.manage_staff",
            "deactivate": "accounts.manage_staff",
            "activate": "accounts.manage_staff",
            "set_password": "accounts.manage_staff",
            "reset_factors": "accounts.reset_factors",
            "export": "accounts.export_user",
            "erase": "accounts.erase_user",
        },
    ),
    "audit.auditevent": Page(
        view="audit.view_auditevent",
        acts={"export": "audit.export_auditevent"},
    ),
    "audit.checkpoint": Page(view="audit.view_checkpoint"),
    "auth.group": Page(view="auth.view_group"),
    "billing.autotopup": Page(
        view="billing.view_autotopup", acts={"switch-off": "billing.stop_autotopup"}
    ),
    "billing.creditrate": Page(
        view="billing.view_creditrate",
        add="billing.add_creditrate",
        acts={"set-discounts": "billing.add_discounts"},
    ),
    "billing.offer": Page(
        view="billing.view_offer",
        add="billing.add_offer",
        acts={
            "edit": "billing.change_offer",
            "retire": "billing.change_offer",
            "restore": "billing.change_offer",
        },
    ),
    "billing.promotion": Page(
        view="billing.view_promotion",
        add="billing.change_promotion",
        acts={"edit": "billing.change_promotion", "end": "billing.change_promotion"},
    ),
    "billing.payment": Page(
        view="billing.view_payment",
        acts={
            "refund": "billing.refund_payment",
            "credit": "billing.credit_payment",
            "receipt": "billing.view_payment",
        },
    ),
    "billing.projectcost": Page(
        view="billing.view_projectcost",
        add="billing.add_projectcost",
        acts={
            "void_selected": "billing.void_projectcost",
            "invoices": "billing.view_projectcost",
            "invoice": "billing.view_projectcost",
            "export-costs": "ledger.export_report",
            "export-invoices": "ledger.export_report",
            "export-invoice": "ledger.export_report",
        },
    ),
    "billing.redemption": Page(view="billing.view_redemption"),
    "billing.break": Page(
        view="billing.view_break",
        acts={
            "run": "billing.run_reconciliation",
            "settle": "billing.settle_break",
            "explain": "billing.explain_break",
            "explain_selected": "billing.explain_break",
        },
    ),
    "billing.reconciliation": Page(view="billing.view_reconciliation"),
    "billing.reviewitem": Page(
        view="billing.view_reviewitem",
        acts={
            "resolve": "billing.resolve_reviewitem",
            "write-off": "billing.write_off_debt",
        },
    ),
    "billing.sharestatement": Page(
        view="billing.view_sharestatement",
        acts={
            "pay": "billing.pay_share",
            "export": "ledger.export_report",
            "export-month": "ledger.export_report",
        },
    ),
    "billing.shareterm": Page(
        view="billing.view_shareterm",
        add="billing.assign_feature",
        acts={"end": "billing.assign_feature"},
    ),
    "billing.webhooktally": Page(view="billing.view_webhooktally"),
    "billing.stripeevent": Page(
        view="billing.view_stripeevent",
        acts={
            "replay": "billing.replay_stripeevent",
            "replay_selected": "billing.replay_stripeevent",
        },
    ),
    "billing.slice": Page(view="billing.view_slice", acts={"post-due": "billing.post_slice"}),
    "billing.subscription": Page(
        view="billing.view_subscription",
        acts={
            "change-plan": "billing.manage_subscription",
            "keep": "billing.manage_subscription",
            "cancel": "billing.manage_subscription",
            "end": "billing.manage_subscription",
        },
    ),
    "ledger.batch": Page(
        view="ledger.view_batch",
        add="ledger.run_batch",
        acts={
            "plan": "ledger.run_batch",
            "confirm": "ledger.run_batch",
            "discard": "ledger.run_batch",
            "reverse": "ledger.run_batch",
            "pause": "ledger.control_batch",
            "resume": "ledger.control_batch",
            "cancel": "ledger.control_batch",
            "progress": "ledger.view_batch",
            "left-out": "ledger.export_report",
            "results": "ledger.export_report",
            "tie-out": "ledger.view_batch",
        },
    ),
    "ledger.creditsettings": Page(
        view="ledger.view_creditsettings",
        acts={"edit": "ledger.change_creditsettings", "switch": "ledger.switch_credits"},
    ),
    "ledger.credittransaction": Page(
        view="ledger.view_credittransaction",
        acts={"reverse": "ledger.reverse_credittransaction"},
    ),
    "ledger.feature": Page(
        view="ledger.view_feature",
        add="ledger.add_feature",
        change="ledger.change_feature",
        acts={"add-price": "ledger.add_featureprice"},
    ),
    "ledger.awardrun": Page(view="ledger.view_awardrun", acts={"run-due": "ledger.run_awards"}),
    "ledger.referral": Page(view="ledger.view_referral"),
    "ledger.grant": Page(view="ledger.view_grant"),
    "ledger.hold": Page(view="ledger.view_hold"),
    "ledger.report": Page(view="ledger.view_report", acts={"export": "ledger.export_report"}),
    "ledger.wallet": Page(
        view="ledger.view_wallet",
        acts={
            "set": "ledger.set_balances",
            "add": "ledger.adjust_wallet",
            "remove": "ledger.adjust_wallet",
            "backfill": "ledger.run_backfill",
            "backfill-run": "accounts.view_job",
            "backfill-progress": "accounts.view_job",
            "add_selected": "ledger.run_batch",
            "deduct_selected": "ledger.run_batch",
            "start-partner": "ledger.switch_partner",
            "end-partner": "ledger.switch_partner",
            "pause": "ledger.pause_wallet",
            "resume": "ledger.pause_wallet",
            "assign-tier": "billing.assign_tier",
            "allot-tier": "billing.allot_tier",
            "end-tier": "billing.assign_tier",
        },
    ),
}

# Every other page.
SITE: dict[str, Door] = {
    "/healthz": PUBLIC,
    "/readyz": PUBLIC,
    "/static/{path}": PUBLIC,
    "/stripe/webhook": PUBLIC,
    **dict.fromkeys(
        [
            "/accounts/signup/",
            "/accounts/login/",
            "/accounts/logout/",
            "/accounts/inactive/",
            "/accounts/confirm-email/",
            "/accounts/confirm-email/{key}/",
            "/accounts/password/reset/",
            "/accounts/password/reset/done/",
            "/accounts/password/reset/key/{uidb36}-{key}/",
            "/accounts/password/reset/key/done/",
            "/accounts/factors/authenticate/",
        ],
        PUBLIC,
    ),
    **dict.fromkeys(
        [
            "/accounts/",
            "/accounts/reauthenticate/",
            "/accounts/confirmed/",
            "/accounts/email/",
            "/accounts/password/change/",
            "/accounts/password/set/",
            "/accounts/factors/",
            "/accounts/factors/reauthenticate/",
            "/accounts/factors/app/activate/",
            "/accounts/factors/app/deactivate/",
            "/accounts/factors/codes/",
            "/accounts/factors/codes/generate/",
            "/accounts/factors/codes/download/",
            "/accounts/factors/keys/",
            "/accounts/factors/keys/add/",
            "/accounts/factors/keys/reauthenticate/",
            "/accounts/factors/keys/{pk}/edit/",
            "/accounts/factors/keys/{pk}/remove/",
            "/accounts/sessions/",
            "/accounts/sessions/{pk}/end/",
            "/billing/",
            "/billing/buy/",
            "/billing/projects/",
            "/billing/projects/invoice/",
            "/billing/projects/invoice.csv",
            "/billing/buy/quote/",
            "/billing/payments/",
            "/billing/auto-top-up/",
            "/billing/payments/{public_id}/",
            "/billing/payments/{public_id}/receipt.pdf",
            "/billing/payments/{public_id}/receipt/",
            "/billing/plans/",
            "/billing/plans/subscribe/",
            "/billing/plans/change/",
            "/billing/plans/cancel/",
            "/billing/plans/keep/",
            "/billing/plans/portal/",
            "/billing/earnings/",
            "/billing/earnings/{public_id}/",
        ],
        USER,
    ),
    "/admin/": STAFF,
    "/admin/login/": PUBLIC,
    "/admin/logout/": USER,
    "/admin/password_change/": STAFF,
    "/admin/password_change/done/": STAFF,
    "/admin/autocomplete/": staff_in_person("accounts.view_user"),
    "/admin/search/": STAFF,
    "/admin/jsi18n/": STAFF,
    "/admin/r/{content_type_id}/{object_id}/": NOBODY,
    "/admin/{app_label}/": STAFF,
    "/admin/{url}": STAFF,
}

# Every command of ours: whoever has a shell on the server is the system, and recorded as that.
COMMANDS: dict[str, str] = {
    "backfill_credits": "Give role allotments to users without credits",
    "check_ledger": "Check every invariant of the books",
    "create_admin": "Make a member of staff in the group Admin",
    "create_api_key": "Make an API key for a service",
    "import_balances": "Bring the balances that people have elsewhere, from a file",
    "import_project_costs": "Enter costs of projects in money, from a file",
    "import_usage": "Charge a file of usage to a user",
    "load_catalogue": "Put packages, plans and rates of a file on sale that are missing",
    "make_statements": "Say what agents and partners earned in months that are over",
    "permission_table": "Print this page",
    "reconcile_stripe": "Compare payments at Stripe with the books",
    "post_slices": "Give the credits of months of plans that are due",
    "replay_erasures": "Erase again those whom a restored backup brought back",
    "rotate_api_key": "Make the API key that replaces another",
    "run_awards": "Give what is due of awards that are given every month",
    "run_batch": "Work a batch that was started, here and now",
    "seal_audit": "Number, chain and sign what was recorded since the last seal",
    "seed_demo": "Put the demo's people and history in the database",
    "setup_database_roles": "Make the roles of the database and what each may do there",
    "verify_audit": "Check the sealed record, and say what was changed",
    "verify_figures": "Compare the figures of each day with the ledger",
}


@cache
def path_of(route: str) -> str:
    """Return the path that a route of Django's is listed under: "/api/users/{user_id}"."""
    return re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", simplify_regex(route))


@cache
def door_of_page(path: str, method: str) -> Door | None:
    """
    Return the door of a page asked for by ``method``; ``None`` for one that is not listed.

    A path under that of a model is one of its acts; to send what a change page shows is to change.
    Django's own pages of a model are shut where the table gives no permission for them.
    """
    if door := SITE.get(path):
        return door
    _, _, app_label, model, *rest = [*path.split("/"), ""]
    page = PAGES.get(f"{app_label}.{model}") if path.startswith("/admin/") else None
    if page is None:
        return None
    permission: str | None
    match [part for part in rest if part]:
        case [] | ["{object_id}"] | ["{object_id}", "history"]:
            permission = page.view
        case ["add"]:
            permission = page.add
        case ["{object_id}", "change"]:
            permission = page.change if method == "POST" else page.view
        case [act] | ["{object_id}", act] if act in page.acts:
            permission = page.acts[act]
        case ["{object_id}", "delete"]:
            permission = None
        case _:
            return None
    return staff_in_person(permission) if permission else NOBODY


# --- Looking it up --------------------------------------------------------------------------------
MAY_NOT = "Your staff group may not do this."


class UnknownPermissions(Exception):
    """The table names permissions that no model declares."""


def staff_may(user: Any, permission: str) -> bool:
    """
    Return whether ``user`` is active staff in a group that has ``permission``.

    Named as "ledger.adjust_wallet". The groups are read once for each ``user`` object, as Django
    does with permissions; a request makes its own.
    """
    if not (user.is_active and user.is_staff):
        return False
    if not hasattr(user, "_staff_group_names"):
        user._staff_group_names = frozenset(user.groups.values_list("name", flat=True))
    return any(
        permission in granted
        for group, granted in PERMISSIONS.items()
        if group in user._staff_group_names
    )


def permission_of(page: str, name: str) -> str | None:
    """Return what it takes to ``view``, ``add`` or ``change`` on a page of the admin."""
    row = PAGES.get(page)
    return getattr(row, name) if row else None


def permission_of_act(page: str, act: str) -> str | None:
    """Return what it takes to do ``act`` on a page of the admin."""
    row = PAGES.get(page)
    return row.acts.get(act) if row else None


def lets_in(door: Door, user: Any) -> bool:
    """Return whether ``user``, who may be nobody, passes ``door`` in person."""
    if door == PUBLIC:
        return True
    if door == NOBODY or not user.is_authenticated:
        return False
    if door.permission:
        return staff_may(user, door.permission)
    return door != STAFF or (user.is_active and user.is_staff)


def require(actor: Any, permission: str) -> None:
    """
    Refuse an ``actor`` without ``permission``; ``None`` is the system, which may.

    :raises NotPermitted: they are not active staff in a group that has it.
    """
    if actor is not None and not staff_may(actor, permission):
        raise NotPermitted(MAY_NOT)


def sync_staff_groups(*, app_config: Any, using: str, apps: Any, **kwargs: Any) -> None:
    """
    Give each staff group the permissions of the table and no others, once all apps have theirs.

    Receives ``post_migrate``, which comes once for each app; at the last, all permissions are made.

    :raises UnknownPermissions: all is migrated, and yet the table names what no model declares.
    """
    if app_config != [each for each in installed_apps.get_app_configs() if each.models_module][-1]:
        return
    if "accounts" not in {model._meta.app_label for model in apps.get_models()}:
        return
    known = {
        f"{app_label}.{codename}": pk
        for pk, codename, app_label in Permission.objects.using(using).values_list(
            "pk", "codename", "content_type__app_label"
        )
    }
    unknown = frozenset().union(*PERMISSIONS.values()) - known.keys()
    if unknown and not unapplied_migrations(using):
        raise UnknownPermissions(", ".join(sorted(unknown)))
    for group in Group.objects.using(using).filter(name__in=PERMISSIONS):
        group.permissions.set(
            known[name] for name in PERMISSIONS[StaffGroup(group.name)] & known.keys()
        )


def unapplied_migrations(using: str) -> bool:
    executor = MigrationExecutor(connections[using])
    return bool(executor.migration_plan(executor.loader.graph.leaf_nodes()))
