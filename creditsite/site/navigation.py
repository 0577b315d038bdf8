"""The menu of the staff pages: what a person may look at, by what they want to do."""

from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse

# Title, icon, model, and what one finds there.
MENU = {
    "Credits": [
        ("Users & balances", "wallet", "ledger.wallet", "What everybody has, and why."),
        ("Transactions", "receipt_long", "ledger.credittransaction", "Every movement of credits."),
        ("Grants", "redeem", "ledger.grant", "What was given, and what is left of it."),
        ("Holds", "hourglass_top", "ledger.hold", "Credits reserved for running jobs."),
        ("Features & prices", "sell", "ledger.feature", "What users pay for, and how much."),
    ],
    "People": [
        ("Users", "person", "accounts.user", "Accounts, their roles and flags."),
        ("Teams", "groups", "accounts.team", "Who shares a wallet."),
        ("Roles", "badge", "accounts.role", "Roles and the credits that come with them."),
        ("Staff groups", "shield_person", "auth.group", "What each group of staff may do."),
        ("API keys", "key", "accounts.apikey", "The services that call us."),
    ],
    "Operations": [
        ("Jobs", "deployed_code_history", "accounts.job", "Long work, and how far it is."),
        ("Audit record", "policy", "audit.auditevent", "Who did what, when and why."),
    ],
}  # fmt: skip


def menu(request: HttpRequest) -> list[dict[str, Any]]:
    """Return the menu of whoever asks, as the admin's sidebar and start page show it."""
    groups = []
    for title, entries in MENU.items():
        items = [
            {"title": name, "icon": icon, "link": link_to(model), "description": description}
            for name, icon, model, description in entries
            if request.user.has_perm(model.replace(".", ".view_"))
        ]
        if items:
            groups.append({"title": title, "items": items})
    return groups


def link_to(model: str) -> str:
    return reverse(f"admin:{model.replace('.', '_')}_changelist")


def icon(request: HttpRequest) -> str:
    return static("creditsite/icon.svg")
