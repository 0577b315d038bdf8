import uuid

from django.db import models


class Team(models.Model):
    """
    People who spend from one pool.

    A team with an ``owner`` (a team_admin) spends from the owner's own wallet. A team without one
    is an organisation and has a wallet of its own. ``ledger.queries.wallets.pool_of`` says which.
    """

    public_id = models.UUIDField(
        default=uuid.uuid4, unique=True, editable=False, help_text="By which the API names it."
    )
    name = models.CharField(max_length=120)
    owner = models.OneToOneField(
        "accounts.User", models.PROTECT, null=True, blank=True, related_name="owned_team"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.name


class TeamMembership(models.Model):
    """A seat: ``user`` may spend from the pool of ``team``."""

    team = models.ForeignKey(Team, models.CASCADE, related_name="memberships")
    user = models.ForeignKey("accounts.User", models.CASCADE, related_name="memberships")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["team", "user"], name="accounts_teammembership_is_unique"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} in {self.team}"
