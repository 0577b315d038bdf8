"""What every operation works with: objects, events, time, and acts that are due later."""

import secrets
import string
from collections.abc import Callable
from typing import Any

import stripe

from billing.stripe_sandbox.clock import Clock
from billing.stripe_sandbox.contract import complete
from billing.stripe_sandbox.errors import StripeError, missing_object
from billing.stripe_sandbox.store import Object, Store

ALPHABET = string.ascii_letters + string.digits
ACCOUNT = "acct_1LocalSandbox00"

Act = Callable[["Sandbox", str], None]
ACTS: dict[str, Act] = {}


def act(name: str) -> Callable[[Act], Act]:
    """Register what is done when a timer of that name is due."""

    def register(function: Act) -> Act:
        ACTS[name] = function
        return function

    return register


class Sandbox:
    """The account of the local Stripe; its methods run inside a change of the store."""

    def __init__(self, store: Store, *, base: str = "") -> None:
        self.store = store
        self.clock = Clock(store)
        self.base = base

    # --- Objects ----------------------------------------------------------------------------------
    def new_id(self, prefix: str) -> str:
        return f"{prefix}_" + "".join(secrets.choice(ALPHABET) for _ in range(24))

    def add(self, kind: type[stripe.StripeObject], prefix: str, **given: Any) -> Object:
        """Keep a new object, complete by what the SDK says of its kind."""
        basis: Object = {"id": self.new_id(prefix), "object": kind.OBJECT_NAME}  # type: ignore[attr-defined]
        annotations = kind.__annotations__
        if "livemode" in annotations:
            basis["livemode"] = False
        if "created" in annotations:
            basis["created"] = self.now_of(given.get("customer"))
        return self.store.save(complete(kind, basis | given))

    def get(self, kind: str, id: str, *, param: str = "id") -> Object:
        """:raises StripeError: there is none."""
        if found := self.store.get(id, kind):
            return found
        raise missing_object(kind.rpartition(".")[2], id, param=param)

    def customer(self, id: str, *, param: str = "customer") -> Object:
        """:raises StripeError: there is no such customer, or no longer."""
        found = self.get("customer", id, param=param)
        if found.get("deleted"):
            raise missing_object("customer", id, param=param)
        return found

    def update(self, item: Object, **changes: Any) -> Object:
        """Change an object that stays, and keep it."""
        item.update(changes)
        return self.store.save(item)

    def first(self, kind: str, **fields: Any) -> Object | None:
        return next(iter(self.store.find(kind, fields, limit=1)), None)

    def tried(self, work: Callable[[], Any]) -> tuple[Any, StripeError | None]:
        """
        Return what ``work`` does, or the refusal it ends in.

        A refusal leaves nothing behind but what it says stands.
        """
        try:
            with self.store.attempt():
                try:
                    return work(), None
                except StripeError as refusal:
                    if not refusal.keeps:
                        raise
                    return None, refusal
        except StripeError as refusal:
            return None, refusal

    # --- Time -------------------------------------------------------------------------------------
    def clock_of(self, customer: str | None) -> str | None:
        found = self.store.get(customer) if customer else None
        return found.get("test_clock") if found else None

    def now_of(self, customer: str | None) -> int:
        return self.clock.now(self.clock_of(customer))

    def at(self, due: int, act: str, object: str, *, customer: str | None = None) -> None:
        """Do ``act`` to ``object`` at an instant of its customer's clock."""
        self.store.db.execute(
            "INSERT INTO timers (clock, due, act, object) VALUES (?, ?, ?, ?)",
            [self.clock_of(customer) or "", due, act, object],
        )

    def forget(self, act: str, object: str) -> None:
        self.store.db.execute("DELETE FROM timers WHERE act = ? AND object = ?", [act, object])

    def run_due(self, clock: str | None = None) -> bool:
        """Do the act that is due first, at the instant it is due for; say whether there is one."""
        row = self.store.one(
            "SELECT id, due, act, object FROM timers WHERE clock = ? AND due <= ?"
            " ORDER BY due, id LIMIT 1",
            clock or "",
            self.clock.now(clock),
        )
        if row is None:
            return False
        self.store.db.execute("DELETE FROM timers WHERE id = ?", [row[0]])
        self.clock.moment = row[1]
        try:
            ACTS[row[2]](self, row[3])
        finally:
            self.clock.moment = None
        return True


def public(item: Any) -> Any:
    """Return a value without what is ours alone."""
    if isinstance(item, dict):
        return {name: public(value) for name, value in item.items() if not name.startswith("_")}
    return [public(one) for one in item] if isinstance(item, list) else item


def merged(metadata: dict[str, str], given: dict[str, str] | str) -> dict[str, str]:
    """Return metadata with what was given for it; an empty value takes a key away."""
    if isinstance(given, str):
        return {}
    return {name: value for name, value in (metadata | given).items() if value != ""}
