"""The engine against the reference: thousands of random operations, compared after each."""

import json
import os
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings as site
from django.db import connection, transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from creditsite.errors import CreditsiteError
from ledger import keys
from ledger.choices import CreditType, GrantSource, TransactionKind
from ledger.invariants import violations
from ledger.services import posting
from ledger.tests.books import START, new_wallets
from ledger.tests.reference import Books, Debt, DebtLine, Grant, Hold, Line, Refused, Transaction, Wallet

STEPS = int(os.environ.get("LEDGER_STEPS", "6000"))
STEPS_PER_EXAMPLE = 50

pick = st.integers(0, 1_000_000)
amounts = st.integers(1, 80)
types = st.sampled_from([None, None, None, ["purchase"], ["award", "partner"]])
seconds = st.sampled_from([1, 600, 3600, 7200, 21600])

STATE = """
SELECT w.id, json_build_object(
    'wallet', json_build_array(w.status, w.award, w.partner, w.purchase, w.held, w.debt, w.version),
    'visible', (SELECT json_build_array(v.award, v.partner, v.purchase) FROM ledger_visible(w.id, %(at)s) v),
    'cached', w.recount_at IS NULL OR w.recount_at > %(at)s,
    'grants', (SELECT coalesce(json_agg(json_build_array(
            g.id, g.credit_type, g.amount, g.remaining, g.held, g.consumed, g.carried, g.carried_minor, g.is_frozen,
            g.voided_at IS NOT NULL, g.clawback_target, g.clawed, g.pending,
            ledger_recognised(g.paid_minor - g.carried_minor, g.returned_minor, g.consumed, g.amount - g.carried),
            g.paid_minor - g.carried_minor - g.returned_minor) ORDER BY g.id), '[]')
        FROM ledger_grant g WHERE g.wallet_id = w.id),
    'holds', (SELECT coalesce(json_agg(json_build_array(h.id, h.status, h.amount, h.captured) ORDER BY h.id), '[]')
        FROM ledger_hold h WHERE h.wallet_id = w.id),
    'debts', (SELECT coalesce(json_agg(json_build_array(d.amount, d.outstanding) ORDER BY d.id), '[]')
        FROM ledger_debt d WHERE d.wallet_id = w.id),
    'transactions', (SELECT coalesce(json_agg(json_build_array(t.id, t.kind, t.amount, t.debt, t.balance_after,
            (SELECT coalesce(json_agg(json_build_array(e.grant_id, e.amount) ORDER BY e.position), '[]')
             FROM ledger_entry e WHERE e.transaction_id = t.id)) ORDER BY t.number), '[]')
        FROM ledger_credittransaction t WHERE t.wallet_id = w.id AND t.number > (%(seen)s::jsonb ->> w.id::text)::bigint))
FROM ledger_wallet w WHERE w.id = ANY (%(wallets)s) ORDER BY w.id
"""


