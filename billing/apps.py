from django.apps import AppConfig


class BillingConfig(AppConfig):
    name = "billing"
    verbose_name = "Sale"

    def ready(self) -> None:
        from accounts.personal_data import add_keeper
        from billing.services import promotions, refunds, reviews
        from billing.services.erasure import Uses

        promotions.register()
        refunds.register()
        reviews.register()
        add_keeper(Uses())
