from django.db import models
from django.db.models import F
from django.db.models.functions import Least
from django.db.models.lookups import GreaterThanOrEqual

from ledger.choices import WalletStatus
from ledger.models.fields import code_field, credits_field


class WalletQuerySet(models.QuerySet):
    def with_owner(self) -> "WalletQuerySet":
        return self.select_related("user", "team")


class Wallet(models.Model):
    """
    All credits of one owner, by type.

    The figures restate the sums of the wallet's grants; only the engine writes them. They are what
    is spendable until ``recount_at``; from then on some grant may be expired or frozen, and
    ``ledger.queries.balances`` reads the grants instead.
    """

    user = models.OneToOneField(
        "accounts.User", models.PROTECT, null=True, blank=True, related_name="wallet"
    )
    team = models.OneToOneField(
        "accounts.Team", models.PROTECT, null=True, blank=True, related_name="wallet"
    )
    status = code_field(10, choices=WalletStatus, default=WalletStatus.ACTIVE)
    award = credits_field("Unspent awards, expired ones included until the sweep has booked them.")
    partner = credits_field("Unspent partner credits.")
    purchase = credits_field("Unspent purchased credits.")
    held = credits_field("Reserved by open holds; part of the three above.")
    debt = credits_field("Owed after a chargeback or an overrun.")
    version = models.BigIntegerField(
        default=0, help_text="The number of the wallet's last transaction."
    )
    recount_at = models.DateTimeField(
        null=True, help_text="From this instant on the grants are read. May be early, never late."
    )
    changed_at = models.DateTimeField(
        null=True, help_text="When the books of this wallet last moved."
    )

    objects = WalletQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "users & balances"
        permissions = [
            ("adjust_wallet", "Can add credits to a wallet and remove them"),
            ("set_balances", "Can set the balances of a wallet"),
            ("pause_wallet", "Can pause and resume a wallet"),
            ("switch_partner", "Can switch a user's partner status"),
            ("run_backfill", "Can give role allotments to users without credits"),
        ]
        # A CHECK is compiled anew by every statement, some 3 µs each: the hot tables have one for
        # what moves, and triggers in ``ledger/sql/guards.sql`` for what hardly ever does.
        constraints = [
            models.CheckConstraint(
                condition=GreaterThanOrEqual(
                    Least(
                        "award",
                        "partner",
                        "purchase",
                        "held",
                        "debt",
                        F("award") + F("partner") + F("purchase") - F("held"),
                    ),
                    0,
                ),
                name="ledger_wallet_is_never_negative",
            ),
        ]

    def __str__(self) -> str:
        return str(self.owner)

    @property
    def owner(self):
        return self.user or self.team

    @property
    def balance(self) -> int:
        """All credits in the books of this wallet, held and not yet swept ones included."""
        return self.award + self.partner + self.purchase
