"""What is held about what a person bought: given to them, and kept with the books."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from django.db.models import F

from accounts.models import User
from accounts.personal_data import Keeper, Section
from billing.choices import PaymentStatus, RefundStatus
from billing.models import Break, Payment, Redemption, Refund, ReviewItem, StripeCustomer
from billing.services.payments import label


class Uses(Keeper):
    def obstacles(self, user: User, at: datetime) -> list[str]:
        found = []
        payments = Payment.objects.filter(user=user)
        if payments.filter(is_disputed=True).exists():
            found.append("The bank decides about a chargeback: wait for it.")
        if payments.filter(
            status=PaymentStatus.SUSPENDED, returned_minor=0, charged_minor__gt=0
        ).exists():
            found.append("A payment is held back for review: refund it first.")
        if Refund.objects.filter(payment__user=user, status=RefundStatus.WAITING).exists():
            found.append("A refund is on its way to Stripe: wait until it is there.")
        return found

    def erases(self, user: User) -> dict[str, int]:
        count = StripeCustomer.objects.filter(user=user, forget_at=None).count()
        return {"customer at Stripe, with their cards": count} if count else {}

    def keeps(self, user: User) -> list[str]:
        kept = []
        if payments := Payment.objects.filter(user=user).count():
            kept.append(
                f"{payments:,} payments with their sums and dates: law asks for books to be kept."
            )
        if uses := Redemption.objects.filter(user=user).count():
            kept.append(
                f"{uses:,} uses of promotion codes, so that none is used again for the same person."
            )
        return kept

    def audit_targets(self, user: User) -> set[tuple[str, str]]:
        matters = ReviewItem.objects.filter(payment__user=user)
        breaks = Break.objects.filter(payment__user=user).values_list("pk", flat=True)
        return {
            *(("billing.payment", str(payment.pk)) for payment in user.payments.all()),
            *(("billing.reviewitem", str(matter.pk)) for matter in matters),
            *(("billing.break", str(pk)) for pk in breaks),
        }

    def erase(self, *, user: User, words: Iterable[str], at: datetime) -> None:
        StripeCustomer.objects.filter(user=user, forget_at=None).update(forget_at=at)
        Refund.objects.filter(payment__user=user).update(reason="")
        ReviewItem.objects.filter(payment__user=user).update(resolution="")
        Break.objects.filter(payment__user=user).update(explanation="")
        bought = Payment.objects.filter(user=user, fingerprint__isnull=False)
        for payment in bought.select_related("price__version"):
            payment.description = label(payment.credits, payment.price)
            payment.save(update_fields=["description"])

    def export(self, user: User, at: datetime) -> Mapping[str, Section]:
        return {
            "promotions": Redemption.objects.filter(user=user)
            .order_by("pk")
            .annotate(code=F("promotion__code"))
            .values(
                "code", "status", "currency", "discount_minor", "credits", "reserved_at",
                "settled_at",
            ),
            "payments": Payment.objects.filter(user=user)
            .order_by("pk")
            .values(
                "public_id", "status", "description", "credits", "currency", "net_minor",
                "tax_minor", "charged_minor", "refunded_minor", "charged_back_minor",
                "created_at", "paid_at",
            ),
        }  # fmt: skip
