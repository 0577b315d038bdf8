"""What the books hold about a person: settled before they are erased, and given to them."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from django.db.models import CharField, F, Q, QuerySet
from django.db.models.functions import Cast

from accounts.models import Team, User
from accounts.personal_data import Decision, Keeper, Section
from accounts.services.people_data import mentioning, who
from audit.models import AuditEvent
from creditsite.errors import Conflict
from ledger import keys
from ledger.choices import CreditType, HoldStatus, TransactionKind, WalletStatus
from ledger.models import (
    Batch,
    BatchException,
    BatchItem,
    CreditTransaction,
    Debt,
    Grant,
    Hold,
    Referral,
    Wallet,
)
from ledger.queries.wallets import pool_of
from ledger.services import posting
from ledger.services.posting import Header

FORFEIT = "forfeit_purchased"
WRITE_OFF = "write_off_debt"


class Books(Keeper):
    def obstacles(self, user: User, at: datetime) -> list[str]:
        found = []
        holds = Hold.objects.filter(wallet__user=user, status=HoldStatus.OPEN)
        if count := holds.count():
            found.append(f"Running jobs hold credits ({count} holds): wait until they end.")
        if Grant.objects.filter(wallet__user=user, is_open=True, is_frozen=True).exists():
            found.append("Credits are frozen while a chargeback is decided: wait for it.")
        return found

    def decisions(self, user: User, at: datetime) -> list[Decision]:
        wallet = Wallet.objects.filter(user=user).first()
        needed = []
        if wallet and wallet.purchase:
            needed.append(
                Decision(
                    FORFEIT,
                    wallet.purchase,
                    f"Forfeit {wallet.purchase:,} purchased credits. They are released by staff,"
                    " never revenue. What was paid for them can be refunded first.",
                )
            )
        if wallet and wallet.debt:
            text = f"Write off a debt of {wallet.debt:,} credits."
            needed.append(Decision(WRITE_OFF, wallet.debt, text))
        return needed

    def erases(self, user: User) -> dict[str, int]:
        transactions = CreditTransaction.objects.filter(wallet__user=user)
        wallet = Wallet.objects.filter(user=user).first()
        return {
            "texts of transactions": transactions.filter(text_salt__isnull=False).count(),
            "texts of holds": Hold.objects.filter(wallet__user=user, erased_at=None).count(),
            "award and partner credits, which are voided": (
                wallet.award + wallet.partner if wallet else 0
            ),
        }

    def keeps(self, user: User) -> list[str]:
        count = CreditTransaction.objects.filter(wallet__user=user).count()
        return [
            f"{count:,} transactions with their credits, prices and dates, without texts:"
            " law asks for books to be kept. The wallet is closed."
        ]

    def settle(
        self, *, user: User, decided: Mapping[str, int], actor: User | None, at: datetime
    ) -> None:
        """
        Void and write off what was decided, and close the wallet.

        :raises Conflict: credits are held, or there is more than was decided.
        """
        wallet = Wallet.objects.filter(user=user).first()
        if wallet is None:
            return
        posting.lock_wallet(wallet.pk)
        wallet.refresh_from_db()
        if wallet.held or wallet.purchase > decided.get(FORFEIT, 0):
            raise Conflict("The wallet has changed meanwhile. Look at it again.")
        if wallet.debt > decided.get(WRITE_OFF, 0):
            raise Conflict("The debt has grown meanwhile. Look at it again.")
        _expire(wallet, at)
        if Grant.objects.filter(wallet=wallet, is_open=True).exists():
            posting.void(
                wallet=wallet.pk,
                types=list(CreditType),
                header=_header(TransactionKind.VOID, wallet, actor, at),
            )
        if wallet.debt:
            posting.write_off(
                wallet=wallet.pk,
                amount=wallet.debt,
                header=_header(TransactionKind.WRITE_OFF, wallet, actor, at),
            )
        posting.set_status(wallet=wallet.pk, expected=wallet.status, status=WalletStatus.CLOSED)

    def audit_targets(self, user: User) -> set[tuple[str, str]]:
        targets = {
            ("ledger.wallet", str(pk))
            for pk in Wallet.objects.filter(user=user).values_list("pk", flat=True)
        }
        for kind, theirs in [
            ("ledger.credittransaction", CreditTransaction.objects.filter(wallet__user=user)),
            ("ledger.hold", Hold.objects.filter(wallet__user=user)),
        ]:
            rows: QuerySet = theirs.annotate(name=Cast("pk", CharField()))
            # Few are acted on by staff; all that are have an event.
            named = AuditEvent.objects.filter(target_type=kind).values("target_id")
            acted_on = rows.filter(name__in=named).values_list("name", flat=True)
            targets |= {(kind, name) for name in acted_on}
        return targets

    def erase(self, *, user: User, words: Iterable[str], at: datetime) -> None:
        # That there was one still counts for the referrer's limit.
        Referral.objects.filter(referred=user).update(referred=None)
        for wallet_id in Wallet.objects.filter(user=user).values_list("pk", flat=True):
            posting.erase_text(wallet=wallet_id, at=at)
        for team in teams_ever_of(user):
            posting.erase_text_of(wallet=pool_of(team).pk, actor=user.pk, at=at)
        _erase_from_batches(user, words)

    def export(self, user: User, at: datetime) -> Mapping[str, Section]:
        mine = {"wallet__user": user}
        return {
            "wallet": wallet_document(user),
            "grants": Grant.objects.filter(**mine)
            .order_by("effective_at", "pk")
            .values(
                "id", "credit_type", "source", "amount", "remaining", "held", "paid_minor",
                "returned_minor", "currency", "effective_at", "expires_at", "voided_at",
            ),
            "transactions": transaction_documents(user, Q(**mine)),
            "spent_from_pools": transaction_documents(user, in_pools(user)),
            "holds": Hold.objects.filter(**mine)
            .order_by("placed_at", "pk")
            .values(
                "id", "status", "amount", "captured", "released", "placed_at", "expires_at",
                "ended_at", "feature", "reference_id", "description", "project", "metadata",
            ),
            "debts": Debt.objects.filter(**mine)
            .order_by("opened_at", "pk")
            .values("id", "opened_at", "amount", "outstanding"),
            "referrals": Referral.objects.filter(referrer=user)
            .order_by("pk")
            .values("registered_at", "outcome", "credits"),
        }  # fmt: skip


def _erase_from_batches(user: User, words: Iterable[str]) -> None:
    """Erase the notes of files on ``user``, and searches and reasons that name them."""
    for lines in (BatchItem, BatchException):
        theirs = lines.objects.filter(batch__selection__of="csv", wallet__user=user)
        theirs.exclude(note="").update(note="")
    named = mentioning(words, "reason", "selection__query__q")
    for batch in Batch.objects.filter(named) if named else []:
        batch.selection.get("query", {}).pop("q", None)
        batch.reason = ""
        batch.save(update_fields=["selection", "reason"])


def _expire(wallet: Wallet, at: datetime) -> None:
    """Book what has expired: it is breakage, and not released by staff."""
    over = Grant.objects.filter(wallet=wallet, is_open=True, expires_at__lte=at)
    for grant in over.filter(remaining__gt=F("held")).order_by("expires_at", "pk"):
        posting.draw(
            payers=[wallet.pk],
            amount=grant.remaining - grant.held,
            grant=grant.pk,
            any_status=True,
            header=_header(TransactionKind.EXPIRY, wallet, None, at),
        )


def _header(kind: TransactionKind, wallet: Wallet, actor: User | None, at: datetime) -> Header:
    caller = f"user:{actor.pk}" if actor else "system"
    return Header(
        kind=kind,
        at=at,
        caller=caller,
        key=keys.fresh(caller),
        fingerprint=keys.fingerprint("erase", kind.value, wallet.pk),
        actor_id=actor.pk if actor else None,
    )


def teams_ever_of(user: User) -> list[Team]:
    """Return the teams that ``user`` has or had a seat in, as far as those still exist."""
    joined = AuditEvent.objects.filter(
        action="accounts.team.member_added", after__user_id=user.pk
    ).values_list("target_id", flat=True)
    seats = Q(memberships__user=user) | Q(pk__in=[int(pk) for pk in joined])
    return list(Team.objects.filter(seats).select_related("owner").distinct().order_by("pk"))


def in_pools(user: User) -> Q:
    """Return the condition of what ``user`` did in wallets that others share."""
    pools = [pool_of(team).pk for team in teams_ever_of(user)]
    return Q(wallet__in=pools, actor=user) & ~Q(wallet__user=user)


def wallet_document(user: User) -> dict[str, Any]:
    wallet = Wallet.objects.filter(user=user).first()
    if wallet is None:
        return {}
    names = ["status", "award", "partner", "purchase", "held", "debt", "changed_at"]
    return {name: getattr(wallet, name) for name in names}


def transaction_documents(user: User, condition: Q) -> Iterator[dict[str, Any]]:
    """Yield transactions, and whether the user, staff or the system asked for them."""
    columns = [
        "id", "number", "kind", "amount", "debt", "balance_after", "feature", "quantities",
        "occurred_at", "recorded_at", "reference_id", "description", "project", "metadata",
    ]  # fmt: skip
    rows = CreditTransaction.objects.filter(condition).order_by("wallet", "number")
    for row in rows.iterator(chunk_size=500):
        yield {name: getattr(row, name) for name in columns} | {"by": who(user, row.actor_id)}
