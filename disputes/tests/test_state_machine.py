"""
The whole life of disputes against a reference, while everything else happens to their wallets.

The reference of the books (``ledger/tests/reference.py``) says what giving back does; this one says
who may do what in which state. After each step both have accepted or refused for the same reason,
and books, disputes and decisions stand as the references do.
"""

import os
from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test

from accounts.models import Approval, User
from accounts.services import approvals
from accounts.tests.factories import StaffFactory
from creditsite.errors import CreditsiteError
from disputes.choices import Resolution
from disputes.models import Decision, Dispute
from disputes.queries.charges import open_credits
from disputes.services.resolution import Decided, resolve_dispute
from disputes.services.review import assign_dispute, review_dispute
from disputes.services.submission import appeal_dispute, submit_dispute
from ledger.models import CreditSettings
from ledger.queries.wallets import wallet_of
from ledger.services import posting
from ledger.tests.factories import CustomerFactory, finance, set_credit_settings
from ledger.tests.reference import Books, Refused, Transaction, Wallet
from ledger.tests.test_state_machine import WEIGHTS, LedgerMachine

STEPS_IN_SUITE = 1_200
STEPS = int(os.environ.get("DISPUTE_STEPS", STEPS_IN_SUITE))
STEPS_PER_EXAMPLE = 60

DAYS_TO_DISPUTE, HOURS_TO_REVIEW, DAYS_TO_APPROVE, LIMIT = 3, 5, 1, 4
PAUSES = [timedelta(hours=h) for h in (1, 6, 30, 80)]
WEIGHTS_OF_DISPUTES = {
    "submit": 60,
    "review": 50,
    "assign": 15,
    "resolve": 60,
    "appeal": 25,
    "approve": 40,
    "refuse": 6,
    "expire_approvals": 12,
    "repeat_decision": 5,
    "reverse": 10,
    "days_pass": 10,
}
# What the wallets live through: less of it, and enough to dispute.
WEIGHTS_OF_BOOKS = {name: weight // 3 + 1 for name, weight in WEIGHTS.items()} | {
    "post": 30,
    "draw": 40,
    "restore": 8,
}


@dataclass(eq=False)
class Waiting:
    """A decision that waits for a second person."""

    id: int
    maker: User
    resolution: str
    amount: int
    expires_at: datetime
    is_ended: bool = False


@dataclass(eq=False)
class Case:
    """A dispute, as the reference knows it; ``judges`` decided a round, or approved it."""

    id: UUID
    charge: Transaction
    requested: int
    status: str = "pending"
    round: int = 1
    version: int = 1
    decided_at: datetime | None = None
    waiting: Waiting | None = None
    judges: dict[int, set[int]] = field(default_factory=dict)
    refunded: int = 0

    @property
    def open(self) -> int:
        return sum(abs(line.amount) - line.restored for line in self.charge.open_lines())


