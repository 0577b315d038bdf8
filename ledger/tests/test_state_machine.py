"""The engine against the reference: thousands of random operations, compared after each."""

import os
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from random import Random
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from creditsite.errors import CreditsiteError
from ledger import keys
from ledger.choices import CreditType, GrantSource, TransactionKind
from ledger.invariants import violations
from ledger.models import CreditSettings
from ledger.services import posting
from ledger.tests.books import START, new_wallets
from ledger.tests.comparison import learn_ids, read_state, state_of
from ledger.tests.factories import set_credit_settings
from ledger.tests.reference import Books, Grant, Refused, Transaction, Wallet

STEPS_IN_SUITE = 6_000
STEPS = int(os.environ.get("LEDGER_STEPS", STEPS_IN_SUITE))
COUNTERS = ["accepted", "refused", "done"]
STEPS_PER_EXAMPLE = 50

SECONDS = [1, 600, 3600, 7200, 21600]
ACCEPTED_TYPES = [None, None, None, ["purchase"], ["award", "partner"]]
WEIGHTS = {
    "draw": 20,
    "post": 14,
    "settle_hold": 18,
    "place_hold": 12,
    "restore": 12,
    "claw_back": 12,
    "time_passes": 6,
    "repeat": 6,
    "draw_from_grant": 4,
    "take_back": 4,
    "set_status": 4,
    "freeze": 3,
    "expire": 3,
    "write_off": 3,
    "time_out": 2,
    "void": 3,
}