class LedgerMachine(RuleBasedStateMachine):
    """Three wallets, a clock, and everything that can be asked of the engine."""

    accepted: Counter[str] = Counter()
    refused: Counter[str] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.savepoint = transaction.atomic()
        self.savepoint.__enter__()
        self.at = START
        wallets = [Wallet(id) for id in new_wallets(3)]
        self.books = Books(wallets, timedelta(days=site.CREDITS_GRACE_DAYS))
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
        is_known: Callable[[], bool] | None = None,
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
            repeated = self.books.is_repeat(key, (name, request))
            expected = "replayed" if repeated else model()
            if not repeated and expected is not False:
                self.books.keys[key] = (name, request)
                self.repeats.append((name, kind, engine, request, key))
        except Refused as refusal:
            expected = (refusal.name, refusal.numbers)
        got: object
        try:
            answer = engine(header)
            if isinstance(answer, posting.Posting):
                answer = "replayed" if answer.outcome == "replayed" else answer.outcome == "done"
            got = answer
        except CreditsiteError as refusal:
            got = (type(refusal).__name__, refusal.numbers)
        if expected is None or isinstance(expected, bool):
            expected, got = expected is not False, got is not False and got is not None
        label = "replay" if is_repeat else name
        self.count(label, refused=isinstance(expected, tuple))
        assert got == expected, f"{name} {request}: the engine said {got}, the reference {expected}"
        self.compare()

    def count(self, name: str, *, refused: bool) -> None:
        (type(self).refused if refused else type(self).accepted)[name] += 1

    def compare(self) -> None:
        wallets = self.books.wallets
        parameters = {"at": self.at, "wallets": list(self.seen), "seen": json.dumps(self.seen)}
        with connection.cursor() as cursor:
            cursor.execute(STATE, parameters)
            rows = cursor.fetchall()
        for wallet, (_, state) in zip(wallets, rows, strict=True):
            state = json.loads(state) if isinstance(state, str) else state
            learn_ids(wallet, state, self.seen[wallet.id])
            expected = state_of(wallet, self.at, self.seen[wallet.id])
            if not state.pop("cached"):  # From then on the cached figures are not what is shown.
                assert state["visible"] == expected["visible"]
            else:
                assert state["visible"] == expected["wallet"][1:4]
            assert state == expected
            self.seen[wallet.id] = len(wallet.transactions)

    # --- Choosing --------------------------------------------------------------------------------
    def wallet(self, number: int) -> Wallet:
        return self.books.wallets[number % 3]

    def grants(self) -> list[Grant]:
        return [grant for wallet in self.books.wallets for grant in wallet.grants]

    def holds(self) -> list[Hold]:
        return [hold for wallet in self.books.wallets for hold in wallet.holds]

    def transactions(self) -> list[Transaction]:
        return [tx for wallet in self.books.wallets for tx in wallet.transactions]

    def has_grants(self) -> bool:
        return bool(self.grants())

    # --- What may happen -------------------------------------------------------------------------
    @rule(seconds=seconds)
    def time_passes(self, seconds: int) -> None:
        self.at += timedelta(seconds=seconds)
        self.compare()

    @rule(
        wallet=pick,
        amount=st.integers(1, 120),
        what=st.sampled_from(["award", "partner", "purchase", "unfunded", "adjustment"]),
        paid=st.integers(1, 3000),
        lifetime=st.sampled_from([None, None, 600, 3600, 10800, 86400]),
        priority=st.sampled_from([100, 100, 100, 50]),
        largest=st.sampled_from([None, None, None, 150]),
    )
    def post(
        self, wallet: int, amount: int, what: str, paid: int, lifetime: int | None, priority: int,
        largest: int | None,
    ) -> None:
        w = self.wallet(wallet)
        credit_type = {"unfunded": "purchase", "adjustment": "award"}.get(what, what)
        kind = {"unfunded": "purchase"}.get(what, what)
        paid = paid if what == "purchase" else 0
        expires_at = self.at + timedelta(seconds=lifetime) if lifetime else None
        more = {"priority": priority, "expires_at": expires_at, "largest": largest}
        self.ask(
            f"post {what}",
            kind,
            lambda: self.books.post(w, credit_type, amount, kind, paid=paid, **more),
            lambda header: posting.post_grant(
                wallet=w.id, amount=amount, credit_type=CreditType(credit_type), source=GrantSource.MANUAL,
                header=header, paid_minor=paid, currency="usd" if paid else "", **more,
            ),
            [wallet % 3, amount, what, paid, lifetime, priority],
        )

    @rule(
        first=pick,
        others=st.sampled_from([0, 0, 1, 2]),
        amount=amounts,
        types=types,
        short=st.sampled_from(["refuse", "refuse", "refuse", "take", "debt", "wait"]),
        any_status=st.sampled_from([False, False, True]),
    )
    def draw(
        self, first: int, others: int, amount: int, types: list[str] | None, short: str, any_status: bool
    ) -> None:
        payers = [self.wallet(first + i) for i in range(others + 1)]
        kind = "adjustment" if short == "wait" else "usage"
        self.ask(
            f"draw {short}",
            kind,
            lambda: self.books.draw(
                payers, amount, self.at, kind=kind, types=types, short=short, any_status=any_status
            ),
            lambda header: posting.draw(
                payers=[p.id for p in payers], amount=amount, header=header,
                types=types and [CreditType(t) for t in types], short=short, any_status=any_status,
            ),
            [first % 3, others, amount, types, short, any_status],
        )

    @precondition(has_grants)
    @rule(number=pick, amount=amounts, short=st.sampled_from(["refuse", "take", "wait"]))
    def draw_from_grant(self, number: int, amount: int, short: str) -> None:
        grant = self.grants()[number % len(self.grants())]
        self.ask(
            "draw from a grant",
            "adjustment",
            lambda: self.books.draw(
                [grant.wallet], amount, self.at, kind="adjustment", grant=grant, short=short, any_status=True
            ),
            lambda header: posting.draw(
                payers=[grant.wallet.id], amount=amount, header=header, grant=grant.id, short=short,
                any_status=True,
            ),
            [str(grant.id), amount, short],
        )

    @rule(first=pick, others=st.sampled_from([0, 0, 1]), amount=amounts, types=types, seconds=seconds)
    def place_hold(
        self, first: int, others: int, amount: int, types: list[str] | None, seconds: int
    ) -> None:
        payers = [self.wallet(first + i) for i in range(others + 1)]
        until = self.at + timedelta(seconds=seconds)
        self.ask(
            "place hold",
            "usage",
            lambda: self.books.place_hold(payers, amount, self.at, until, "key:1", types),
            lambda header: posting.place_hold(
                payers=[p.id for p in payers], amount=amount, expires_at=until, header=header,
                types=types and [CreditType(t) for t in types],
            ),
            [first % 3, others, amount, types, seconds],
        )

    @precondition(lambda self: self.holds())
    @rule(number=pick, how=st.sampled_from(["capture", "capture part", "release"]), part=amounts)
    def settle_hold(self, number: int, how: str, part: int) -> None:
        live = [hold for hold in self.holds() if hold.status == "open"] if number % 4 else []
        holds = live or self.holds()
        hold = holds[number % len(holds)]
        capture = {"capture": None, "capture part": part, "release": 0}[how]
        self.ask(
            how,
            "usage",
            lambda: self.books.settle_hold(hold, capture, self.at),
            lambda header: posting.settle_hold(
                hold=hold.id, capture=capture, caller="key:1", header=header
            ),
            [str(hold.id), capture],
        )

    @rule()
    def holds_time_out(self) -> None:
        assert posting.release_expired_holds(at=self.at, limit=1000) == self.books.release_expired(self.at)
        self.count("time out", refused=False)
        self.compare()

    @rule()
    def expire(self) -> None:
        assert posting.expire(at=self.at, limit=1000) == self.books.expire(self.at)
        self.count("expire", refused=False)
        self.compare()

    @rule(wallet=pick, types=st.sampled_from([["partner"], ["partner"], ["purchase", "award"]]))
    def void(self, wallet: int, types: list[str]) -> None:
        w = self.wallet(wallet)
        self.ask(
            "void",
            "void",
            lambda: self.books.void(w, types),
            lambda header: posting.void(wallet=w.id, types=[CreditType(t) for t in types], header=header),
            [wallet % 3, types],
        )

    @precondition(has_grants)
    @rule(number=pick, frozen=st.booleans())
    def freeze(self, number: int, frozen: bool) -> None:
        grant = self.grants()[number % len(self.grants())]
        posting.freeze(grants=[grant.id], frozen=frozen, at=self.at)
        self.books.freeze([grant], frozen)
        self.count("freeze" if frozen else "thaw", refused=False)
        self.compare()

    @precondition(has_grants)
    @rule(number=pick, percent=st.sampled_from([0, 0, 25, 50, 75, 100, 100, 110]), cents=st.booleans())
    def claw_back(self, number: int, percent: int, cents: bool) -> None:
        paid = [grant for grant in self.grants() if grant.paid] if number % 5 else []
        grants = paid or self.grants()
        grant = grants[number % len(grants)]
        target = (grant.amount - grant.carried) * percent // 100
        returned = (grant.paid - grant.carried_money) * min(percent, 100) // 100 if cents else grant.returned
        kind = "clawback" if target > grant.target else "reinstatement"
        self.ask(
            kind,
            kind,
            lambda: self.books.claw_back(grant, target, returned, self.at),
            lambda header: posting.claw_back(
                grant=grant.id, target=target, returned_minor=returned, header=header
            ),
            [str(grant.id), target, returned],
        )

    @precondition(lambda self: self.transactions())
    @rule(number=pick, amount=st.sampled_from([None, None, 1, 10, 40]))
    def restore(self, number: int, amount: int | None) -> None:
        can = [t for t in self.transactions() if t.kind in ("usage", "adjustment", "expiry") and t.open_lines()]
        transactions = (can if number % 5 else []) or self.transactions()
        tx = transactions[number % len(transactions)]
        self.ask(
            "restore" if amount is None else "restore part",
            "reversal",
            lambda: self.books.restore(tx, amount, self.at),
            lambda header: posting.restore(transaction=tx.id, amount=amount, header=header),
            [str(tx.id), amount],
        )

    @precondition(lambda self: self.transactions())
    @rule(number=pick, partly=st.booleans())
    def take_back(self, number: int, partly: bool) -> None:
        can = [t for t in self.transactions() if t.amount > 0]
        transactions = (can if number % 5 else []) or self.transactions()
        tx = transactions[number % len(transactions)]
        self.ask(
            "take back partly" if partly else "take back",
            "reversal",
            lambda: self.books.take_back(tx, partly),
            lambda header: posting.take_back(transaction=tx.id, partly=partly, header=header),
            [str(tx.id), partly],
        )

    @rule(wallet=pick, amount=st.integers(1, 60))
    def write_off(self, wallet: int, amount: int) -> None:
        indebted = [w for w in self.books.wallets if w.debt]
        w = indebted[wallet % len(indebted)] if indebted else self.wallet(wallet)
        self.ask(
            "write off",
            "write_off",
            lambda: self.books.write_off(w, amount),
            lambda header: posting.write_off(wallet=w.id, amount=amount, header=header),
            [w.id, amount],
        )

    @rule(wallet=pick, status=st.sampled_from(["active", "active", "active", "paused", "closed"]))
    def set_status(self, wallet: int, status: str) -> None:
        w = self.wallet(wallet)
        assert posting.set_status(wallet=w.id, expected="nothing", status=status) is False
        assert posting.set_status(wallet=w.id, expected=w.status, status=status) is True
        w.status = status
        self.count(status, refused=False)
        self.compare()

    @precondition(lambda self: self.repeats)
    @rule(number=pick, same=st.sampled_from([True, True, False]))
    def repeat(self, number: int, same: bool) -> None:
        """An old key again, with its own request or with that of another operation."""
        name, kind, engine, request, key = self.repeats[number % len(self.repeats)]
        if not same:
            name, kind, engine, request, _ = self.repeats[(number + 1) % len(self.repeats)]
            if self.books.keys[key] == (name, request):
                return
        self.ask(name, kind, lambda: pytest.fail("a used key is news"), engine, request, key=key)


