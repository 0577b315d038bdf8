"""What the books refuse."""

from accounts.errors import IdempotencyKeyReused as IdempotencyKeyReused
from creditsite.errors import Conflict, InvalidRequest, NotFound, NotPermitted, TooMuch, Unavailable


class InvalidAmount(InvalidRequest):
    """The amount is out of range whatever the balance."""


class UnknownFeature(InvalidRequest):
    """No active feature of that code, or none with a price at that time."""


class WalletNotFound(NotFound):
    def __init__(self) -> None:
        super().__init__("There is no such wallet.")


class TransactionNotFound(NotFound):
    def __init__(self) -> None:
        super().__init__("There is no such transaction.")


class GrantNotFound(NotFound):
    def __init__(self) -> None:
        super().__init__("There is no such grant.")


class HoldNotFound(NotFound):
    def __init__(self) -> None:
        super().__init__("There is no such hold.")


class OwnWallet(NotPermitted):
    """Nobody adjusts a wallet they own or may spend from, superusers included."""

    code = "own_wallet"

    def __init__(self) -> None:
        super().__init__("Nobody changes the credits of a wallet they own or may spend from.")


class WalletPaused(NotPermitted):
    code = "wallet_paused"

    def __init__(self) -> None:
        super().__init__("The wallet is paused: nothing can be spent or held until it is resumed.")


class CreditsDisabled(Unavailable):
    """The master switch is off: no spends, holds or sales; all else goes on."""

    code = "credits_disabled"
    retry_after_seconds = 60

    def __init__(self) -> None:
        super().__init__("Credits are switched off for now: nothing can be spent, held or bought.")


class NotYourHold(NotPermitted):
    code = "not_your_hold"

    def __init__(self) -> None:
        super().__init__("Only the caller that placed a hold, or staff, may capture or release it.")


class WalletClosed(Conflict):
    code = "wallet_closed"

    def __init__(self) -> None:
        super().__init__("The wallet is closed.")


class InsufficientCredits(Conflict):
    code = "insufficient_credits"
    status = 402

    def __init__(self, *, needed: int, available: int) -> None:
        self.needed, self.available = needed, available
        self.numbers = {"needed": needed, "available": available}
        super().__init__(f"{needed:,} credits are needed; {available:,} are available.")


class DailyCapReached(TooMuch):
    code = "daily_cap_reached"

    def __init__(self, *, cap: int, seconds: int) -> None:
        self.numbers = {"daily_cap": cap}
        super().__init__(
            f"The key may spend {cap:,} credits a day, and this would be more.",
            retry_after_seconds=seconds,
        )


class HoldNotOpen(Conflict):
    code = "hold_not_open"

    def __init__(self) -> None:
        super().__init__("The hold has ended.")


class ExceedsHold(Conflict):
    def __init__(self, *, asked: int, held: int) -> None:
        self.numbers = {"asked": asked, "held": held}
        super().__init__(f"{asked:,} credits cannot be captured: the hold is for {held:,}.")


class AlreadyReversed(Conflict):
    code = "already_reversed"

    def __init__(self) -> None:
        super().__init__("The transaction has been reversed already.")


class NotReversible(Conflict):
    code = "not_reversible"

    def __init__(self) -> None:
        super().__init__("A transaction of this kind cannot be reversed.")


class NothingToRestore(Conflict):
    code = "nothing_to_restore"

    def __init__(self) -> None:
        super().__init__("Nothing can be put back: the credits it took were voided or written off.")


class NothingToTake(Conflict):
    code = "nothing_to_take"

    def __init__(self) -> None:
        super().__init__("There is nothing to take.")


class PartlySpent(Conflict):
    code = "partly_spent"

    def __init__(self, *, available: int) -> None:
        self.numbers = {"available": available}
        super().__init__(
            f"The grant is partly spent or held: {available:,} credits of it can be taken."
        )


class ExceedsTaken(Conflict):
    code = "exceeds_taken"

    def __init__(self, *, asked: int, open: int) -> None:
        self.numbers = {"asked": asked, "open": open}
        super().__init__(
            f"{asked:,} credits cannot be put back: {open:,} were taken and not yet given back."
        )


class ExceedsDebt(Conflict):
    code = "exceeds_debt"

    def __init__(self, *, asked: int, owed: int) -> None:
        self.numbers = {"asked": asked, "owed": owed}
        super().__init__(f"{asked:,} credits cannot be written off: {owed:,} are owed.")


class BalanceTooLarge(Conflict):
    code = "balance_too_large"

    def __init__(self, *, largest: int) -> None:
        self.numbers = {"largest": largest}
        super().__init__(f"Staff may bring a balance to {largest:,} credits at the most.")


class StaleVersion(Conflict):
    code = "stale_version"

    def __init__(self) -> None:
        super().__init__("The wallet has changed since this form was opened. Look at it again.")


class StaleSettings(Conflict):
    code = "stale_version"

    def __init__(self) -> None:
        super().__init__("These settings have changed since they were shown. Look at them again.")


class BelowHeld(Conflict):
    code = "below_held"

    def __init__(self, *, held: int) -> None:
        self.numbers = {"held": held}
        super().__init__(
            f"{held:,} credits are held by running jobs; a balance cannot be set below that."
        )


class BatchNotInState(Conflict):
    code = "batch_not_in_state"

    def __init__(self, *, verb: str, status: str) -> None:
        self.numbers = {"status": status}
        super().__init__(f"A batch that is {status} cannot be {verb}.")


class NotYourBatch(NotPermitted):
    code = "not_your_batch"

    def __init__(self) -> None:
        super().__init__("Only who made a batch confirms it.")


class PlanExpired(Conflict):
    code = "plan_expired"

    def __init__(self) -> None:
        super().__init__("The plan is too old by now. Plan the batch again, and look at it again.")


class PlanChanged(Conflict):
    code = "plan_changed"

    def __init__(self) -> None:
        super().__init__("This is not the plan that was shown. Look at it again.")


class NothingToMove(Conflict):
    code = "nothing_to_move"

    def __init__(self) -> None:
        super().__init__("The plan has nobody in it: there is nothing to do.")


class WrongPhrase(InvalidRequest):
    code = "wrong_phrase"

    def __init__(self, *, phrase: str) -> None:
        super().__init__(f"Type {phrase} to confirm.")
