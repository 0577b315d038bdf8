from django.db import models


class Erasure(models.Model):
    """
    A user whose personal data was erased, for doing it again where a backup brings them back.

    It names nobody: ``identity`` is the keyed hash of the e-mail address they had.
    """

    user_id = models.BigIntegerField(unique=True)
    identity = models.UUIDField()
    erased_at = models.DateTimeField()
    listed_at = models.DateTimeField(
        null=True, help_text="When it was appended to the list outside of the database."
    )

    class Meta:
        permissions = [
            ("erase_user", "Can ask for the erasure of a user's personal data"),
            ("export_user", "Can export the personal data of a user"),
        ]

    def __str__(self) -> str:
        return f"erasure of user {self.user_id}"
