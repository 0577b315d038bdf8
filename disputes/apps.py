from django.apps import AppConfig


class DisputesConfig(AppConfig):
    name = "disputes"
    verbose_name = "Disputes"

    def ready(self) -> None:
        from accounts.personal_data import add_keeper
        from billing.events import payment_disputed
        from disputes.services import payment_disputes, resolution
        from disputes.services.erasure import Complaints

        payment_disputed.subscribe(payment_disputes.follow)
        payment_disputes.register()
        resolution.register()
        add_keeper(Complaints())
