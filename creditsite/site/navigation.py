"""The menu of the staff pages: what a person may look at, by what they want to do."""

from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse
from django.utils import timezone

from accounts.permissions import staff_may
from accounts.services.approvals import waiting_for
from creditsite.adminkit import actor_of

# Title, icon, model, and what one finds there.
MENU = {
    "Credits": [
        ("Users & balances", "wallet", "ledger.wallet", "What everybody has, and why."),
        ("Batches", "library_add_check", "ledger.batch", "Credits of many wallets at once."),
        ("Awards", "featured_seasonal_and_gifts", "ledger.awardrun", "What is given by itself."),
        ("Referrals", "group_add", "ledger.referral", "Who brought whom, and what they got."),
        ("Transactions", "receipt_long", "ledger.credittransaction", "Every movement of credits."),
        ("Grants", "redeem", "ledger.grant", "What was given, and what is left of it."),
        ("Holds", "hourglass_top", "ledger.hold", "Credits reserved for running jobs."),
        ("Reports", "monitoring", "ledger.report", "Where credits and money went, to the credit."),
        ("Features & prices", "sell", "ledger.feature", "What users pay for, and how much."),
        ("Settings", "tune", "ledger.creditsettings", "How the credit economy runs."),
    ],
    "Sale": [
        ("Packages & plans", "storefront", "billing.offer", "What is sold, and what it costs."),
        ("Rates & discounts", "percent", "billing.creditrate", "What credits cost by number."),
        ("Promotions", "confirmation_number", "billing.promotion", "Codes, and what came of them."),
        ("Redemptions", "task_alt", "billing.redemption", "Who used which code, and when."),
        ("Stripe connection", "cable", "billing.webhooktally", "Whether key and webhooks work."),
    ],
    "Money": [
        ("Payments", "payments", "billing.payment", "What was paid, and what became of it."),
        ("Subscriptions", "card_membership", "billing.subscription", "Who is on which plan."),
        ("Months of plans", "calendar_month", "billing.slice", "Credits paid for, and due."),
        ("Project costs", "work", "billing.projectcost", "Costs in money, and invoices."),
        ("Revenue share", "handshake", "billing.sharestatement", "What agents and partners earn."),
        ("Agents & owners", "supervisor_account", "billing.shareterm", "Who earns, since when."),
        ("Auto top-ups", "autorenew", "billing.autotopup", "Who is charged by itself."),
        ("To review", "rule", "billing.reviewitem", "What needs a person to look at it."),
        ("Reconciliation", "balance", "billing.break", "Whether Stripe and the books agree."),
        ("Stripe events", "webhook", "billing.stripeevent", "What Stripe told, and what failed."),
    ],
    "People": [
        ("Users", "person", "accounts.user", "Accounts, their roles and flags."),
        ("Teams", "groups", "accounts.team", "Who shares a wallet."),
        ("Roles", "badge", "accounts.role", "Roles and the credits that come with them."),
        ("Staff groups", "shield_person", "auth.group", "What each group of staff may do."),
        ("API keys", "key", "accounts.apikey", "The services that call us."),
    ],
    "Operations": [
        ("Approvals", "approval", "accounts.approval", "What waits for a second person."),
        ("Jobs", "deployed_code_history", "accounts.job", "Long work, and how far it is."),
        ("E-mails", "mail", "accounts.email", "What was sent to whom, and what was not."),
        ("Erasures", "person_off", "accounts.erasure", "Whose personal data was erased, and when."),
        ("Audit record", "policy", "audit.auditevent", "Who did what, when and why."),
        ("Seals", "verified", "audit.checkpoint", "Whether the record is as it was written."),
    ],
}  # fmt: skip


def menu(request: HttpRequest) -> list[dict[str, Any]]:
    """Return the menu of whoever asks, as the admin's sidebar and start page show it."""
    groups = []
    for title, entries in MENU.items():
        items = [
            {
                "title": name,
                "icon": icon,
                "link": link_to(model),
                "description": description,
                "badge": waiting(request) if model == "accounts.approval" else 0,
            }
            for name, icon, model, description in entries
            if staff_may(request.user, model.replace(".", ".view_"))
        ]
        if items:
            groups.append({"title": title, "items": items})
    return groups


def waiting(request: HttpRequest) -> int:
    """Return how many approvals wait for whoever asks."""
    return waiting_for(actor_of(request), timezone.now()).count()


def link_to(model: str) -> str:
    return reverse(f"admin:{model.replace('.', '_')}_changelist")


def account(request: HttpRequest) -> list[dict[str, str]]:
    """Return what leads from the staff pages to one's own."""
    return [{"title": "Your account", "link": reverse("account")}]


def icon(request: HttpRequest) -> str:
    return static("creditsite/icon.svg")