def learn_ids(wallet: Wallet, state: dict[str, Any], seen: int) -> None:
    """Tell the reference how the database calls what both made."""
    for grant, row in zip(wallet.grants, state["grants"], strict=False):
        grant.id = row[0]
    for hold, row in zip(wallet.holds, state["holds"], strict=False):
        hold.id = row[0]
    for tx, row in zip(wallet.transactions[seen:], state["transactions"], strict=False):
        tx.id = row[0]


def state_of(wallet: Wallet, at: Any, seen: int) -> dict[str, Any]:
    """Return what the database must hold of a wallet, shaped as ``STATE`` reads it."""
    balances = [wallet.balance(t) for t in ("award", "partner", "purchase")]
    held = sum(grant.held for grant in wallet.grants)
    return {
        "wallet": [wallet.status, *balances, held, wallet.debt, len(wallet.transactions)],
        "visible": [wallet.visible(t, at) for t in ("award", "partner", "purchase")],
        "grants": [grant_state(grant) for grant in wallet.grants],
        "holds": [[hold.id, hold.status, hold.amount, hold.captured] for hold in wallet.holds],
        "debts": [[debt.amount, debt.outstanding] for debt in wallet.debts],
        "transactions": [
            [tx.id, tx.kind, tx.amount, tx.debt, tx.balance, [[line.grant.id, line.amount] for line in tx.lines]]
            for tx in wallet.transactions[seen:]
        ],
    }


