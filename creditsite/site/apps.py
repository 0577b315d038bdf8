from django.apps import AppConfig
from django.core.checks import Tags, register


class SiteConfig(AppConfig):
    name = "creditsite.site"
    label = "site"

    def ready(self) -> None:
        from creditsite.checks import check_database, check_deployment
        from creditsite.site.checks import check_roles

        register(check_deployment, Tags.security, deploy=True)
        register(check_database, Tags.database)
        register(check_roles, Tags.database, deploy=True)