class DisputeMachine(LedgerMachine):
    """Three wallets, one of them a reviewer's own, and four who review and decide."""

    asked: Counter[str] = Counter()
    done_with: Counter[str] = Counter()

    def __init__(self) -> None:
        super().__init__()
        set_credit_settings(
            dispute_days=DAYS_TO_DISPUTE,
            dispute_review_hours=HOURS_TO_REVIEW,
            approval_dispute_above=LIMIT,
        )
        self.reviewers = [finance(), finance(), finance()]
        self.support = StaffFactory(groups="Support")
        owners = [CustomerFactory(), CustomerFactory(), self.reviewers[0]]
        self.owners = {wallet_of(user).pk: user for user in owners}
        wallets = [Wallet(id) for id in sorted(self.owners)]
        self.books = Books(wallets, timedelta(days=CreditSettings().grace_days))
        self.seen = dict.fromkeys(self.owners, 0)
        self.cases: list[Case] = []
        self.made_at: dict[Transaction, datetime] = {}
        self.decisions: list[tuple[dict[str, Any], object]] = []
        beginning = Random(0)  # So that there is something to dispute.
        for name in ["post"] * 8 + ["draw"] * 8 + ["submit"] * 4:
            getattr(self, name)(beginning)

    @rule(seed=st.binary(min_size=6, max_size=6))
    def step(self, seed: bytes) -> None:
        random = Random(f"{self.past} {seed.hex()}")
        self.past = random.getrandbits(64)
        weights = WEIGHTS_OF_BOOKS | WEIGHTS_OF_DISPUTES
        (name,) = random.choices(list(weights), list(weights.values()))
        getattr(self, name)(random)

    def compare(self) -> None:
        super().compare()
        for transaction in self.transactions():
            self.made_at.setdefault(transaction, self.at)
        rows = {row.pk: row for row in Dispute.objects.all()}
        assert rows.keys() == {case.id for case in self.cases}
        for case in self.cases:
            row = rows[case.id]
            waits_for = case.waiting.id if case.waiting else None
            found = (row.status, row.round, row.version, row.approval_id)
            assert found == (case.status, case.round, case.version, waits_for)
            assert open_credits(row.transaction_id) == case.open >= 0
            given = Decision.objects.filter(dispute=case.id).values_list("refunded", flat=True)
            assert sum(given) == case.refunded <= row.charged

    def act(
        self, name: str, model: Callable[[], object], service: Callable[[], object]
    ) -> tuple[object, object]:
        """Ask the reference and the service the same; return what each answered."""
        expected: object
        answered: object = None
        try:
            expected, answered = "", model()
        except Refused as refusal:
            expected = refusal.name
        try:
            result, said = service(), ""
        except CreditsiteError as refusal:
            result, said = None, type(refusal).__name__
        assert said == expected, f"{name}: {said or 'done'}, the reference {expected or 'done'}"
        self.asked[name] += 1
        self.done_with[said or name] += 1
        return answered, result

    # --- Choosing --------------------------------------------------------------------------------
    def case(self, random: Random, *statuses: str) -> Case | None:
        """Return one in a state in which something can be done, and now and then another."""
        fitting = [case for case in self.cases if case.status in statuses]
        cases = self.cases if random.random() < 0.15 else fitting
        return random.choice(cases[-6:]) if cases else None

    def person(self, random: Random, case: Case) -> User:
        owner = self.owners[case.charge.wallet.id]
        return random.choice([*self.reviewers * 6, self.support, owner])

    def version(self, random: Random, case: Case) -> int | None:
        return random.choice([None] * 6 + [case.version] * 6 + [case.version - 1])

    def is_own(self, user: User, case: Case) -> bool:
        return self.owners[case.charge.wallet.id] == user

    def refuse_state(self, case: Case, statuses: list[str], version: int | None) -> None:
        if case.status not in statuses:
            raise Refused("DisputeNotInState")
        if version not in (None, case.version):
            raise Refused("DisputeChanged")

    def judged(self, user: User, case: Case) -> bool:
        return any(user.pk in judges for n, judges in case.judges.items() if n < case.round)

    # --- What may happen -------------------------------------------------------------------------
    def days_pass(self, random: Random) -> None:
        self.at += random.choice(PAUSES)
        self.compare()

    def submit(self, random: Random) -> None:
        known = {case.charge for case in self.cases}
        usages = [tx for tx in self.transactions() if tx.kind == "usage" and tx not in known]
        charges = self.transactions() if random.random() < 0.15 else usages
        if not charges:
            return
        charge = random.choice(charges[-8:])
        owner = self.owners[charge.wallet.id]
        actor = owner if random.random() < 0.95 else random.choice(list(self.owners.values()))
        new = Case(UUID(int=0), charge, 0)
        new.requested = random.choice([1, 5] + [max(new.open, 1)] * 4 + [new.open + 1])

        def model() -> None:
            if actor != owner:
                raise Refused("TransactionNotFound")
            if charge.kind != "usage":
                raise Refused("NotDisputable")
            if any(case.charge is charge for case in self.cases):
                raise Refused("AlreadyDisputed")
            if self.at >= self.made_at[charge] + timedelta(days=DAYS_TO_DISPUTE):
                raise Refused("TooLateToDispute")
            if new.open == 0:
                raise Refused("NothingToDispute")
            if new.requested > new.open:
                raise Refused("ExceedsTaken")

        _, submitted = self.act(
            "submit",
            model,
            lambda: submit_dispute(
                transaction_id=UUID(str(charge.id)),
                reason="other",
                description="It was not what I asked for.",
                requested=new.requested,
                actor=actor,
                caller=f"user:{actor.pk}",
                at=self.at,
            ),
        )
        if submitted:
            new.id = submitted.dispute.pk
            self.cases.append(new)
        self.compare()

    def review(self, random: Random) -> None:
        if (case := self.case(random, "pending")) is None:
            return
        actor, version = self.person(random, case), self.version(random, case)
        assignee = random.choice([None, None, None, self.person(random, case)])

        def model() -> None:
            self.refuse_reviewer(actor, case)
            self.refuse_state(case, ["pending"], version)
            if assignee is None and self.judged(actor, case):
                raise Refused("SameReviewer")
            self.refuse_assignee(assignee, case)
            case.status, case.version = "under_review", case.version + 1

        self.act(
            "review",
            model,
            lambda: review_dispute(
                dispute=Dispute.objects.get(pk=case.id),
                notes="mine",
                assignee=assignee,
                actor=actor,
                at=self.at,
                version=version,
            ),
        )
        self.compare()

    def assign(self, random: Random) -> None:
        if (case := self.case(random, "pending", "under_review")) is None:
            return
        actor, version = self.person(random, case), self.version(random, case)
        assignee = random.choice([None, self.person(random, case)])

        def model() -> None:
            self.refuse_reviewer(actor, case)
            self.refuse_state(case, ["pending", "under_review"], version)
            self.refuse_assignee(assignee, case)
            case.version += 1

        self.act(
            "assign",
            model,
            lambda: assign_dispute(
                dispute=Dispute.objects.get(pk=case.id),
                assignee=assignee,
                actor=actor,
                at=self.at,
                version=version,
            ),
        )
        self.compare()

    def refuse_reviewer(self, actor: User, case: Case) -> None:
        if actor not in [*self.reviewers, self.support]:
            raise Refused("NotPermitted")
        if self.is_own(actor, case):
            raise Refused("OwnWallet")

    def refuse_assignee(self, assignee: User | None, case: Case) -> None:
        if assignee is None:
            return
        is_reviewer = assignee in [*self.reviewers, self.support]
        if not is_reviewer or self.is_own(assignee, case) or self.judged(assignee, case):
            raise Refused("CannotReview")

    def resolve(self, random: Random) -> None:
        if (case := self.case(random, "under_review")) is None:
            return
        actor, version = self.person(random, case), self.version(random, case)
        resolution = random.choice(["full_refund"] * 3 + ["partial_refund"] * 4 + ["rejected"] * 2)
        resolution = random.choice([resolution] * 8 + ["explanation"])
        is_partial = resolution == "partial_refund"
        asked = random.choice([1, 3, 10, max(case.open, 1), case.open + 1]) if is_partial else None
        key = f"decision {self.past}"

        def model() -> str:
            if actor not in self.reviewers:
                raise Refused("NotPermitted")
            if self.is_own(actor, case):
                raise Refused("OwnWallet")
            self.refuse_state(case, ["under_review"], version)
            if self.judged(actor, case):
                raise Refused("SameReviewer")
            if case.waiting and self.at < case.waiting.expires_at:
                raise Refused("DisputeWaits")
            amount = self.amount_of(case, resolution, asked)
            self.try_to_give_back(case, amount)
            if amount > LIMIT:
                expires_at = self.at + timedelta(days=DAYS_TO_APPROVE)
                case.waiting = Waiting(0, actor, resolution, amount, expires_at)
                case.version += 1
                return "waits"
            self.decide(case, resolution, amount, {actor.pk})
            return "decided"

        request = {
            "dispute": Dispute.objects.get(pk=case.id),
            "resolution": Resolution(resolution),
            "refund_amount": asked,
            "notes": "We looked into it.",
            "actor": actor,
            "caller": f"user:{actor.pk}",
            "idempotency_key": key,
            "version": version,
        }
        answered, done = self.act("resolve", model, lambda: resolve_dispute(at=self.at, **request))
        if answered == "waits":
            assert isinstance(done, Approval)
            assert case.waiting
            case.waiting.id = done.pk
            self.done_with["waits"] += 1
        elif answered == "decided":
            assert isinstance(done, Decided)
            assert done.is_new
            self.done_with[resolution] += 1
            self.decisions.append((request, done.decision))
        self.compare()

    def amount_of(self, case: Case, resolution: str, asked: int | None) -> int:
        if resolution in ("explanation", "rejected"):
            return 0
        if case.open == 0:
            raise Refused("AlreadyReversed")
        if asked is not None and asked > case.open:
            raise Refused("ExceedsTaken")
        return asked or min(case.requested, case.open)

    def try_to_give_back(self, case: Case, amount: int) -> None:
        """Refuse what the books would, and leave them as they are."""
        if amount:
            books, charge = deepcopy((self.books, case.charge))
            books.restore(charge, amount, self.at)

    def decide(self, case: Case, resolution: str, amount: int, judges: set[int]) -> None:
        if amount:
            before = case.open
            self.books.restore(case.charge, amount, self.at)
            refund = case.charge.reversal
            assert refund
            refund.kind = "refund"
            case.refunded += before - case.open
        case.status = "rejected" if resolution == "rejected" else "resolved"
        case.judges.setdefault(case.round, set()).update(judges)
        case.decided_at, case.waiting, case.version = self.at, None, case.version + 1

    def appeal(self, random: Random) -> None:
        if (case := self.case(random, "resolved", "rejected")) is None:
            return
        owner, version = self.owners[case.charge.wallet.id], self.version(random, case)
        actor = owner if random.random() < 0.9 else random.choice(self.reviewers)

        def model() -> None:
            if actor != owner:
                raise Refused("DisputeNotFound")
            if case.round > 1:
                raise Refused("AlreadyAppealed")
            self.refuse_state(case, ["resolved", "rejected"], version)
            assert case.decided_at
            if self.at >= case.decided_at + timedelta(days=DAYS_TO_DISPUTE):
                raise Refused("TooLateToDispute")
            if case.open == 0:
                raise Refused("NothingToDispute")
            case.status, case.round, case.version = "pending", 2, case.version + 1

        self.act(
            "appeal",
            model,
            lambda: appeal_dispute(
                dispute=Dispute.objects.get(pk=case.id),
                description="Please look at it again.",
                actor=actor,
                at=self.at,
                version=version,
            ),
        )
        self.compare()

    def to_decide_on(self, random: Random) -> tuple[Case, Waiting, User] | None:
        waiting = [case for case in self.cases if case.waiting]
        if not waiting:
            return None
        case = random.choice(waiting)
        assert case.waiting
        concerned = [user for user in self.reviewers if self.concerns(user, case)]
        if concerned and random.random() < 0.2:
            return case, case.waiting, random.choice(concerned)
        return case, case.waiting, self.person(random, case)

    def concerns(self, user: User, case: Case) -> bool:
        return self.is_own(user, case) or self.judged(user, case)

    def refuse_checker(self, checker: User, case: Case, waiting: Waiting) -> None:
        if checker not in self.reviewers:
            raise Refused("NotPermitted")
        if checker == waiting.maker:
            raise Refused("OwnRequest")
        if self.concerns(checker, case):
            raise Refused("ConcernsYou")
        if waiting.is_ended or self.at >= waiting.expires_at:
            raise Refused("ApprovalNotWaiting")

    def approve(self, random: Random) -> None:
        if (chosen := self.to_decide_on(random)) is None:
            return
        case, waiting, checker = chosen

        def model() -> str:
            self.refuse_checker(checker, case, waiting)
            waiting.is_ended = True
            try:
                self.try_to_give_back(case, waiting.amount)
            except Refused:
                case.waiting, case.version = None, case.version + 1
                return "failed"
            judges = {waiting.maker.pk, checker.pk}
            self.decide(case, waiting.resolution, waiting.amount, judges)
            return "executed"

        approval = Approval.objects.get(pk=waiting.id)
        answered, ended = self.act(
            "approve",
            model,
            lambda: approvals.approve(
                approval=approval, checker=checker, note="looks right", at=self.at
            ),
        )
        if ended:
            assert ended.status == answered
            self.done_with[f"approval {answered}"] += 1
        self.compare()

    def refuse(self, random: Random) -> None:
        if (chosen := self.to_decide_on(random)) is None:
            return
        case, waiting, checker = chosen

        def model() -> None:
            self.refuse_checker(checker, case, waiting)
            waiting.is_ended = True
            case.waiting, case.version = None, case.version + 1

        approval = Approval.objects.get(pk=waiting.id)
        self.act(
            "refuse",
            model,
            lambda: approvals.refuse(approval=approval, checker=checker, note="no", at=self.at),
        )
        self.compare()

    def expire_approvals(self, random: Random) -> None:
        if any(case.waiting for case in self.cases):
            self.at += random.choice([timedelta(0), timedelta(days=DAYS_TO_APPROVE)])
        approvals.expire_approvals(at=self.at)
        for case in self.cases:
            if case.waiting and self.at >= case.waiting.expires_at:
                case.waiting, case.version = None, case.version + 1
                self.done_with["approval expired"] += 1
        self.compare()

    def reverse(self, random: Random) -> None:
        """Staff reverse what is disputed, past its dispute."""
        waiting = [case for case in self.cases if case.waiting] or self.cases
        if not waiting:
            return
        charge, amount = random.choice(waiting).charge, random.choice([None, None, 1, 10])
        self.ask(
            "restore",
            "reversal",
            lambda: self.books.restore(charge, amount, self.at),
            lambda header: posting.restore(
                transaction=UUID(str(charge.id)), amount=amount, header=header
            ),
            [charge.id, amount],
        )

    def repeat_decision(self, random: Random) -> None:
        """A decision again under its key: the first answer, and no effect."""
        if self.decisions:
            request, decision = random.choice(self.decisions)
            assert resolve_dispute(at=self.at, **request) == (decision, False)
            self.done_with["repeated"] += 1
            self.compare()


