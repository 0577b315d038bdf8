"""What can happen in the demo, each by the service that production calls."""

import io
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from accounts.models import Approval, Team, User
from accounts.services.jobs import run_job
from accounts.services.users import change_partner
from creditsite.site.demo.shop import system_header, wallet_named
from ledger.choices import BatchKind, CreditType, TransactionKind
from ledger.models import Batch, CreditTransaction, Wallet
from ledger.queries.settings import settings_at
from ledger.queries.wallets import payers_of
from ledger.services import adjustments, batches, holds, posting, spending
from ledger.services.award_runs import run_due_awards
from ledger.services.batch_files import read_adjustments
from ledger.services.charges import charge_for
from ledger.services.openings import draft_openings
from ledger.services.posting import Posting
from ledger.services.settings import change_settings


class Story:
    """Who is who, and what was marked to be spoken of again."""

    def __init__(self, people: dict[str, User]) -> None:
        self.people, self.finance = people, people["finance"]
        self.marked: dict[str, Posting] = {}

    def spend(
        self,
        who: str,
        at: datetime,
        quantities: dict[str, int],
        team: str = "",
        reference_id: str = "",
        mark: str = "",
    ) -> None:
        user = self.people[who]
        pool = Team.objects.get(name=team) if team else None
        self.marked[mark] = spending.spend_credits(
            payers=payers_of(user, pool),
            charge=charge_for(_decimals(quantities), at=at),
            caller=f"user:{user.pk}",
            at=at,
            actor_id=user.pk,
            reference_id=reference_id,
        )

    def hold(self, who: str, at: datetime, quantities: dict[str, int], mark: str) -> None:
        user = self.people[who]
        self.marked[mark] = holds.place_hold(
            payers=payers_of(user),
            charge=charge_for(_decimals(quantities), at=at),
            caller=f"user:{user.pk}",
            at=at,
            actor_id=user.pk,
            expires_in=timedelta(days=20),
            reference_id=f"job-{mark}",
        )

    def capture(self, who: str, at: datetime, mark: str, amount: int | None = None) -> None:
        user, hold = self.people[who], self._hold(mark)
        holds.capture_hold(
            hold_id=hold, amount=amount, caller=f"user:{user.pk}", at=at, actor_id=user.pk
        )

    def release(self, who: str, at: datetime, mark: str) -> None:
        user, hold = self.people[who], self._hold(mark)
        holds.release_hold(hold_id=hold, caller=f"user:{user.pk}", at=at, actor_id=user.pk)

    def expire(self, who: str, at: datetime) -> None:
        """Book what expired, as the sweep does, in this wallet alone."""
        wallet = self._wallet(who)
        for grant in wallet.grants.filter(is_open=True, expires_at__lte=at):
            posting.draw(
                payers=[wallet.pk],
                amount=grant.remaining,
                grant=grant.pk,
                any_status=True,
                header=system_header(TransactionKind.EXPIRY, at, ""),
            )

    def add(
        self,
        who: str,
        at: datetime,
        amount: int,
        reason: str,
        type: CreditType = CreditType.AWARD,
        days: int | None = None,
    ) -> None:
        adjustments.add_credits(
            wallet=self._wallet(who),
            amount=amount,
            credit_type=type,
            expires_at=at + timedelta(days=days) if days else None,
            reason=reason,
            actor=self.finance,
            caller=f"user:{self.finance.pk}",
            at=at,
        )

    def set(self, who: str, at: datetime, reason: str, type: CreditType, to: int) -> None:
        wallet = self._wallet(who)
        adjustments.set_balances(
            wallet=wallet,
            targets={type: to},
            version=wallet.version,
            reason=reason,
            actor=self.finance,
            caller=f"user:{self.finance.pk}",
            at=at,
            idempotency_key=f"demo:{who}:{at.isoformat()}",
        )

    def reverse(self, who: str, at: datetime, mark: str, reason: str) -> None:
        adjustments.reverse_transaction(
            original=CreditTransaction.objects.get(pk=self._transaction(mark)),
            reason=reason,
            actor=self.finance,
            caller=f"user:{self.finance.pk}",
            at=at,
        )

    def partner(self, who: str, at: datetime, reason: str) -> None:
        user = self.people[who]
        change_partner(user=user, is_partner=True, actor=self.finance, reason=reason, at=at)

    def pause(self, who: str, at: datetime, reason: str) -> None:
        adjustments.pause_wallet(wallet=self._wallet(who), reason=reason, actor=self.finance, at=at)

    def settle(self, who: str, at: datetime, changes: Mapping[str, Any], reason: str) -> None:
        change_settings(
            changes=changes,
            version=settings_at(at).pk or 0,
            reason=reason,
            actor=self.people[who],
            at=at,
        )

    def award(self, who: str, at: datetime) -> None:
        """Give what is due by then, as the scheduler does."""
        for run in run_due_awards(actor=None, at=at):
            run_job(run.job, clock=lambda: at)

    def bring(self, who: str, at: datetime, name: str, content: str, reason: str) -> None:
        """Bring opening balances from a file."""
        file = io.BytesIO(content.encode())
        batch = draft_openings(file=file, name=name, reason=reason, maker=self.people[who], at=at)
        self._confirm(who, at, batch)

    def add_by_file(self, who: str, at: datetime, name: str, content: str, reason: str) -> None:
        self._add_to_many(
            who,
            at,
            reason,
            amount=None,
            selection={"of": "csv", "name": name},
            rows=read_adjustments(io.BytesIO(content.encode())),
        )

    def add_to_all(self, who: str, at: datetime, amount: int, reason: str) -> None:
        self._add_to_many(who, at, reason, amount=amount, selection={"of": "all"})

    def _add_to_many(self, who: str, at: datetime, reason: str, **whom: Any) -> None:
        batch = batches.draft_batch(
            kind=BatchKind.ADD,
            credit_type=CreditType.AWARD,
            reason=reason,
            maker=self.people[who],
            at=at,
            **whom,
        )
        self._confirm(who, at, batches.plan_batch(batch=batch, at=at))

    def _confirm(self, who: str, at: datetime, batch: Batch) -> None:
        """Confirm and work ``batch``; a large one is left waiting for a second person."""
        done = batches.confirm_batch(
            batch=batch,
            plan_hash=batch.plan_hash,
            phrase=batches.phrase_of(batch),
            actor=self.people[who],
            at=at,
        )
        if not isinstance(done, Approval) and done.job is not None:
            run_job(done.job, clock=lambda: at)

    def _wallet(self, who: str) -> Wallet:
        return wallet_named(self.people, who)

    def _transaction(self, mark: str) -> UUID:
        transaction = self.marked[mark].transaction_id
        if transaction is None:
            raise LookupError(f"{mark} is not a transaction.")
        return transaction

    def _hold(self, mark: str) -> UUID:
        hold = self.marked[mark].hold_id
        if hold is None:
            raise LookupError(f"{mark} is not a hold.")
        return hold


def _decimals(quantities: dict[str, int]) -> dict[str, Decimal]:
    return {code: Decimal(quantity) for code, quantity in quantities.items()}
