from django.apps import AppConfig

PORTAL = [
    ("Credits", "billing_credits", 10),
    ("Buy credits", "billing_buy", 20),
    ("Plans", "billing_plans", 30),
    ("Payments", "billing_payments", 40),
    ("Projects", "billing_projects", 55),
    ("Auto top-up", "billing_auto_top_up", 50),
]


class BillingConfig(AppConfig):
    name = "billing"
    verbose_name = "Sale"

    def ready(self) -> None:
        from accounts import events
        from accounts.features import add_source
        from accounts.personal_data import add_keeper
        from billing.invariants import CHECKS
        from billing.queries.plans import features_of
        from billing.queries.subscriptions import unallotted_at
        from billing.services import (
            crediting,
            project_files,
            promotions,
            refunds,
            reviews,
            share_payouts,
            shares,
            tier_allotments,
            tiers,
        )
        from billing.services.erasure import Uses
        from billing.services.project_data import Projects
        from billing.services.share_erasure import Earnings
        from billing.services.subscription_data import Subscriptions
        from billing.services.tier_data import Tiers
        from billing.services.top_up_data import TopUps
        from billing.web.earnings import earns
        from billing.web.menu import add_to_menu
        from ledger.invariants import add_checks
        from ledger.reports.revenue import UNALLOTTED

        project_files.register()
        add_checks(CHECKS)
        UNALLOTTED.append(unallotted_at)
        promotions.register()
        refunds.register()
        crediting.register()
        reviews.register()
        share_payouts.register()
        tier_allotments.register()
        tiers.register()
        add_source(features_of)
        add_keeper(Uses())
        add_keeper(Tiers())
        add_keeper(Projects())
        add_keeper(TopUps())
        add_keeper(Subscriptions())
        add_keeper(Earnings())
        events.agent_changed.subscribe(shares.follow_agent)
        events.user_registered.subscribe(shares.follow_new_user)
        events.partner_changed.subscribe(shares.follow_partner)
        add_to_menu("Earnings", "billing_earnings", position=60, is_for=earns)
        for title, page, position in PORTAL:
            add_to_menu(title, page, position=position)