HAPPENS = {
    *("submit", "review", "assign", "resolve", "appeal", "approve", "refuse"),
    *("full_refund", "partial_refund", "explanation", "rejected", "waits", "repeated"),
    *("approval executed", "approval failed", "approval expired"),
    *("TransactionNotFound", "NotDisputable", "AlreadyDisputed", "TooLateToDispute"),
    *("NothingToDispute", "ExceedsTaken", "NotPermitted", "OwnWallet", "DisputeNotInState"),
    *("DisputeChanged", "SameReviewer", "CannotReview", "DisputeWaits", "AlreadyReversed"),
    *("AlreadyAppealed", "DisputeNotFound", "OwnRequest", "ApprovalNotWaiting"),
}


@pytest.mark.django_db
class TestDisputes:
    def test_do_what_the_reference_does(self, settings: Any) -> None:
        settings.APPROVAL_DAYS = DAYS_TO_APPROVE
        counters = {
            name: Counter() for name in ("accepted", "refused", "done", "asked", "done_with")
        }
        machine = type("Machine", (DisputeMachine,), counters)
        run_state_machine_as_test(machine, settings=rounds())
        assert HAPPENS - set(machine.done_with) == set()


def rounds() -> settings:
    return settings(
        max_examples=STEPS // STEPS_PER_EXAMPLE,
        stateful_step_count=STEPS_PER_EXAMPLE,
        deadline=None,
        database=None,
        derandomize=STEPS == STEPS_IN_SUITE,
        suppress_health_check=list(HealthCheck),
    )
