"""
The books as DESIGN 4 tells them, in plain Python: what the engine is held against.

Nothing is cached and nothing is fast. A balance is a sum over lines, what is consumed is a sum over
lines, and each rule is one method. Time never goes back here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

CONSUMING = {"usage", "expiry", "debt_repayment"}
TYPES = ["award", "partner", "purchase"]


class Refused(Exception):
    """What the engine's refusal must be called, and the numbers that it must say."""

    def __init__(self, name: str, **numbers: int) -> None:
        self.name, self.numbers = name, numbers
        super().__init__(name, numbers)


@dataclass(eq=False)
class Line:
    """How much a transaction moved in or out of a grant, and how much of that was given back."""

    transaction: "Transaction"
    grant: "Grant"
    amount: int
    restored: int = 0


@dataclass(eq=False)
class DebtLine:
    transaction: "Transaction"
    debt: "Debt"
    amount: int
    restored: int = 0


@dataclass(eq=False)
class Transaction:
    wallet: "Wallet"
    kind: str
    lines: list[Line] = field(default_factory=list)
    debts: list[DebtLine] = field(default_factory=list)
    reversal: "Transaction | None" = None
    balance: int = 0
    id: object = None

    @property
    def amount(self) -> int:
        return sum(line.amount for line in self.lines)

    @property
    def debt(self) -> int:
        return sum(line.amount for line in self.debts)

    def open_lines(self) -> list[Line | DebtLine]:
        """What it took and nobody gave back yet: the debt first, then what was taken last."""
        taken = [line for line in self.lines if -line.amount > line.restored]
        owed = [line for line in self.debts if line.amount > line.restored]
        return owed + taken[::-1]


@dataclass(eq=False)
class Debt:
    wallet: "Wallet"
    grant: "Grant | None"
    lines: list[DebtLine] = field(default_factory=list)

    @property
    def outstanding(self) -> int:
        return sum(line.amount for line in self.lines)

    @property
    def amount(self) -> int:
        return sum(line.amount for line in self.lines if line.amount > 0)


@dataclass(eq=False)
class Grant:
    wallet: "Wallet"
    credit_type: str
    amount: int
    paid: int
    priority: int
    expires_at: datetime | None
    carried_from: "Grant | None" = None
    returned: int = 0
    carried: int = 0
    carried_money: int = 0
    target: int = 0
    waiting: int = 0  # Of the target: taken when the holds end.
    pending: int = 0  # Deducted by staff: leaves when the holds end.
    is_frozen: bool = False
    is_void: bool = False
    lines: list[Line] = field(default_factory=list)
    debt: Debt | None = None
    id: object = None

    @property
    def remaining(self) -> int:
        return sum(line.amount for line in self.lines)

    @property
    def held(self) -> int:
        return sum(h.pins.get(self, 0) for h in self.wallet.holds if h.status == "open")

    @property
    def free(self) -> int:
        return self.remaining - self.held

    def net(self, *kinds: str) -> int:
        """What transactions of these kinds took, net of what was given back."""
        taken = [line for line in self.lines if line.amount < 0 and line.transaction.kind in kinds]
        return sum(-line.amount - line.restored for line in taken)

    @property
    def consumed(self) -> int:
        return self.net(*CONSUMING)

    def is_over(self, at: datetime) -> bool:
        return self.expires_at is not None and self.expires_at <= at

    def is_spendable(self, at: datetime) -> bool:
        return not self.is_frozen and not self.is_over(at)

    def money(self, consumed: int | None = None) -> tuple[int, int]:
        """Recognised and deferred, in minor units."""
        consumed = self.consumed if consumed is None else consumed
        paid, amount = self.paid - self.carried_money, self.amount - self.carried
        recognised = min(paid - self.returned, paid * consumed // amount) if amount else 0
        return recognised, paid - self.returned - recognised


@dataclass(eq=False)
class Hold:
    wallet: "Wallet"
    amount: int
    caller: str
    expires_at: datetime
    pins: dict[Grant, int]
    status: str = "open"
    captured: int = 0
    id: object = None


@dataclass(eq=False)
class Wallet:
    id: int
    status: str = "active"
    grants: list[Grant] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)
    debts: list[Debt] = field(default_factory=list)
    transactions: list[Transaction] = field(default_factory=list)

    @property
    def open_debts(self) -> list[Debt]:
        return [debt for debt in self.debts if debt.outstanding]

    @property
    def debt(self) -> int:
        return sum(debt.outstanding for debt in self.debts)

    def balance(self, *types: str) -> int:
        return sum(g.remaining for g in self.grants if not types or g.credit_type in types)

    def visible(self, credit_type: str, at: datetime) -> int:
        """What anyone is shown: spendable credits, and what holds pin."""
        grants = [g for g in self.grants if g.credit_type == credit_type]
        return sum(g.remaining if g.is_spendable(at) else g.held for g in grants)

    def burn_down(self, grants: list[Grant]) -> list[Grant]:
        """Priority, earliest expiry, never-expiring last, type, oldest."""
        return sorted(
            grants,
            key=lambda g: (
                g.priority,
                g.expires_at is None,
                g.expires_at.timestamp() if g.expires_at else 0,
                TYPES.index(g.credit_type),
                self.grants.index(g),
            ),
        )


