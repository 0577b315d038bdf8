from django.apps import AppConfig


class LedgerConfig(AppConfig):
    name = "ledger"
    verbose_name = "Credits"

    def ready(self) -> None:
        from accounts import events
        from accounts.personal_data import add_keeper
        from audit import sources
        from ledger.sealing import LEDGER
        from ledger.services import (
            adjustments,
            allotments,
            approved,
            award_runs,
            awards,
            backfill,
            batches,
            settings,
        )
        from ledger.services.erasure import Books

        events.user_registered.subscribe(allotments.allot_on_registration)
        events.user_registered.subscribe(awards.award_on_registration)
        events.partner_changed.subscribe(adjustments.void_partner_credits)
        events.role_changed.subscribe(allotments.allot_on_role_change)
        approved.register()
        award_runs.register()
        backfill.register()
        batches.register()
        settings.register()
        sources.register(LEDGER)
        add_keeper(Books())
