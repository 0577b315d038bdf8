from django.apps import AppConfig


class LedgerConfig(AppConfig):
    name = "ledger"
    verbose_name = "Credits"

    def ready(self) -> None:
        from accounts import events
        from ledger.services import adjustments, allotments, backfill

        events.user_registered.subscribe(allotments.allot_on_registration)
        events.partner_changed.subscribe(adjustments.void_partner_credits)
        events.role_changed.subscribe(allotments.allot_on_role_change)
        backfill.register()
