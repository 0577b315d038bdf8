from django.contrib.postgres.fields import ArrayField
from django.db import models

from accounts.choices import ApiScope


class ApiKey(models.Model):
    """
    A service's way in: what it may do (scopes) and who answers for it (owner).

    The key itself is shown once and never stored; ``digest`` is its HMAC-SHA256.
    """

    name = models.CharField(max_length=80, help_text="Which service uses this key.")
    prefix = models.CharField(max_length=16, unique=True, editable=False)
    digest = models.BinaryField(max_length=32, unique=True, editable=False)
    scopes = ArrayField(models.CharField(max_length=20, choices=ApiScope))
    owner = models.ForeignKey("accounts.User", models.PROTECT, related_name="api_keys")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        verbose_name = "API key"
        permissions = [("revoke_apikey", "Can revoke an API key")]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"