class Books:
    """Every operation either changes the books or raises what it is refused with."""

    def __init__(self, wallets: list[Wallet], grace: timedelta) -> None:
        self.wallets, self.grace = wallets, grace
        self.keys: dict[object, object] = {}
        self.is_on = True

    # --- Keys ----------------------------------------------------------------------------------
    def is_repeat(self, key: object, request: object) -> bool:
        if key not in self.keys:
            return False
        if self.keys[key] != request:
            raise Refused("IdempotencyKeyReused")
        return True

    # --- Writing -------------------------------------------------------------------------------
    def book(
        self,
        wallet: Wallet,
        kind: str,
        takes: Sequence[tuple[Grant, int]] = (),
        opens: int = 0,
        opens_for: Grant | None = None,
        repays: Sequence[tuple[Debt, int]] = (),
    ) -> Transaction:
        tx = Transaction(wallet, kind)
        for grant, take in takes:
            self.move(tx, grant, -take)
        if opens:
            debt = opens_for.debt if opens_for and opens_for.debt else Debt(wallet, opens_for)
            if debt not in wallet.debts:
                wallet.debts.append(debt)
            if opens_for:
                opens_for.debt = debt
            self.owe(tx, debt, opens)
        for debt, amount in repays:
            self.owe(tx, debt, -amount)
        return self.close(tx)

    def move(self, tx: Transaction, grant: Grant, amount: int) -> None:
        line = Line(tx, grant, amount)
        tx.lines.append(line)
        grant.lines.append(line)

    def owe(self, tx: Transaction, debt: Debt, amount: int) -> None:
        line = DebtLine(tx, debt, amount)
        tx.debts.append(line)
        debt.lines.append(line)

    def close(self, tx: Transaction) -> Transaction:
        tx.balance = tx.wallet.balance()
        tx.wallet.transactions.append(tx)
        return tx

    # --- Posting -------------------------------------------------------------------------------
    def post(
        self,
        wallet: Wallet,
        credit_type: str,
        amount: int,
        kind: str,
        *,
        paid: int = 0,
        priority: int = 100,
        expires_at: datetime | None = None,
        largest: int | None = None,
    ) -> None:
        if wallet.status == "closed":
            raise Refused("WalletClosed")
        if largest is not None and wallet.balance(credit_type) + amount > largest:
            raise Refused("BalanceTooLarge", largest=largest)
        grant = self.add_grant(wallet, credit_type, amount, paid, priority, expires_at)
        tx = Transaction(wallet, kind)
        self.move(tx, grant, amount)
        self.close(tx)
        if paid:
            self.repay(grant)

    def add_grant(self, wallet, credit_type, amount, paid, priority, expires_at, **more) -> Grant:
        grant = Grant(wallet, credit_type, amount, paid, priority, expires_at, **more)
        wallet.grants.append(grant)
        return grant

    def repay(self, grant: Grant) -> None:
        """Repay the wallet's debts out of this grant, the oldest first."""
        for debt in grant.wallet.open_debts:
            if take := min(debt.outstanding, grant.free):
                self.book(grant.wallet, "debt_repayment", [(grant, take)], repays=[(debt, take)])

    # --- Taking --------------------------------------------------------------------------------
    def find_payer(
        self,
        payers: list[Wallet],
        amount: int,
        at: datetime,
        types: list[str] | None,
        grant: Grant | None,
        any_status: bool,
    ) -> tuple[Wallet | None, list[int]]:
        available = []
        for wallet in payers:
            if not (self.is_on or any_status or wallet.status == "paused"):
                raise Refused("CreditsDisabled")
            if wallet.status != "active" and not any_status:
                if wallet is payers[0]:
                    raise Refused(f"Wallet{wallet.status.title()}")
                continue
            available.append(sum(g.free for g in self.lots(wallet, at, types, grant)))
            if available[-1] >= amount:
                return wallet, available
        return None, available

    def lots(self, wallet, at, types, grant=None) -> list[Grant]:
        ok = [g for g in wallet.grants if types is None or g.credit_type in types]
        ok = [g for g in ok if (g is grant if grant else g.is_spendable(at))]
        return wallet.burn_down(ok)

    def share(self, lots: list[Grant], amount: int) -> list[tuple[Grant, int]]:
        takes = []
        for grant in lots:
            if take := min(grant.free, amount):
                takes.append((grant, take))
                amount -= take
        return takes

    def draw(
        self,
        payers: list[Wallet],
        amount: int,
        at: datetime,
        *,
        kind: str = "usage",
        types: list[str] | None = None,
        grant: Grant | None = None,
        short: str = "refuse",
        any_status: bool = False,
    ) -> None:
        wallet, available = self.find_payer(payers, amount, at, types, grant, any_status)
        if wallet is None:
            if short == "refuse":
                raise Refused("InsufficientCredits", needed=amount, available=max(available))
            wallet = payers[0]
        takes = self.share(self.lots(wallet, at, types, grant), amount)
        left = amount - sum(take for _, take in takes)
        if short == "take" and not takes:
            raise Refused("NothingToTake")
        if left and short == "wait":
            lots = wallet.grants if grant is None else [grant]
            lots = [g for g in lots if types is None or g.credit_type in types]
            if left > sum(g.held - g.pending for g in lots):
                raise Refused("InsufficientCredits", needed=amount, available=available[0])
            for lot in wallet.burn_down(lots):
                lot.pending += (part := min(lot.held - lot.pending, left))
                left -= part
        self.book(wallet, kind, takes, opens=left if short == "debt" else 0)

    def void(self, wallet: Wallet, types: list[str]) -> bool:
        """Void what is left and not held; return whether there was anything to void."""
        grants = [g for g in wallet.grants if g.credit_type in types]
        takes = [(g, g.free) for g in grants if g.free]
        if not takes and all(g.is_void for g in grants):
            return False
        for grant in grants:
            grant.is_void = True
        self.book(wallet, "void", takes)
        return True

    def expire(self, at: datetime) -> tuple[int, int]:
        due = [
            g
            for w in self.wallets
            for g in w.grants
            if g.is_over(at) and g.free and not g.is_frozen
        ]
        moved = [(g, g.free) for g in sorted(due, key=lambda g: g.expires_at)]
        for grant, free in moved:
            self.book(grant.wallet, "expiry", [(grant, free)])
        return len(moved), sum(free for _, free in moved)

    def write_off(self, wallet: Wallet, amount: int) -> None:
        if amount > wallet.debt:
            raise Refused("ExceedsDebt", asked=amount, owed=wallet.debt)
        parts = []
        for debt in wallet.open_debts:
            if part := min(debt.outstanding, amount):
                parts.append((debt, part))
                amount -= part
        self.book(wallet, "write_off", repays=parts)

    # --- Holds ---------------------------------------------------------------------------------
    def place_hold(
        self,
        payers: list[Wallet],
        amount: int,
        at: datetime,
        expires_at: datetime,
        caller: str,
        types: list[str] | None,
    ) -> None:
        wallet, available = self.find_payer(payers, amount, at, types, None, False)
        if wallet is None:
            raise Refused("InsufficientCredits", needed=amount, available=max(available))
        pins = dict(self.share(self.lots(wallet, at, types), amount))
        wallet.holds.append(Hold(wallet, amount, caller, expires_at, pins))

    def settle_hold(self, hold: Hold, capture: int | None, at: datetime) -> None:
        if hold.status != "open" or hold.expires_at <= at:
            raise Refused("HoldNotOpen")
        if capture is not None and capture > hold.amount:
            raise Refused("ExceedsHold", asked=capture, held=hold.amount)
        self.end_hold(hold, hold.amount if capture is None else capture, "released", at)

    def release_expired(self, at: datetime) -> int:
        due = [
            h for w in self.wallets for h in w.holds if h.status == "open" and h.expires_at <= at
        ]
        for hold in due:
            self.end_hold(hold, 0, "expired", at)
        return len(due)

    def end_hold(self, hold: Hold, capture: int, status: str, at: datetime) -> None:
        left, takes = capture, []
        for grant, pin in hold.pins.items():
            take = min(pin, left)
            grant.pending = min(grant.pending, grant.held - take)  # Captured: no longer deductible.
            if take:
                takes.append((grant, take))
                left -= take
        hold.status, hold.captured = ("captured" if capture else status), capture
        if capture:
            self.book(hold.wallet, "usage", takes)
        self.follow_up(list(hold.pins), at)

    def follow_up(self, grants: list[Grant], at: datetime) -> None:
        """What was asked of credits while they were held comes about now."""
        for grant in sorted(set(grants), key=lambda g: g.wallet.grants.index(g)):
            if grant.waiting:
                self.claw_step(grant, at)
            if grant.pending:
                if take := min(grant.free, grant.pending):
                    self.book(grant.wallet, "adjustment", [(grant, take)])
                grant.pending = min(grant.pending - take, grant.held)
            if grant.free and grant.is_void:
                self.book(grant.wallet, "void", [(grant, grant.free)])
            elif grant.free and grant.is_over(at) and not grant.is_frozen:
                self.book(grant.wallet, "expiry", [(grant, grant.free)])

    def freeze(self, grants: list[Grant], frozen: bool) -> None:
        for grant in grants:
            grant.is_frozen = frozen
            self.freeze([g for g in grant.wallet.grants if g.carried_from is grant], frozen)

    # --- Clawing back --------------------------------------------------------------------------
    def claw_parts(self, grant: Grant) -> list[Line | DebtLine]:
        """Lines of clawbacks that took from it or opened its debt, the latest first, debt first."""
        parts: list[Line | DebtLine] = []
        for tx in reversed([t for t in grant.wallet.transactions if t.kind == "clawback"]):
            parts += [d for d in tx.debts if d.debt is grant.debt and d.amount > 0]
            parts += [line for line in tx.lines if line.grant is grant]
        return parts

    def claw_back(self, grant: Grant, target: int, returned: int, at: datetime) -> bool:
        """Claw back to ``target`` in all, or reinstate; return whether that is news."""
        if not 0 <= target <= grant.amount - grant.carried:
            raise Refused("InvalidAmount")
        if (target, returned) == (grant.target, grant.returned):
            return False
        before, settled = grant.target, grant.target - grant.waiting
        number = len(grant.wallet.transactions)
        given_back = sum(abs(part.amount) - part.restored for part in self.claw_parts(grant))
        grant.target, grant.returned = target, returned
        grant.waiting = target - min(settled, target)
        kind = "clawback" if target > before else "reinstatement"
        if target > before:
            self.claw_step(grant, at)
        elif (give := min(settled - target, given_back)) > 0:
            self.reinstate(grant, give, at)
        if len(grant.wallet.transactions) == number:
            self.book(grant.wallet, kind)
        return True

    def claw_step(self, grant: Grant, at: datetime) -> None:
        """Settle what is not: the unspent and unheld now, the held later; the rest is owed."""
        need = grant.waiting
        take = min(grant.free, need)
        wait = min(grant.held, need - take)
        settled_before = sum(abs(part.amount) - part.restored for part in self.claw_parts(grant))
        owe = grant.target - take - wait - settled_before - grant.net("expiry")
        owe = max(min(owe, need - take - wait), 0) if grant.credit_type == "purchase" else 0
        grant.waiting = wait
        if take or owe:
            takes = [(grant, take)] if take else []
            self.book(grant.wallet, "clawback", takes, opens=owe, opens_for=grant)
        if owe:
            others = [g for g in grant.wallet.grants if g is not grant and g.paid and not g.waiting]
            for other in grant.wallet.burn_down([g for g in others if g.is_spendable(at)]):
                self.repay(other)

    def reinstate(self, grant: Grant, give: int, at: datetime) -> None:
        tx = Transaction(grant.wallet, "reinstatement")
        given = self.put_back(tx, grant, give, 0, at, [])
        for part in self.claw_parts(grant):
            share = min(abs(part.amount) - part.restored, given)
            part.restored += share
            given -= share
        if tx.lines or tx.debts:
            self.close(tx)
            self.follow_up([line.grant for line in tx.lines], at)

    # --- Putting back --------------------------------------------------------------------------
    def restore(self, original: Transaction, amount: int | None, at: datetime) -> None:
        if original.kind not in ("usage", "adjustment", "expiry") or original.amount > 0:
            raise Refused("NotReversible")
        lines = original.open_lines()
        whole = sum(abs(line.amount) - line.restored for line in lines)
        if whole == 0:
            raise Refused("AlreadyReversed")
        if amount is not None and amount > whole:
            raise Refused("ExceedsTaken", asked=amount, open=whole)
        left = whole if amount is None else amount
        tx = Transaction(original.wallet, "reversal")
        for line in lines:
            part = min(abs(line.amount) - line.restored, left)
            left -= part
            if isinstance(line, DebtLine):
                line.restored += self.shrink(tx, line.debt, part, at, [])
            else:
                consumed = 0 if original.kind == "adjustment" else part
                line.restored += self.put_back(tx, line.grant, part, consumed, at, [])
        if not tx.lines and not tx.debts:
            raise Refused("NothingToRestore")
        original.reversal = self.close(tx)
        self.follow_up([line.grant for line in tx.lines], at)

    def shrink(
        self, tx: Transaction, debt: Debt, amount: int, at: datetime, path: list[Debt]
    ) -> int:
        """Shrink a debt, then reverse repayments of it, the latest first; return how much."""
        if part := min(debt.outstanding, amount):
            self.owe(tx, debt, -part)
        left = amount - part
        if debt in path:
            return part
        made = [d.transaction for d in debt.lines if d.transaction.kind == "debt_repayment"]
        for line in [line for repayment in reversed(made) for line in repayment.lines]:
            want = min(-line.amount - line.restored, left)
            if want:
                given = self.put_back(tx, line.grant, want, want, at, [*path, debt])
                line.restored += given
                left -= given
        return amount - left

    def put_back(
        self,
        tx: Transaction,
        grant: Grant,
        amount: int,
        consumed: int,
        at: datetime,
        path: list[Debt],
    ) -> int:
        """The table "where a reversal puts credits back"; return how much found a place."""
        if grant.is_void:
            return 0
        given = self.shrink(tx, grant.debt, amount, at, path) if grant.debt else 0
        # Up to amount − target − consumed; what waits for a hold counts as taken.
        whole, used = grant.amount - grant.carried, grant.consumed - consumed
        room = whole - grant.target - used - (grant.remaining - grant.waiting)
        refill = max(min(amount - given, room), 0)
        given += refill
        if refill:
            self.move(tx, grant, refill)
            if grant.is_over(at):
                self.carry_over(tx, grant, refill, grant.consumed - min(consumed, given), at)
        return given

    def carry_over(
        self, tx: Transaction, grant: Grant, amount: int, used: int, at: datetime
    ) -> None:
        """Into a new grant with days of grace, with their share of the money not recognised."""
        whole, paid = grant.amount - grant.carried, grant.paid - grant.carried_money
        deferred = grant.money(used)[1]
        money = deferred if used + amount == whole else min(deferred, paid * amount // whole)
        self.move(tx, grant, -amount)
        grant.carried, grant.carried_money = grant.carried + amount, grant.carried_money + money
        new = self.add_grant(
            grant.wallet,
            grant.credit_type,
            amount,
            money,
            grant.priority,
            at + self.grace,
            carried_from=grant,
            is_frozen=grant.is_frozen,
        )
        self.move(tx, new, amount)

    def take_back(self, original: Transaction, partly: bool) -> None:
        given = ("award", "partner", "purchase", "adjustment")
        if original.kind not in given or original.amount <= 0:
            raise Refused("NotReversible")
        if original.reversal:
            raise Refused("AlreadyReversed")
        (line,) = original.lines
        grant = line.grant
        if grant.paid:
            raise Refused("NotReversible")
        if grant.free < grant.amount and not partly:
            raise Refused("PartlySpent", available=grant.free)
        if grant.free == 0:
            raise Refused("NothingToRestore")
        original.reversal = self.book(grant.wallet, "reversal", [(grant, grant.free)])
