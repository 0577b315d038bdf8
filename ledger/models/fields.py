from django.db import models


class UUID7(models.Func):
    """The engine's time-ordered UUID (RFC 9562), made by the database: PostgreSQL 15 has none."""

    function = "ledger_uuid7"
    output_field = models.UUIDField()


def credits_field(help_text: str = "", **options) -> models.BigIntegerField:
    """Return a column of whole credits, zero unless said otherwise."""
    return models.BigIntegerField(
        default=0, help_text=f"{help_text} In whole credits.".strip(), **options
    )


def code_field(max_length: int = 20, **options) -> models.CharField:
    """Return a column of a stored choice: compared byte by byte, the same everywhere."""
    return models.CharField(max_length=max_length, db_collation="C", **options)
