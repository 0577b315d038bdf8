from datetime import datetime

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils import timezone

from accounts.choices import ApiScope


class ApiKey(models.Model):
    """
    A service's way in: what it may do (scopes) and who answers for it (owner).

    The key itself is shown once and never stored; ``digest`` is its HMAC-SHA256. To rotate it a
    second one is made that ``replaces`` it; both live until the first is revoked.
    """

    name = models.CharField(max_length=80, help_text="Which service uses this key.")
    prefix = models.CharField(max_length=16, unique=True, editable=False)
    digest = models.BinaryField(max_length=32, unique=True, editable=False)
    scopes = ArrayField(models.CharField(max_length=20, choices=ApiScope))
    owner = models.ForeignKey("accounts.User", models.PROTECT, related_name="api_keys")
    daily_cap = models.BigIntegerField(
        null=True,
        blank=True,
        help_text="Whole credits it may spend in a day of UTC; no limit if left out.",
    )
    replaces = models.OneToOneField(
        "self", models.PROTECT, null=True, editable=False, related_name="replaced_by"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(help_text="At most a year ahead, and so if left out.")
    revoked_at = models.DateTimeField(null=True, editable=False)
    # Written beside the requests that it tells of, once a minute at most.
    last_used_at = models.DateTimeField(null=True, editable=False)
    last_used_address = models.GenericIPAddressField(null=True, editable=False)

    class Meta:
        verbose_name = "API key"
        permissions = [("revoke_apikey", "Can revoke an API key")]
        constraints = [
            models.CheckConstraint(
                condition=Q(daily_cap=None) | Q(daily_cap__gt=0),
                name="accounts_apikey_cap_is_above_zero",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    def is_live(self, at: datetime) -> bool:
        """Return whether the key itself works at ``at``, whatever became of its owner."""
        return self.revoked_at is None and at < self.expires_at
