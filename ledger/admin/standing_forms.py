"""The forms of a wallet's standing: whether its owner is a partner, and whether it may spend."""

from collections.abc import Callable
from datetime import datetime
from typing import ClassVar

from django.db.models import Sum

from accounts.models import User
from accounts.services.users import change_partner
from ledger.admin.forms import WalletForm
from ledger.choices import TransactionKind
from ledger.services import adjustments


class StartPartnerForm(WalletForm):
    title = "Make a partner"

    def changes(self) -> list[str]:
        return [f"{self.object} becomes a partner. No credits move."]

    def apply(self, *, actor: User, at: datetime) -> str:
        reason, user = self.cleaned_data["reason"], self.object.user
        change_partner(user=user, is_partner=True, actor=actor, reason=reason, at=at)
        return f"{self.object} is a partner."


class EndPartnerForm(WalletForm):
    title = "End partner status"

    @property
    def phrase(self) -> str:
        return f"VOID {self.balance.partner}"

    def changes(self) -> list[str]:
        return [
            f"{self.object} is no longer a partner.",
            f"{self.balance.partner:,} partner credits are voided, for good. What is held of them"
            " stays capturable, and is voided when its hold ends.",
        ]

    def apply(self, *, actor: User, at: datetime) -> str:
        reason, user = self.cleaned_data["reason"], self.object.user
        change_partner(user=user, is_partner=False, actor=actor, reason=reason, at=at)
        voids = self.object.transactions.filter(
            kind=TransactionKind.VOID, number__gt=self.balance.version
        )
        voided = -(voids.aggregate(Sum("amount"))["amount__sum"] or 0)
        return f"{self.object} is no longer a partner. {voided:,} partner credits were voided."


class StatusForm(WalletForm):
    move: ClassVar[Callable[..., None]]
    effect: ClassVar[str]

    def changes(self) -> list[str]:
        return [f"{self.object}: {self.effect}"]

    def apply(self, *, actor: User, at: datetime) -> str:
        reason = self.cleaned_data["reason"]
        self.move(wallet=self.object, reason=reason, actor=actor, at=at)
        self.object.refresh_from_db(fields=["status"])
        return f"The wallet of {self.object} is {self.object.status}."


class PauseForm(StatusForm):
    title = "Pause"
    move = staticmethod(adjustments.pause_wallet)
    effect = "no spends and no new holds. Captures, releases, awards and sales go on."


class ResumeForm(StatusForm):
    title = "Resume"
    move = staticmethod(adjustments.resume_wallet)
    effect = "spends and holds are possible again."