def grant_state(grant: Grant) -> list[object]:
    recognised, deferred = grant.money()
    return [
        grant.id, grant.credit_type, grant.amount, grant.remaining, grant.held, grant.consumed, grant.carried,
        grant.carried_money, grant.is_frozen, grant.is_void, grant.target, grant.target - grant.waiting,
        grant.pending, recognised, recognised + deferred,
    ]  # fmt: skip


OPERATIONS = {
    *("post award", "post partner", "post purchase", "post unfunded", "post adjustment"),
    *("draw refuse", "draw take", "draw debt", "draw wait", "draw from a grant"),
    *("place hold", "capture", "capture part", "release", "time out", "expire", "void"),
    *("freeze", "thaw", "clawback", "reinstatement", "restore", "restore part"),
    *("take back", "take back partly", "write off", "active", "paused", "closed", "replay"),
}


@pytest.mark.django_db
class TestTheEngine:
    def test_does_what_the_reference_does(self) -> None:
        LedgerMachine.accepted, LedgerMachine.refused = Counter(), Counter()
        rounds = settings(
            max_examples=-(-STEPS // STEPS_PER_EXAMPLE),
            stateful_step_count=STEPS_PER_EXAMPLE,
            deadline=None,
            database=None,
            derandomize=STEPS == 6000,
            suppress_health_check=list(HealthCheck),
        )
        while (steps := counted()) < STEPS:
            run_state_machine_as_test(LedgerMachine, settings=rounds)
            assert counted() > steps
        print(LedgerMachine.accepted, LedgerMachine.refused, counted())
        accepted = sum(LedgerMachine.accepted.values())
        assert accepted / counted() > 0.25
        assert {name for name in OPERATIONS if LedgerMachine.accepted[name] == 0} == set()


def counted() -> int:
    return LedgerMachine.accepted.total() + LedgerMachine.refused.total()
