from django.db import models


class SignInFailures(models.Model):
    """
    How many sign-ins went wrong of one account, of one address, or of one account from one address.

    ``key`` is a keyed hash of which, so that the table tells nobody who tried to sign in where.
    """

    key = models.UUIDField(primary_key=True)
    failures = models.PositiveIntegerField()
    until = models.DateTimeField(help_text="When the count starts again from none.")

    def __str__(self) -> str:
        return f"{self.failures} until {self.until}"


class KnownAddress(models.Model):
    """An address from which an account has signed in: both as keyed hashes."""

    key = models.UUIDField(primary_key=True, help_text="Of the account from the address.")
    account = models.UUIDField(db_index=True)
    until = models.DateTimeField(help_text="When it is forgotten, unless used again.")

    def __str__(self) -> str:
        return f"known until {self.until}"
