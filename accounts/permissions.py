"""
What each staff group may do: the one table.

``sync_staff_groups`` writes it onto the groups after every migrate. Money-moving doors ask
``staff_may``, which reads the table and the groups: being superuser is no way round it.
"""

from typing import Any

from django.apps import apps as installed_apps
from django.contrib.auth.models import Group, Permission
from django.db import connections
from django.db.migrations.executor import MigrationExecutor

from accounts.choices import StaffGroup


def view(app_label: str, *models: str) -> frozenset[str]:
    return frozenset(f"{app_label}.view_{model}" for model in models)


SUPPORT = (
    view("accounts", "user", "role")
    | view("ledger", "wallet", "grant", "credittransaction", "entry", "hold")
    | view("ledger", "feature", "featureprice")
)

VIEW_LEDGER_AND_PEOPLE = (
    SUPPORT
    | view("accounts", "team", "teammembership", "job")
    | view("ledger", "holdallocation", "debt")
)

AUDITOR = (
    VIEW_LEDGER_AND_PEOPLE
    | view("accounts", "apikey")
    | view("audit", "auditevent")
    | view("auth", "group")
)

FINANCE = VIEW_LEDGER_AND_PEOPLE | {
    "ledger.adjust_wallet",
    "ledger.pause_wallet",
    "ledger.switch_partner",
    "ledger.run_backfill",
    "ledger.reverse_credittransaction",
    "ledger.add_feature",
    "ledger.change_feature",
    "ledger.add_featureprice",
}

ADMIN = (
    FINANCE
    | AUDITOR
    | {
        "accounts.add_user",
        "accounts.change_user",
        "accounts.assign_role",
        "accounts.manage_staff",
        "accounts.add_role",
        "accounts.change_role",
        "accounts.add_team",
        "accounts.change_team",
        "accounts.add_apikey",
        "accounts.revoke_apikey",
        "accounts.control_job",
    }
)

PERMISSIONS: dict[StaffGroup, frozenset[str]] = {
    StaffGroup.ADMIN: ADMIN,
    StaffGroup.FINANCE: FINANCE,
    StaffGroup.SUPPORT: SUPPORT,
    StaffGroup.AUDITOR: AUDITOR,
}


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