class LedgerMachine(RuleBasedStateMachine):
    """Three wallets, a clock, and everything that can be asked of the engine."""

    accepted: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    done: Counter[str] = Counter()  # What nobody can refuse.
    steps = 0

    def __init__(self) -> None:
        super().__init__()
        self.savepoint = transaction.atomic()
        self.savepoint.__enter__()
        self.at, self.past = START, 0
        wallets = [Wallet(id) for id in new_wallets(3)]
        self.books = Books(wallets, timedelta(days=CreditSettings().grace_days))
        self.repeats: list[tuple[Any, ...]] = []
        self.seen = {wallet.id: 0 for wallet in wallets}

    def teardown(self) -> None:
        """Check what only a commit checks, and roll the example back: it leaves no locks either."""
        try:
            with connection.cursor() as cursor:
                cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            assert list(violations([wallet.id for wallet in self.books.wallets])) == []
        finally:
            transaction.set_rollback(True)
            self.savepoint.__exit__(None, None, None)

    # --- Asking both -----------------------------------------------------------------------------
    def ask(
        self,
        name: str,
        kind: str,
        model: Callable[[], object],
        engine: Callable[[posting.Header], object],
        request: object,
        *,
        key: str | None = None,
        refused_before_key: str | None = None,
    ) -> None:
        """Ask the reference and the engine the same; compare answer and state."""
        is_repeat = key is not None
        key = key or str(uuid4())
        header = posting.Header(
            kind=TransactionKind(kind),
            at=self.at,
            caller="key:1",
            key=keys.digest("key:1", key),
            fingerprint=keys.fingerprint(name, request),
        )
        expected: object
        try:
            if refused_before_key:
                raise Refused(refused_before_key)
            repeated = self.books.is_repeat(key, (name, request))
            expected = "replayed" if repeated else model()
            if not repeated and expected is not False:
                self.books.keys[key] = (name, request)
                self.repeats.append((name, kind, engine, request, key))
        except Refused as refusal:
            expected = (refusal.name, refusal.numbers)
        got: object
        answer: object = None
        try:
            answer = engine(header)
            got = answer
            if isinstance(answer, posting.Posting):
                got = "replayed" if answer.outcome == "replayed" else answer.is_new
        except CreditsiteError as refusal:
            got = (type(refusal).__name__, refusal.numbers)
        if expected is None or isinstance(expected, bool):
            expected, got = expected is not False, got is not False and got is not None
        counter = self.refused if isinstance(expected, tuple) else self.accepted
        counter["replay" if is_repeat else name] += 1
        assert got == expected, f"{name} {request}: the engine said {got}, the reference {expected}"
        self.compare()
        if isinstance(answer, posting.Posting):
            self.compare_answer(answer)

    def compare_answer(self, answer: posting.Posting) -> None:
        """An answer shows the wallet as it is now, and the transaction as it was made."""
        (wallet,) = [w for w in self.books.wallets if w.id == answer.wallet_id]
        visible = [wallet.visible(t, self.at) for t in ("award", "partner", "purchase")]
        assert [answer.award, answer.partner, answer.purchase] == visible
        held = sum(grant.held for grant in wallet.grants)
        assert (answer.held, answer.owed, answer.status) == (held, wallet.debt, wallet.status)
        if answer.transaction_id:
            assert answer.number is not None
            tx = wallet.transactions[answer.number - 1]
            made = (str(answer.transaction_id), answer.amount, answer.debt, answer.balance_after)
            assert made == (tx.id, tx.amount, tx.debt, tx.balance)
            if answer.is_new:
                lines = [(line.grant.id, abs(line.amount)) for line in tx.lines]
                amounts = [abs(amount) for amount in answer.amounts or []]
                assert list(zip(map(str, answer.grant_ids or []), amounts, strict=True)) == lines

    def compare(self) -> None:
        type(self).steps += 1
        states = read_state(self.seen, self.at)
        for wallet, state in zip(self.books.wallets, states, strict=True):
            seen = self.seen[wallet.id]
            learn_ids(wallet, state, seen)
            expected = state_of(wallet, self.at, seen)
            if state.pop("is_cached"):  # Until then the cached figures are what is shown.
                assert state["wallet"][1:4] == expected["visible"]
            assert state == expected
            self.seen[wallet.id] = len(wallet.transactions)

    # --- Choosing --------------------------------------------------------------------------------
    def wallet(self, random: Random) -> Wallet:
        """Mostly one and the same, so that much happens to it."""
        return self.books.wallets[random.choice([0, 0, 0, 1, 2])]

    def payers(self, random: Random) -> list[Wallet]:
        return random.sample(self.books.wallets, random.choice([1, 1, 1, 2, 3]))

    def grants(self) -> list[Grant]:
        return [grant for wallet in self.books.wallets for grant in wallet.grants]

    def transactions(self) -> list[Transaction]:
        return [tx for wallet in self.books.wallets for tx in wallet.transactions]

    @rule(seed=st.binary(min_size=6, max_size=6))
    def step(self, seed: bytes) -> None:
        """Do one operation, drawn from the seed: Hypothesis alone would favour simple ones."""
        random = Random(f"{self.past} {seed.hex()}")
        self.past = random.getrandbits(64)
        (name,) = random.choices(list(WEIGHTS), list(WEIGHTS.values()))
        getattr(self, name)(random)

    # --- What may happen -------------------------------------------------------------------------
    def time_passes(self, random: Random) -> None:
        self.at += timedelta(seconds=random.choice(SECONDS))
        self.compare()

    def post(self, random: Random) -> None:
        w, amount = self.wallet(random), random.randint(1, 120)
        what = random.choice(
            ["award", "partner", "partner", *["purchase"] * 4, "unfunded", "adjustment"]
        )
        credit_type = {"unfunded": "purchase", "adjustment": "award"}.get(what, what)
        kind = {"unfunded": "purchase"}.get(what, what)
        paid = random.randint(1, 3000) if what == "purchase" else 0
        lifetime = random.choice([None, *SECONDS])
        expires_at = self.at + timedelta(seconds=lifetime) if lifetime else None
        largest = random.choice([None, None, None, 150])
        more = {
            "priority": random.choice([100, 100, 50]),
            "expires_at": expires_at,
            "largest": largest,
        }
        self.ask(
            f"post {what}",
            kind,
            lambda: self.books.post(w, credit_type, amount, kind, paid=paid, **more),
            lambda header: posting.post_grant(
                wallet=w.id,
                amount=amount,
                credit_type=CreditType(credit_type),
                source=GrantSource.MANUAL,
                header=header,
                paid_minor=paid,
                currency="usd" if paid else "",
                **more,
            ),
            [w.id, what, amount, paid, lifetime, largest, more["priority"]],
        )

    def draw(self, random: Random) -> None:
        payers, amount, types = (
            self.payers(random),
            random.randint(1, 60),
            random.choice(ACCEPTED_TYPES),
        )
        short = random.choice(["refuse", "refuse", "refuse", "take", "debt", "wait"])
        kind, any_status = "adjustment" if short == "wait" else "usage", random.random() < 0.3
        self.ask(
            f"draw {short}",
            kind,
            lambda: self.books.draw(
                payers, amount, self.at, kind=kind, types=types, short=short, any_status=any_status
            ),
            lambda header: posting.draw(
                payers=[p.id for p in payers],
                amount=amount,
                header=header,
                types=types and [CreditType(t) for t in types],
                short=short,
                any_status=any_status,
            ),
            [[p.id for p in payers], amount, types, short, any_status],
        )

    def draw_from_grant(self, random: Random) -> None:
        if not self.grants():
            return
        grant, amount = random.choice(self.grants()), random.randint(1, 60)
        short = random.choice(["refuse", "take", "wait"])
        self.ask(
            "draw from a grant",
            "adjustment",
            lambda: self.books.draw(
                [grant.wallet],
                amount,
                self.at,
                kind="adjustment",
                grant=grant,
                short=short,
                any_status=True,
            ),
            lambda header: posting.draw(
                payers=[grant.wallet.id],
                amount=amount,
                header=header,
                grant=grant.id,
                short=short,
                any_status=True,
            ),
            [grant.id, amount, short],
        )

    def place_hold(self, random: Random) -> None:
        payers, amount, types = (
            self.payers(random),
            random.randint(1, 60),
            random.choice(ACCEPTED_TYPES),
        )
        until = self.at + timedelta(seconds=random.choice(SECONDS))
        self.ask(
            "place hold",
            "usage",
            lambda: self.books.place_hold(payers, amount, self.at, until, "key:1", types),
            lambda header: posting.place_hold(
                payers=[p.id for p in payers],
                amount=amount,
                expires_at=until,
                header=header,
                types=types and [CreditType(t) for t in types],
            ),
            [[p.id for p in payers], amount, types, str(until)],
        )

    def settle_hold(self, random: Random) -> None:
        holds = [hold for wallet in self.books.wallets for hold in wallet.holds]
        holds = [hold for hold in holds if hold.status == "open" or random.random() < 0.1]
        if not holds:
            return
        hold = random.choice(holds)
        how = random.choice(["capture", "capture part", "release"])
        capture = {
            "capture": None,
            "capture part": random.randint(1, hold.amount + 1),
            "release": 0,
        }[how]
        caller = random.choice(["key:1", "key:1", "key:1", None, "key:2"])
        self.ask(
            how,
            "usage",
            lambda: self.books.settle_hold(hold, capture, self.at),
            lambda header: posting.settle_hold(
                hold=hold.id, capture=capture, caller=caller, header=header
            ),
            [hold.id, capture],
            refused_before_key="NotYourHold" if caller == "key:2" else None,
        )

    def time_out(self, random: Random) -> None:
        assert posting.release_expired_holds(at=self.at, limit=1000) == self.books.release_expired(
            self.at
        )
        self.done["time out"] += 1
        self.compare()

    def expire(self, random: Random) -> None:
        assert posting.expire(at=self.at, limit=1000) == self.books.expire(self.at)
        self.done["expire"] += 1
        self.compare()

    def void(self, random: Random) -> None:
        w, types = (
            self.wallet(random),
            random.choice([*[["partner"]] * 4, ["purchase", "award"]]),
        )
        self.ask(
            "void",
            "void",
            lambda: self.books.void(w, types),
            lambda header: posting.void(
                wallet=w.id, types=[CreditType(t) for t in types], header=header
            ),
            [w.id, types],
        )

    def freeze(self, random: Random) -> None:
        frozen = random.random() < 0.4
        if grants := [grant for grant in self.grants() if grant.is_frozen != frozen]:
            grant = random.choice(grants)
            posting.freeze(grants=[grant.id], frozen=frozen, at=self.at)
            self.books.freeze([grant], frozen)
            self.done["freeze" if frozen else "thaw"] += 1
            self.compare()

    def claw_back(self, random: Random) -> None:
        grants = [grant for grant in self.grants() if grant.paid or random.random() < 0.1]
        if not grants:
            return
        grant, percent = random.choice(grants), random.choice([0, 0, 25, 50, 75, 100, 100, 101])
        target = (grant.amount - grant.carried) * percent // 100 + percent // 101
        returned = (grant.paid - grant.carried_money) * min(percent, 100) // 100
        returned = random.choice([returned, grant.returned])
        kind = "clawback" if target > grant.target else "reinstatement"
        self.ask(
            kind,
            kind,
            lambda: self.books.claw_back(grant, target, returned, self.at),
            lambda header: posting.claw_back(
                grant=grant.id, target=target, returned_minor=returned, header=header
            ),
            [grant.id, target, returned],
        )

    def restore(self, random: Random) -> None:
        taking = ("usage", "adjustment", "expiry")
        can = [tx for tx in self.transactions() if tx.kind in taking and tx.open_lines()]
        transactions = can if can and random.random() < 0.8 else self.transactions()
        if not transactions:
            return
        tx, amount = random.choice(transactions), random.choice([None, None, 1, 10, 40])
        self.ask(
            "restore" if amount is None else "restore part",
            "reversal",
            lambda: self.books.restore(tx, amount, self.at),
            lambda header: posting.restore(transaction=tx.id, amount=amount, header=header),
            [tx.id, amount],
        )

    def take_back(self, random: Random) -> None:
        can = [tx for tx in self.transactions() if tx.amount > 0 and not tx.reversal]
        transactions = can if can and random.random() < 0.8 else self.transactions()
        if not transactions:
            return
        tx, partly = random.choice(transactions), random.random() < 0.5
        self.ask(
            "take back partly" if partly else "take back",
            "reversal",
            lambda: self.books.take_back(tx, partly),
            lambda header: posting.take_back(transaction=tx.id, partly=partly, header=header),
            [tx.id, partly],
        )

    def write_off(self, random: Random) -> None:
        indebted = [w for w in self.books.wallets if w.debt]
        w, amount = random.choice(indebted or self.books.wallets), random.randint(1, 60)
        self.ask(
            "write off",
            "write_off",
            lambda: self.books.write_off(w, amount),
            lambda header: posting.write_off(wallet=w.id, amount=amount, header=header),
            [w.id, amount],
        )

    def set_status(self, random: Random) -> None:
        """Pause, close or open a wallet, or switch all credits off; that never lasts long."""
        if not self.books.is_on or random.random() < 0.2:
            self.books.is_on = not self.books.is_on
            set_credit_settings(credits_enabled=self.books.is_on)
            self.done["switched on" if self.books.is_on else "switched off"] += 1
            return
        idle = [w for w in self.books.wallets if w.status != "active"]
        w = random.choice(idle if idle and random.random() < 0.8 else self.books.wallets)
        status = random.choice(["paused", "closed"]) if w.status == "active" else "active"
        assert posting.set_status(wallet=w.id, expected=status, status="active") is False
        assert posting.set_status(wallet=w.id, expected=w.status, status=status) is True
        w.status = status
        self.done[status] += 1
        self.compare()

    def repeat(self, random: Random) -> None:
        """An old key again, with its own request or with that of another operation."""
        if not self.repeats:
            return
        name, kind, engine, request, key = random.choice(self.repeats)
        if random.random() < 0.4:
            name, kind, engine, request, _ = random.choice(self.repeats)
        self.ask(name, kind, lambda: pytest.fail("a used key is news"), engine, request, key=key)


