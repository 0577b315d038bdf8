from importlib import import_module

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class AccountsConfig(AppConfig):
    name = "accounts"
    verbose_name = "People"

    def ready(self) -> None:
        from accounts.permissions import sync_staff_groups
        from accounts.personal_data import add_keeper
        from accounts.services import erasure
        from accounts.services.people_data import People

        import_module("accounts.web.receivers")
        post_migrate.connect(sync_staff_groups, dispatch_uid="accounts.sync_staff_groups")
        erasure.register()
        add_keeper(People())
