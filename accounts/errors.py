"""Refusals about people, keys, teams and jobs."""

from creditsite.errors import Conflict, InvalidRequest, NotAuthenticated, NotPermitted, TooMuch


class InvalidFields(InvalidRequest):
    """Some fields are wrong: ``errors`` maps each to its messages, as forms and documents do."""

    def __init__(self, errors: dict[str, list[str]]) -> None:
        self.errors = errors
        self.numbers = {"errors": errors}
        super().__init__(" ".join(message for messages in errors.values() for message in messages))


class OwnAccount(NotPermitted):
    code = "own_account"

    def __init__(self) -> None:
        super().__init__("Nobody changes the rights of their own account.")


class WrongCredentials(NotAuthenticated):
    def __init__(self) -> None:
        super().__init__("The e-mail address, the password or the code is wrong.")


class SecondFactorRequired(NotAuthenticated):
    code = "second_factor_required"

    def __init__(self) -> None:
        super().__init__(
            "Send the code of the second factor as otp. Staff set one up at /accounts/2fa/ first."
        )


class SignInLocked(TooMuch):
    def __init__(self, *, seconds: int) -> None:
        super().__init__(
            f"Too many sign-ins went wrong. Try again in {-(-seconds // 60)} minutes.",
            retry_after_seconds=seconds,
        )


class LastAdmin(Conflict):
    code = "last_admin"

    def __init__(self) -> None:
        super().__init__("This is the last active Admin. Make somebody else one first.")


class InUse(Conflict):
    code = "in_use"


class NoSeatLeft(Conflict):
    code = "no_seat_left"

    def __init__(self, *, seats: int) -> None:
        self.numbers = {"seats": seats}
        super().__init__(f"All {seats} seats of the team are taken.")


class NotATeamOwner(Conflict):
    code = "not_a_team_owner"


class AlreadyMember(Conflict):
    code = "already_member"


class JobNotInState(Conflict):
    code = "job_not_in_state"

    def __init__(self, *, verb: str, status: str) -> None:
        self.numbers = {"status": status}
        super().__init__(f"A job that is {status} cannot be {verb}.")


class EmailRefused(InvalidRequest):
    code = "invalid_email"


class IdempotencyKeyReused(Conflict):
    code = "idempotency_key_reused"
    status = 422

    def __init__(self) -> None:
        super().__init__("This idempotency key was used for another request.")


class OwnRequest(NotPermitted):
    """Who asked for something does not decide on it."""

    code = "own_request"

    def __init__(self) -> None:
        super().__init__("Nobody decides on what they asked for themselves.")


class NotYourRequest(NotPermitted):
    code = "not_your_request"

    def __init__(self) -> None:
        super().__init__("Only who asked for it can withdraw it.")


class ConcernsYou(NotPermitted):
    """Nobody asks for, or decides on, what touches a wallet or account of their own."""

    code = "own_wallet"

    def __init__(self) -> None:
        super().__init__("Nobody decides on what touches their own account or a wallet of theirs.")


class ApprovalNotWaiting(Conflict):
    code = "approval_not_waiting"

    def __init__(self, *, status: str) -> None:
        self.numbers = {"status": status}
        super().__init__(f"It does not wait for a decision any more: it is {status}.")


class ApprovalEnded(Conflict):
    """A request is sent again whose approval ended otherwise than by being executed."""

    code = "approval_ended"

    def __init__(self, *, approval_id: str, status: str) -> None:
        self.numbers = {"approval": {"id": approval_id, "status": status}}
        super().__init__(f"This request was not executed: it is {status}. Ask anew, by a new key.")


class ErasureBlocked(Conflict):
    code = "erasure_blocked"

    def __init__(self, obstacles: list[str]) -> None:
        self.numbers = {"obstacles": obstacles}
        super().__init__(" ".join(obstacles))


class DecisionMissing(Conflict):
    code = "decision_missing"

    def __init__(self, sentence: str) -> None:
        super().__init__(f"Not decided, or more by now than what was: {sentence}")


class NamesThePerson(InvalidRequest):
    code = "names_the_person"

    def __init__(self) -> None:
        super().__init__("The reason is kept, so it must not name the person who is erased.")