OPERATIONS = {
    *("post award", "post partner", "post purchase", "post unfunded", "post adjustment"),
    *("draw refuse", "draw take", "draw debt", "draw wait", "draw from a grant"),
    *("place hold", "capture", "capture part", "release", "time out", "expire", "void"),
    *("freeze", "thaw", "clawback", "reinstatement", "restore", "restore part"),
    *("take back", "take back partly", "write off", "active", "paused", "closed", "replay"),
    *("switched off", "switched on"),
}


@pytest.mark.django_db
class TestTheEngine:
    def test_does_what_the_reference_does(self) -> None:
        machine = type("Machine", (LedgerMachine,), {name: Counter() for name in COUNTERS})
        rounds = settings(
            max_examples=STEPS * 3 // (STEPS_PER_EXAMPLE * 2),
            stateful_step_count=STEPS_PER_EXAMPLE,
            deadline=None,
            database=None,
            derandomize=STEPS == STEPS_IN_SUITE,
            suppress_health_check=list(HealthCheck),
        )
        run_state_machine_as_test(machine, settings=rounds)
        accepted, refused = machine.accepted.total(), machine.refused.total()
        assert machine.steps >= STEPS
        assert accepted / (accepted + refused) > 0.25
        assert OPERATIONS - set(machine.accepted + machine.done) == set()
