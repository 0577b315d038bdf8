"""What the books refuse."""

from creditsite.errors import Conflict, InvalidRequest, NotFound, NotPermitted


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


class IdempotencyKeyReused(Conflict):
    code = "idempotency_key_reused"
    status = 422

    def __init__(self) -> None:
        super().__init__("This idempotency key was used for another request.")


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


class BelowHeld(Conflict):
    code = "below_held"

    def __init__(self, *, held: int) -> None:
        self.numbers = {"held": held}
        super().__init__(
            f"{held:,} credits are held by running jobs; a balance cannot be set below that."
        )
