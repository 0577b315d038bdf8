from django.db import models


class Report(models.Model):
    """
    Not a table: what gives the pages of ``ledger.reports`` a name, an address and permissions.

    Reports are computed from the ledger whenever somebody looks.
    """

    class Meta:
        managed = False
        default_permissions = ("view",)
        permissions = [("export_report", "Can take a report away as a file")]

    def __str__(self) -> str:
        return "a report"
