from django.apps import AppConfig
from django.db.models.signals import post_migrate


class AccountsConfig(AppConfig):
    name = "accounts"
    verbose_name = "People"

    def ready(self) -> None:
        from accounts.permissions import sync_staff_groups

        post_migrate.connect(sync_staff_groups, dispatch_uid="accounts.sync_staff_groups")
